import BlockModel
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// Objects of another repository that were moved into this one: told, kept, and in nobody's way.
@Suite struct ForeignObjectTests {
    private let store = MemoryStore()
    private let lab: Lab
    private let foreign: [String: [UInt8]]
    private let images: [[UInt8]]

    /// Four snapshots here, and as many in a repository of another id, of the same volume's name.
    init() throws {
        let otherStore = MemoryStore()
        var generator = SeededGenerator(seed: 99)
        let size = try #require(BlockSize(byteCount: 4096))
        _ = try Repository(
            creatingIn: otherStore, blockSize: size, created: Timestamp(seconds: 1),
            generator: &generator)
        let other = try Lab(otherStore)
        other.seed = 5
        lab = try Lab(store)
        var images: [[UInt8]] = []
        for lab in [other, lab] {
            lab.packByteTarget = 30_000
            lab.partByteLimit = 500
            lab.workerCount = 1
            images = []
            for number in 0..<4 {
                var image = generator.bytes(40 * 4096)
                if let last = images.last {
                    image.replaceSubrange(0..<20 * 4096, with: last[0..<20 * 4096])
                }
                image[number] ^= 1
                images.append(image)
                try lab.capture(image)
            }
        }
        self.images = images
        let note = other
        let tip = try #require(try note.timeline().tip)
        try note.repository.setTags(
            ["theirs"], on: tip.id, of: note.volume, time: note.time,
            identifiers: SeededIdentifiers(seed: 1234))
        foreign = otherStore.objects.filter { $0.key != ObjectNames.configuration }
    }

    private func expectKept(_ when: String) {
        for (name, bytes) in foreign {
            #expect(store.objects[name] == bytes, "\(when): \(name)")
        }
    }

    @Test("A check tells each of them, and calls no snapshot damaged for it")
    func check() throws {
        store.objects.merge(foreign) { own, _ in own }
        let report = try lab.check()
        #expect(report.harmCount == 0, "\(report.findings)")
        let told = Set(report.findings.map(\.subject))
        #expect(told == Set(foreign.keys), "\(report.findings)")
        #expect(report.findings.allSatisfy { $0.reason.contains("another repository") })
        #expect(report.evidence.unreadable == [])
        expectKept("after a check")
    }

    @Test(
        "Prune, forget and repair keep them, whatever is given up",
        arguments: [false, true])
    func kept(isIndexNew: Bool) throws {
        store.objects.merge(foreign) { own, _ in own }
        if isIndexNew { lab.deleteIndex() }
        #expect(try lab.timeline().isSound)
        let (mended, left) = try lab.repairPaths(givesUp: true)
        #expect(mended == [])
        #expect(left.snapshots.count == 4)
        expectKept("after a repair")
        try lab.forget(left.snapshots.prefix(2).map(\.id), isThorough: true)
        expectKept("after a forget")
        let summary = try lab.prune(.everything)
        #expect(summary.damagedPacks == [])
        expectKept("after a prune")
        #expect(try lab.restoreAll() == Array(images.suffix(2)))
        try lab.capture(images[0])
        expectKept("after a backup")
        #expect(try lab.check().harmCount == 0)
    }

    @Test("Of packs that nothing can read, a prune deletes the damaged ones and keeps the foreign")
    func damagedAndForeign() throws {
        let packs = store.objects.filter { $0.key.hasPrefix(ObjectNames.packs) }
        let name = ObjectNames.pack(ObjectID(hexadecimal: String(repeating: "ab", count: 16))!)
        store.objects[name] = [UInt8](repeating: 0, count: 5000)
        store.objects.merge(foreign) { own, _ in own }
        let summary = try lab.prune(.everything)
        #expect(summary.deletedPackCount == 1)
        #expect(store.objects[name] == nil)
        for pack in packs.keys { #expect(store.objects[pack] == packs[pack]) }
        expectKept("after a prune")
    }

    @Test("An object of a newer version is kept, and is damage of its volume")
    func newerVersion() throws {
        let name = try #require(try lab.timeline().deltas.last).name.objectName
        var bytes = try #require(store.objects[name])
        let header = ObjectHeader(kind: .delta, name: name, identity: lab.repository.identity)
        bytes[8] = 2
        let end = header.byteCount - 8
        let sum = TestHash.xxh3(Array(bytes[..<end]))
        for index in 0..<8 { bytes[end + index] = UInt8(truncatingIfNeeded: sum >> (8 * index)) }
        store.objects[name] = bytes
        lab.deleteIndex()
        #expect(try !lab.timeline().isSound)
        #expect(throws: RepositoryError.self) { try lab.repairPaths(givesUp: true) }
        #expect(throws: RepositoryError.self) { try lab.prune(.everything) }
        #expect(store.objects[name] == bytes)
    }
}
