import Foundation
import Testing

extension MachinesInTurn {
    /// A disk that proves itself: Debian, built by tools/rig, which says on its console that it is up.
    @Suite("A Debian disk", .needsRoot, .needsRig)
    struct DebianDiskTests {
        /// Where the root's file system begins, as tools/rig/disk.sh lays out the disk.
        static let rootByteOffset = 50 << 20
        static let moments = 0...4
        /// Seconds in which a system comes up in emulation, beside whatever else runs here.
        static let patience = "1500"

        @Test(
            "Five moments of a disk come back bit for bit, sound and bootable",
            .timeLimit(.minutes(60)))
        func fiveMoments() async throws {
            try #require(Machine.isRoot, "Building a disk needs root; run tools/test as root.")
            let scratch = try Scratch()
            let captured = try await captureMoments(scratch)
            for moment in Self.moments {
                let restored = scratch.file("moment-\(moment).img")
                try await scratch.varve("restore", "debian@\(moment + 1)", restored)
                #expect(
                    try await scratch.checksum(restored) == captured[moment], "moment \(moment)")
                try await expectSound(restored, scratch)
                // The others' images would only take space.
                if [1, 3].contains(moment) { try FileManager.default.removeItem(atPath: restored) }
            }
            if Machine.isFullRun {
                try await expectBoots(moment: 0, by: "bios", scratch)
                try await expectBoots(moment: 4, by: "bios", scratch)
            }
            try await expectBoots(moment: 2, by: "bios", scratch)
            try await expectBoots(moment: 4, by: "efi", scratch)

            try await expectBootTests(scratch)

            // Back and forth over the same image: what differs is written, what is there is kept.
            let target = scratch.file("moment-4.img")
            for moment in [1, 3] {
                try await scratch.varve("restore", "debian@\(moment + 1)", target, "--in-place")
                #expect(try await scratch.checksum(target) == captured[moment], "moment \(moment)")
            }
            try await scratch.varve("check", "--read-data")
        }

