import BlockModel
import Maintenance
import Repository
import RepositoryFormat
import RepositoryIndex
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// What is lost is stored again from wherever it is still found.
@Suite struct RepairTests {
    private static func prepare(
        _ store: MemoryStore,
        seed: UInt64
    ) throws -> (lab: Lab, images: [[UInt8]]) {
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.workerCount = 1
        var generator = SeededGenerator(seed: seed)
        var image = generator.bytes(30 * 4096)
        var images: [[UInt8]] = []
        for round in 0..<5 {
            for block in 5..<12 + round { image[block * 4096 + 11 * round] ^= 0x21 }
            image.replaceSubrange(round * 4096..<(round + 2) * 4096, with: generator.bytes(8192))
            try lab.capture(image)
            images.append(image)
        }
        return (lab, images)
    }

    @Test("A pack whose table is lost gives its blocks frame by frame")
    func salvage() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 1)
        let sound = store.objects
        for name in sound.keys.sorted() where name.hasPrefix("packs/") {
            store.objects = sound
            store.objects[name]?.removeLast(70)
            lab.deleteIndex()
            lab.seed += 1
            let (lost, mended) = try lab.repair()
            #expect(lost > 0 && mended == lost, "\(name)")
            #expect(try lab.restoreAll() == images)
            #expect(try lab.check().harmCount == 0)
            // And by an index that never saw it whole, and when the damaged pack is gone.
            lab.deleteIndex()
            #expect(try lab.restoreAll() == images)
            try lab.prune()
            #expect(store.objects[name] == nil)
            #expect(try lab.restoreAll() == images)
            #expect(try lab.check().findings == [])
        }
    }

    @Test("Frames that rotted are taken from another repository, or from the disk")
    func elsewhere() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 2)
        let otherStore = MemoryStore()
        var generator = SeededGenerator(seed: 77)
        let size = try #require(BlockSize(byteCount: 4096))
        _ = try Repository(
            creatingIn: otherStore, blockSize: size, created: Timestamp(seconds: 1),
            generator: &generator)
        let other = try Lab(otherStore)
        try lab.copy(try lab.timeline().snapshots, to: other)
        let sound = store.objects
        var lostCount = 0
        for name in sound.keys.sorted() where name.hasPrefix("packs/") {
            for (round, offset) in [150, 400, 900].enumerated() {
                let count = try #require(sound[name]).count
                guard offset < count - 1000 else { continue }
                store.objects = sound
                store.objects[name]?[offset] ^= 0x40
                lab.deleteIndex()
                lab.seed += 1
                let isFromOther = round % 2 == 0
                let (lost, mended) = try lab.repair(
                    from: isFromOther ? other : nil, images: isFromOther ? [] : images)
                lostCount += lost
                #expect(mended == lost, "\(name) \(offset)")
                #expect(try lab.restoreAll() == images)
                #expect(try lab.check().harmCount == 0)
                try lab.prune()
                #expect(store.objects[name] == nil, "\(name) \(offset)")
                #expect(try lab.restoreAll() == images)
                #expect(try lab.check().findings == [])
            }
        }
        #expect(lostCount > 0)
        // A whole pack that is gone.
        let name = try #require(sound.keys.sorted().first { $0.hasPrefix("packs/") })
        store.objects = sound
        store.objects[name] = nil
        lab.deleteIndex()
        lab.seed += 1
        let nothing = try lab.repair()
        #expect(nothing.lost > 0 && nothing.mended == 0)
        lab.seed += 1
        let all = try lab.repair(from: other)
        #expect(all.mended == all.lost)
        #expect(try lab.restoreAll() == images)
        #expect(try lab.check().findings == [])
    }

    @Test("A pack that cannot be read stays while anything may need it")
    func unreadableStays() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 5)
        let name = try #require(store.objects.keys.sorted().first { $0.hasPrefix("packs/") })
        let whole = try #require(store.objects[name])
        store.objects[name]?.removeLast(70)
        for isFresh in [false, true] {
            if isFresh { lab.deleteIndex() }
            lab.seed += 1
            // It may refuse altogether, where it cannot tell what else is needed.
            _ = try? lab.prune()
            #expect(store.objects[name] != nil)
        }
        store.objects[name] = whole
        lab.deleteIndex()
        #expect(try lab.restoreAll() == images)
        // One that rotted where nothing else has the blocks stays as it is.
        store.objects[name]?[150] ^= 1
        lab.seed += 1
        try lab.index().learn(from: try lab.check().evidence)
        _ = try? lab.prune()
        #expect(store.objects[name]?.count == whole.count)
        store.objects[name] = whole
        #expect(try lab.restoreAll() == images)
    }

    @Test("Snapshots that lack blocks are marked, until the blocks are back")
    func marks() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 6)
        let sound = store.objects
        let timeline = try lab.timeline()
        var lacks: [SnapshotID: UInt64] = [:]
        for name in sound.keys.sorted() where name.hasPrefix("packs/") {
            store.objects = sound
            store.objects[name] = nil
            lab.deleteIndex()
            let report = try lab.check()
            lacks = lab.repository.lacks(of: report.lostBlocks, in: timeline)
            #expect(UInt64(lacks.count) == report.lackingSnapshotCount)
            if !lacks.isEmpty && lacks.count < images.count { break }
        }
        #expect(!lacks.isEmpty && lacks.count < images.count)
        for _ in 0..<2 {
            try lab.repository.noteLacks(
                lacks, in: timeline, time: lab.time, identifiers: SeededIdentifiers(seed: 1234))
            let standings = try lab.repository.standings(of: lab.volume)
            #expect(standings.mapValues(\.lackingBlockCount) == lacks.mapValues { $0 })
        }
        let notes = store.objects.keys.filter { $0.hasPrefix("notes/") }
        #expect(notes.count == lacks.count)
        #expect(try lab.check().findings.count { $0.subject.hasPrefix("notes/") } == 0)
        lab.seed += 1
        let (lost, mended) = try lab.repair(images: images)
        #expect(lost == mended)
        try lab.repository.noteLacks(
            lab.repository.lacks(of: try lab.check().lostBlocks, in: timeline), in: timeline,
            time: lab.time, identifiers: SeededIdentifiers(seed: 1235))
        #expect(try lab.repository.standings(of: lab.volume).isEmpty)
        #expect(try lab.restoreAll() == images)
    }

    @Test("What only forgotten snapshots lack is no harm")
    func hidden() throws {
        let store = MemoryStore()
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.workerCount = 1
        var generator = SeededGenerator(seed: 8)
        var image = generator.bytes(12 << 20)
        try lab.capture(image)
        image.replaceSubrange(0..<2 << 20, with: generator.bytes(2 << 20))
        try lab.capture(image)
        let sound = store.objects
        // A pack that the first snapshot alone needs.
        let name = try #require(
            try sound.keys.sorted().first { name in
                guard name.hasPrefix("packs/") else { return false }
                store.objects = sound
                store.objects[name] = nil
                return try lab.check().findings.compactMap(\.lack?.generations) == [1...1]
            })
        store.objects[name] = nil
        #expect(try lab.check().harmCount > 0)
        lab.deleteIndex()
        try lab.forget([try lab.timeline().snapshots[0].id])
        #expect(try lab.timeline().forgotten.count == 1)
        let report = try lab.check()
        #expect(report.harmCount == 0)
        #expect(report.lostBlocks.isEmpty)
        #expect(try lab.restoreAll() == [image])
    }

    @Test("Any bytes in the place of a pack are looked through, and give no block that is not one")
    func garbage() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 3)
        let sound = store.objects
        var generator = SeededGenerator(seed: 31)
        let names = sound.keys.sorted().filter { $0.hasPrefix("packs/") }
        for _ in 0..<20 {
            store.objects = sound
            let name = try #require(names.randomElement(using: &generator))
            var bytes = try #require(sound[name])
            for _ in 0..<Int.random(in: 1...40, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] ^= 0xFF
            }
            if Bool.random(using: &generator) {
                bytes.removeLast(Int.random(in: 1..<bytes.count, using: &generator))
            }
            store.objects[name] = bytes
            lab.deleteIndex()
            lab.seed += 1
            let (lost, mended) = try lab.repair()
            #expect(mended <= lost)
            lab.seed += 1
            let rest = try lab.repair(images: images)
            #expect(rest.mended == rest.lost)
            #expect(try lab.restoreAll() == images)
        }
    }

    @Test("After a stop at any step, nothing is worse, and the next repair ends it")
    func stop() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 4)
        for name in store.objects.keys where name.hasPrefix("packs/") {
            store.objects[name]?[200] ^= 2
        }
        let damaged = store.objects
        lab.deleteIndex()
        let start = store.stepCount
        let (lost, mended) = try lab.repair(images: images)
        #expect(lost > 0 && mended == lost)
        let stepCount = store.stepCount - start
        for step in 0..<stepCount {
            store.objects = damaged
            lab.deleteIndex()
            lab.seed += 1
            store.crash(afterSteps: step, .lost)
            _ = try? lab.repair(images: images)
            #expect(store.hasCrashed)
            store.restart()
            lab.closeIndex()
            lab.seed += 1
            _ = try lab.repair(images: images)
            #expect(try lab.restoreAll() == images, "step \(step)")
            #expect(try lab.check().harmCount == 0, "step \(step)")
        }
    }
}

