import BlockModel
import Glibc
import LinuxIO
import Repository
import RepositoryModel
import SimulationSupport
import TestKit
import Testing
import VolumeAccess

/// A capture of a disk that cannot be read commits nothing, and says where; one that stumbles goes on.
@Suite struct ReadFaultTests {
    private static let byteCount = 1_300_000
    private static let before = ImageModel(byteCount: byteCount, seed: 4).bytes
    /// Nothing of it is where it was.
    private static let after: [UInt8] = {
        var generator = SeededGenerator(seed: 6)
        return generator.bytes(byteCount)
    }()

    /// What says which snapshots there are; that a volume has none yet is noted before its first.
    private static func commits(_ store: MemoryStore) -> [String: [UInt8]] {
        store.objects.filter {
            $0.key.hasPrefix("volumes/") && !$0.key.contains("/newest.000000000000.")
        }
    }

    private static func makeLab() throws -> (Lab, MemoryStore) {
        let store = MemoryStore()
        let lab = try Lab(store)
        lab.packByteTarget = 60_000
        try lab.capture(before)
        return (lab, store)
    }

    /// Fails to capture the second image, and makes sure that nothing came of it.
    private func expectNothing(
        _ fault: BadMedium.Fault,
        _ words: [String],
        isBase: Bool = false
    ) throws {
        let (lab, store) = try Self.makeLab()
        if isBase { lab.volume = try #require(VolumeName("other")) }
        let snapshots = try lab.timeline().snapshots.map(\.id)
        let volumes = Self.commits(store)
        let medium = BadMedium(fault)
        let error = #expect(throws: (any Error).self) {
            try lab.capture(Self.after, readFaults: medium)
        }
        let text = error.map { "\($0)" } ?? ""
        for word in words { #expect(text.contains(word), "\(text)") }
        #expect(try lab.timeline().snapshots.map(\.id) == snapshots)
        #expect(Self.commits(store) == volumes)
        #expect(try lab.check().findings == [])
        try lab.capture(Self.after)
        #expect(try lab.restoreAll() == (isBase ? [] : [Self.before]) + [Self.after])
        #expect(try lab.check().findings == [])
    }

    @Test(
        "A read error anywhere ends the capture, and is told with its place and cause",
        arguments: [
            0, 4096, 524_288, 524_288 + 73_728, UInt64(byteCount) / 4096 * 4096,
            UInt64(byteCount - 1),
        ] as [UInt64], [EIO, ENODATA, EREMOTEIO])
    func error(offset: UInt64, code: Int32) throws {
        try expectNothing(
            .bad(offset: offset, errno: code),
            ["at offset \(offset)", SystemError.reason(code), "source.img"])
    }

    @Test("A read error ends the first capture of a volume too")
    func base() throws {
        try expectNothing(
            .bad(offset: 700_416, errno: EIO), ["at offset 700416", "Input/output error"],
            isBase: true)
    }

    @Test(
        "A disk that becomes shorter is noticed wherever it ends",
        arguments: [0, 1, 4096, 600_000, UInt64(byteCount - 1)])
    func shrinks(offset: UInt64) throws {
        try expectNothing(.ends(offset: offset), ["shrank", "\(Self.byteCount) bytes"])
    }

    @Test(
        "A file that is cut or grows while it is read is refused",
        arguments: [0, byteCount - 1, byteCount + 1, 5_000_000])
    func resized(size: Int) throws {
        let (lab, store) = try Self.makeLab()
        let volumes = Self.commits(store)
        let path = lab.scratch.path + "/source.img"
        let medium = BadMedium(.refuses([.cached], errno: EAGAIN)) { truncate(path, size) }
        let error = #expect(throws: VolumeError.self) {
            try lab.capture(Self.after, readFaults: medium)
        }
        #expect(error?.kind == .changed)
        #expect(Self.commits(store) == volumes)
        try lab.capture(Self.after)
        #expect(try lab.restoreAll() == [Self.before, Self.after])
    }

    @Test(
        "What fails for a moment, in one way only, or comes in pieces is read all the same",
        arguments: [
            .refuses([.cached], errno: EAGAIN),
            .refuses([.cached, .queued, .direct], errno: EAGAIN),
            .refuses([.cached, .queued, .direct], errno: EINTR),
            .refuses([.cached, .queued, .direct], errno: EBUSY),
            .refuses([.cached, .queued, .direct], errno: ENOMEM),
            .refuses([.cached, .queued, .direct], errno: EINVAL),
            .refuses([.cached, .queued, .direct], errno: EOPNOTSUPP),
            .refuses([.cached, .queued, .direct], errno: EIO),
            .short([.cached], byteCount: 4096), .short([.cached], byteCount: 777),
            .short([.cached, .queued, .direct], byteCount: 0),
            .short([.queued, .direct], byteCount: 8192),
        ] as [BadMedium.Fault])
    func stumbles(fault: BadMedium.Fault) throws {
        let (lab, _) = try Self.makeLab()
        let medium = BadMedium(fault)
        try lab.capture(Self.after, readFaults: medium)
        #expect(try lab.restoreAll() == [Self.before, Self.after])
        #expect(try lab.check().findings == [])
        if case .refuses = fault, Ring(entryCount: 1) != nil {
            #expect(medium.ways.isSuperset(of: [.cached, .queued]))
        }
    }
}
