import Testing

@testable import LiveVolumes

@Suite("Labels of trials")
struct TrialLabelTests {
    private static let device = MappedDevice(name: "data", number: 0, sectorCount: 1000)
    private static let before = "ext/3.aa.00/clean/01"
    private static let running = "ext/4.bb.00/dirty/02"

    private static func label(
        _ state: TrialLabel.State,
        _ phase: TrialLabel.Phase,
        _ stamp: String
    ) throws -> TrialLabel {
        var label = TrialLabel(
            state, of: device, stamp: try #require(FileSystemStamp(text: stamp)))
        label.before = try #require(FileSystemStamp(text: before))
        label.phase = phase
        return label
    }

    @Test("A label is 512 bytes, and is read again only as it was written")
    func roundTrip() throws {
        let label = try Self.label(.active, .stopped, Self.running)
        #expect(label.bytes.count == TrialLabel.byteCount)
        #expect(TrialLabel(bytes: label.bytes) == label)
        for count in [0, 40, 100] {
            #expect(TrialLabel(bytes: Array(label.bytes[..<count])) == nil)
        }
        let text = String(decoding: label.bytes, as: UTF8.self)
        for (old, new) in [("stopped", "stopping"), ("ext/4", "ext/ "), ("active", "alive")] {
            let other = text.replacing(old, with: new)
            #expect(TrialLabel(bytes: Array(other.utf8)) == nil, "\(new)")
        }
    }

    @Test(
        "After a restart a trial continues only if nothing shows a write without the layer",
        arguments: [
            // After an orderly end nothing may differ.
            (TrialLabel.Phase.stopped, "ext/4.bb.00/clean/07", "ext/4.bb.00/clean/07", true),
            (.stopped, "ext/4.bb.00/clean/07", "ext/4.bb.00/clean/08", false),
            (.stopped, "ext/4.bb.00/clean/07", "ext/5.cc.00/clean/07", false),
            (.stopped, "xfs/-/clean/07.3.1", "xfs/-/clean/08.5.1", false),
            (.stopped, "btrfs/7/-/07", "btrfs/8/-/08", false),
            // After a crash the log has to be as it was.
            (.running, "ext/4.bb.00/dirty/02", "ext/4.bb.00/dirty/99", true),
            (.running, "ext/4.bb.00/dirty/02", "ext/4.bb.00/clean/99", false),
            (.running, "ext/4.bb.00/dirty/02", "ext/5.cc.00/dirty/99", false),
            (.running, "ext/4.bb.00/clean/02", "ext/4.bb.00/dirty/99", false),
            (.running, "ext/4.bb.00/clean/02", "ext/4.bb.00/clean/99", false),
            (.running, "xfs/-/dirty/07.3.1", "xfs/-/dirty/08.5.1", true),
            (.running, "xfs/-/dirty/07.3.1", "xfs/-/clean/08.5.1", false),
            (.running, "btrfs/7/-/07", "btrfs/7/-/08", true),
            (.running, "btrfs/7/-/07", "btrfs/8/-/08", false),
            (.running, "ext/4.bb.00/dirty/02", "xfs/-/dirty/08.5.1", false),
            // What shows nothing proves nothing.
            (.stopped, "none/-/-/-", "none/-/-/-", false),
            (.running, "none/-/-/-", "none/-/-/-", false),
        ])
    func judgement(
        _ phase: TrialLabel.Phase,
        _ stamp: String,
        _ now: String,
        _ isIntact: Bool
    ) throws {
        let label = try Self.label(.active, phase, stamp)
        let now = try #require(FileSystemStamp(text: now))
        #expect((label.refusal(sectorCount: 1000, stamp: now) == nil) == isIntact)
        #expect(label.refusal(sectorCount: 1001, stamp: now) != nil)
    }

    @Test("A discard continues with the volume as it was, or as it is written back to")
    func merge() throws {
        let label = try Self.label(.discarding, .running, Self.running)
        for (now, isIntact) in [
            (Self.running, true), (Self.before, true), ("ext/4.bb.00/clean/02", false),
            ("ext/5.bb.00/dirty/02", false),
        ] {
            let now = try #require(FileSystemStamp(text: now))
            #expect((label.refusal(sectorCount: 1000, stamp: now) == nil) == isIntact, "\(now)")
        }
    }
}

@Suite("What is mounted at the start")
struct FileSystemTableTests {
    @Test("Lines of fstab tell what is mounted at the start, by whichever name")
    func lines() throws {
        let lines = FileSystemTable.parse(
            """
            # a comment
            UUID=12-34 /data ext4 defaults 0 2
            /dev/mapper/group-data\t/srv/a\\040b\txfs\tnoauto,ro 0 0
            LABEL="x" /x ext4
            /dev/vdb none swap sw 0 0
            tmpfs /tmp tmpfs x-systemd.automount 0 0
            """)
        #expect(lines.map(\.path) == ["/data", "/srv/a b", "/x", "/tmp"])
        #expect(lines.map(\.isMountedAtStart) == [true, false, true, false])
        #expect(
            lines.map(\.devicePath) == [
                "/dev/disk/by-uuid/12-34", "/dev/mapper/group-data", "/dev/disk/by-label/x", nil,
            ])
    }
}