/// What is read again before it is called lost.
@Suite struct SecondLookTests {
    @Test("A bit that flips while packs are read is no loss at the second look; real rot is")
    func secondLook() throws {
        let store = MemoryStore()
        let lab = try Lab(store)
        var generator = SeededGenerator(seed: 21)
        try lab.capture(generator.bytes(200_000))
        let good = store.objects
        let pack = try #require(good.keys.first { $0.hasPrefix("packs/") })
        store.objects[pack]?[3000] ^= 4
        let report = try lab.check()
        #expect(!report.lostBlocks.isEmpty)
        let badFrames = try lab.repository.secondLook(at: report.lostBlocks, report.evidence)
        #expect(badFrames.isEmpty)
        store.objects = good
        let flipped = try lab.repository.secondLook(at: report.lostBlocks, report.evidence)
        #expect(flipped == report.lostBlocks)
    }

    /// An image whose blocks compress together, the first ones worse than the others, so that parts of a
    /// bad frame can be read.
    private static func compressible(_ generator: inout SeededGenerator) -> [UInt8] {
        (0..<16).flatMap { block -> [UInt8] in
            let letters = UInt8(block < 4 ? 120 : 3)
            return (0..<65536).map { _ in UInt8.random(in: 0...letters, using: &generator) }
        }
    }

