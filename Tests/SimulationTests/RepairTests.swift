import BlockModel
import Repository
import RepositoryFormat
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
            // And by an index that never saw it whole.
            lab.deleteIndex()
            #expect(try lab.restoreAll() == images)
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
