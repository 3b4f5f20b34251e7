import BlockModel
import CaptureEngine
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing
import Workflows

/// The machine stops at every single call that changes the repository.
@Suite struct CrashTests {
    /// A short history with everything in it: several packs, parts, patches, zeros, a new size.
    private static let images: [[UInt8]] = {
        var model = ImageModel(byteCount: 110_000, seed: 77)
        var images = [model.bytes]
        for _ in 0..<2 {
            for _ in 0..<4 { model.change() }
            images.append(model.bytes)
        }
        return images
    }()

    private static func makeLab(_ store: MemoryStore) throws -> Lab {
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.partByteLimit = 500
        lab.workerCount = 1
        return lab
    }

    /// Steps of the whole history, found by running it once.
    private static let stepCount: Int = {
        let store = MemoryStore()
        guard let lab = try? makeLab(store) else { return 0 }
        let start = store.stepCount
        for image in images { _ = try? lab.capture(image) }
        return store.stepCount - start
    }()

    @Test(
        "After a stop at any step, what is listed restores and the next backup succeeds",
        arguments: CrashEffect.allCases)
    func stop(effect: CrashEffect) throws {
        #expect(Self.stepCount > 40)
        for step in 0..<Self.stepCount {
            let store = MemoryStore()
            var lab = try Self.makeLab(store)
            store.crash(afterSteps: step, effect)
            var finished = 0
            for image in Self.images {
                guard (try? lab.capture(image)) != nil else { break }
                finished += 1
            }
            #expect(store.hasCrashed, "step \(step)")
            store.restart()
            lab.closeIndex()
            // Every other time the index is lost with the machine.
            if step % 2 == 0 { lab = try Self.makeLab(store) }
            lab.seed = 1

            let timeline = try lab.timeline()
            #expect(timeline.damaged == [], "step \(step) \(effect)")
            // A capture that reported success is there; one that was stopped may be.
            let listed = timeline.snapshots.count
            #expect((finished...finished + 1).contains(listed), "step \(step) \(effect)")
            for (snapshot, image) in zip(timeline.snapshots, Self.images) {
                #expect(try lab.restore(snapshot) == image, "step \(step) \(effect)")
            }
            let last = Self.images[2].reversed() + [1, 2, 3]
            try lab.capture(last)
            let tip = try #require(try lab.timeline().tip)
            #expect(try lab.restore(tip) == last, "step \(step) \(effect)")
            #expect(try lab.check().findings == [], "step \(step) \(effect)")
        }
    }

    @Test("A base that was stopped late uses what it had stored when it is begun again")
    func adoption() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        lab.packByteTarget = 8_000
        var generator = SeededGenerator(seed: 4)
        let image = (0..<400_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let whole = MemoryStore()
        let reference = try Self.makeLab(whole)
        reference.packByteTarget = 8_000
        let start = whole.stepCount
        try reference.capture(image)
        let steps = whole.stepCount - start
        let packBytes = { (store: MemoryStore) in
            store.objects.filter { $0.key.hasPrefix("packs/") }.values.reduce(0) { $0 + $1.count }
        }
        store.crash(afterSteps: steps * 9 / 10, .lost)
        #expect(throws: (any Error).self) { try lab.capture(image) }
        store.restart()
        let kept = packBytes(store)
        #expect(kept > packBytes(whole) / 2)
        // Neither the old process nor its index survive.
        let second = try Self.makeLab(store)
        second.seed = 1
        let result = try second.capture(image)
        #expect(result.facts.bytesStored < UInt64(packBytes(whole) - kept / 2))
        let tip = try #require(try second.timeline().tip)
        #expect(try second.restore(tip) == image)
        #expect(try second.check().findings == [])
    }

    @Test("A full repository gives a clear error, and works again once there is space")
    func noSpace() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        try lab.capture(Self.images[0])
        var generator = SeededGenerator(seed: 3)
        let noise = (0..<200_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        for room in [0, 100, 5_000, 40_000, 100_000] {
            store.limit(freeByteCount: room)
            let error = #expect(throws: ObjectStoreError.self) { try lab.capture(noise) }
            #expect(error?.reason == .noSpace)
            store.limit(freeByteCount: nil)
            #expect(try lab.timeline().snapshots.count == 1)
        }
        try lab.capture(noise)
        #expect(try lab.restoreAll() == [Self.images[0], noise])
        #expect(try lab.check().findings == [])
    }
}