    @Test(
        "What is said to be whole after a repair is whole, however much of a rotten frame can be read",
        arguments: 0..<12)
    func partly(seed: UInt64) throws {
        let store = MemoryStore()
        let lab = try Lab(store, blockSize: 65536)
        var generator = SeededGenerator(seed: 300 + seed)
        let image = Self.compressible(&generator)
        try lab.capture(image)
        let good = store.objects
        let pack = try #require(good.keys.first { $0.hasPrefix("packs/") })
        let byteCount = try #require(good[pack]).count
        let place = Int.random(in: byteCount / 4..<byteCount * 3 / 4, using: &generator)
        store.objects[pack]?[place] ^= 0x10
        let report = try lab.check()
        try #require(!report.lostBlocks.isEmpty)
        #expect(try lab.repository.secondLook(at: report.lostBlocks, report.evidence).isEmpty)

        // Without the disk: what it says is lacking lacks, and nothing else.
        let damaged = store.objects
        let (lost, mended) = try lab.repair()
        #expect(lost == report.lostBlocks.count)
        #expect(try lab.check().lostBlocks.count == lost - mended)
        // With it: nothing lacks.
        store.objects = damaged
        lab.deleteIndex()
        lab.seed += 1
        let rest = try lab.repair(images: [image])
        #expect(rest.mended == rest.lost)
        #expect(try lab.check().lostBlocks.isEmpty)
        #expect(try lab.restoreAll() == [image])
    }
}