        /// Builds the disk, changes it four times, and captures each state; gives their checksums.
        private func captureMoments(_ scratch: Scratch) async throws -> [String] {
            let disk = scratch.file("disk.img")
            var checksums: [String] = []
            try await scratch.varve("init")
            for moment in Self.moments {
                if moment == 0 {
                    try await scratch.require("\(Machine.rig)/build-disk", disk)
                } else {
                    try await scratch.require("\(Machine.rig)/change-disk", disk, "\(moment)")
                }
                let checksum = try await scratch.checksum(disk)
                #expect(!checksums.contains(checksum), "change \(moment) changed nothing")
                checksums.append(checksum)
                let line = try await scratch.varve("backup", disk, "--volume", "debian", "--json")
                #expect(line.contains("\"generation\":\(moment + 1),"))
                #expect(
                    line.contains(moment == 0 ? "\"method\":\"base\"" : "\"parent_generation\""))
            }
            try FileManager.default.removeItem(atPath: disk)
            return checksums
        }

        /// Moments that are started from the repository: whole ones are proved, a broken one is refused.
        private func expectBootTests(_ scratch: Scratch) async throws {
            let broken = scratch.file("broken.img")
            try await scratch.varve("restore", "debian@5", broken)
            try await scratch.require(
                "debugfs", "-w", "-R", "unlink /usr/lib/systemd/systemd",
                "\(broken)?offset=\(Self.rootByteOffset)")
            try await scratch.varve("backup", broken, "--volume", "debian", "--same-volume")
            try FileManager.default.removeItem(atPath: broken)
            let pictures = scratch.file("pictures")
            try FileManager.default.createDirectory(
                atPath: pictures, withIntermediateDirectories: false)
            let tested = try await scratch.run(
                Machine.program, "boot-test", "debian@4", "debian@6", "--bios", "--screenshots",
                pictures, "--json", "--expect", "VARVE-BOOTED moment=3 ", "--timeout",
                Self.patience)
            #expect(tested.status == 3, "\(tested)")
            let lines = tested.output.split(separator: "\n")
            try #require(lines.count == 2, "\(tested)")
            #expect(lines[0].contains("\"result\":\"proved\"") && lines[0].contains("moment=3 "))
            #expect(lines[1].contains("\"result\":\"refused\""))
            #expect(lines[1].contains("\"means\":\"failure\""), "\(tested)")
            for generation in [4, 6] {
                let picture = try Data(
                    contentsOf: URL(fileURLWithPath: "\(pictures)/debian@\(generation).png"))
                #expect(picture.starts(with: [0x89, 0x50, 0x4E, 0x47]) && picture.count > 500)
            }
            // A disk with nothing on it, of which only the screen tells.
            let empty = scratch.file("empty.img")
            try await scratch.require("truncate", "-s", "64M", empty)
            try await scratch.varve("backup", empty, "--volume", "empty")
            let refused = try await scratch.run(
                Machine.program, "boot-test", "empty@1", "--timeout", "120")
            #expect(
                refused.status == 3 && refused.output.contains("No bootable device"), "\(refused)")
            // By UEFI, which the disk tells, and a prompt to log in, which nobody has to name; and a
            // moment chosen by time is the one that runs.
            let other = try await scratch.varve(
                "boot-test", "debian@3", "--json", "--timeout", Self.patience)
            #expect(other.contains("\"firmware\":\"uefi\"") && other.contains("login-prompt"))
            // Interrupted as from a terminal, with all that it started: that says nothing of the snapshot.
            // Whatever it waits for at that time: the disk's server, the machine, the console, the screen.
            let delays =
                Machine.isFullRun
                ? ["0.1", "0.2", "0.4", "1", "2", "2.1", "2.2", "3", "5"]
                : ["0.1", "0.4", "2", "5"]
            for seconds in delays {
                let interrupted = try await scratch.run(
                    "timeout", "--preserve-status", "--signal=INT", seconds, Machine.program,
                    "boot-test", "debian@1", "--bios")
                #expect(
                    interrupted.status == 130 && interrupted.errors.contains("varve: interrupted"),
                    "after \(seconds) s: \(interrupted)")
            }
            let rows = try await scratch.varve("snapshots", "--json").split(separator: "\n")
            #expect(rows[2].contains("\"boot\":\"proved\"") && rows[3].contains("\"proved\""))
            #expect(rows[5].contains("\"boot\":\"refused\"") && !rows[0].contains("\"boot\""))
            let time = try #require(
                rows[3].split(separator: "\"time\":\"").last?.split(separator: "\"").first)
            let run = try await scratch.run(
                "bash", "-c",
                """
                timeout 150 "$VARVE" boot "debian@\(time)" --headless --bios --quiet </dev/null |
                    grep -am1 --line-buffered 'VARVE-BOOTED'
                """)
            #expect(run.output.contains("moment=3 "), "\(run)")
            try await scratch.varve("check")
        }

        private func expectSound(_ image: String, _ scratch: Scratch) async throws {
            let check = try await scratch.run(
                "e2fsck", "-fn", "\(image)?offset=\(Self.rootByteOffset)")
            #expect(check.status == 0, "\(check)")
        }

        private func expectBoots(moment: Int, by firmware: String, _ scratch: Scratch) async throws
        {
            let uefi = firmware == "efi" ? ["--uefi"] : []
            let boot = try await scratch.run(
                ["\(Machine.rig)/boot-disk", "--expect-moment", "\(moment)"] + uefi
                    + [scratch.file("moment-\(moment).img")])
            #expect(boot.status == 0, "\(boot)")
            #expect(boot.output.contains("VARVE-BOOTED moment=\(moment) "))
            #expect(boot.output.contains(" fw=\(firmware) failed=0"))
        }
    }
}
