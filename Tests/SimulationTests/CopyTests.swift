import BlockModel
import Maintenance
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// Snapshots in another repository are the same snapshots.
@Suite struct CopyTests {
    /// A lab whose repository is another one than `Lab` makes by itself.
    private static func makeOther(
        _ store: MemoryStore,
        blockSize: Int = 4096,
        seed: UInt64 = 99
    ) throws -> Lab {
        var generator = SeededGenerator(seed: seed)
        let size = try #require(BlockSize(byteCount: blockSize))
        if try store.list("").isEmpty {
            _ = try Repository(
                creatingIn: store, blockSize: size, created: Timestamp(seconds: 1),
                generator: &generator)
        }
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        return lab
    }

    private static func makeLab(_ store: MemoryStore) throws -> Lab {
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.partByteLimit = 500
        lab.workerCount = 1
        return lab
    }

    @Test("What was forgotten there is shown again when it is copied again")
    func shownAgain() throws {
        let (store, otherStore) = (MemoryStore(), MemoryStore())
        let lab = try Self.makeLab(store)
        let other = try Self.makeOther(otherStore)
        var generator = SeededGenerator(seed: 4)
        var image = generator.bytes(400_000)
        for number in 1...3 {
            image[number * 5000] ^= 1
            try lab.capture(image)
        }
        let snapshots = try lab.timeline().snapshots
        try lab.copy(snapshots, to: other)
        // The base waits to be merged.
        try other.forget([snapshots[0].id])
        #expect(try other.timeline().snapshots.count == 2)
        #expect(try other.timeline().forgotten.count == 1)
        #expect(try lab.copy(snapshots, to: other).copiedCount == 1)
        #expect(try other.timeline().snapshots == snapshots)
        // Only the note is left of one.
        try other.forget([snapshots[1].id], isThorough: true)
        try other.repository.hide(
            [snapshots[1].id], of: try other.timeline(), time: other.time,
            identifiers: SeededIdentifiers(seed: 4), judge: { $0 })
        #expect(try lab.copy(snapshots, to: other).copiedCount == 1)
        #expect(try other.restoreAll() == lab.restoreAll())
        #expect(try other.check().findings == [])
    }

    @Test(
        "Whatever is chosen is there afterwards, bit for bit, with its id",
        arguments: 0..<8 as Range<UInt64>)
    func random(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed + 700)
        let (store, otherStore) = (MemoryStore(), MemoryStore())
        let lab = try Self.makeLab(store)
        let other = try Self.makeOther(otherStore)
        var model = ImageModel(byteCount: 100_000, seed: seed)
        var images: [SnapshotID: [UInt8]] = [:]
        for round in 0..<6 {
            for _ in 0..<4 {
                for _ in 0..<Int.random(in: 1...4, using: &generator) { model.change() }
                try lab.capture(model.bytes)
                let tip = try lab.timeline().tip
                images[try #require(tip).id] = model.bytes
            }
            if round % 2 == 1 {
                let shown = try lab.timeline().snapshots.dropLast()
                let victims = shown.filter { _ in Int.random(in: 0..<4, using: &generator) == 0 }
                try lab.forget(victims.map(\.id), isThorough: Bool.random(using: &generator))
            }
            if round == 3 { other.deleteIndex() }
            let snapshots = try lab.timeline().snapshots
            let chosen = snapshots.filter { _ in round == 5 || Bool.random(using: &generator) }
            let before = Set(try other.timeline().snapshots.map(\.id))
            let summary = try lab.copy(chosen, to: other)
            #expect(
                summary.copiedCount == chosen.count { !before.contains($0.id) }, "seed \(seed)")
            let there = try other.timeline()
            #expect(there.isSound)
            #expect(Set(there.snapshots.map(\.id)).isSuperset(of: chosen.map(\.id)))
            for snapshot in there.snapshots {
                #expect(
                    try other.restore(snapshot) == images[snapshot.id], "seed \(seed) \(round)")
            }
            #expect(try other.check().findings == [], "seed \(seed) \(round)")
            #expect(try lab.copy(chosen, to: other).copiedCount == 0)
            #expect(try lab.copy(chosen, to: other).blockCount == 0)
        }
        // Forgetting and pruning there is nobody's business here.
        try other.forget(try other.timeline().snapshots.dropLast(2).map(\.id), isThorough: true)
        try other.prune()
        for snapshot in try other.timeline().snapshots {
            #expect(try other.restore(snapshot) == images[snapshot.id])
        }
        #expect(try lab.check().findings == [])
    }

    @Test("A snapshot that was copied below the newest one is not lost without a word")
    func lostBelow() throws {
        let (store, otherStore) = (MemoryStore(), MemoryStore())
        let lab = try Self.makeLab(store)
        let other = try Self.makeOther(otherStore)
        var model = ImageModel(byteCount: 60_000, seed: 16)
        for _ in 0..<6 {
            model.change()
            try lab.capture(model.bytes)
        }
        let all = try lab.timeline().snapshots
        try lab.copy([all[0], all[4]], to: other)
        try lab.copy([all[1], all[3]], to: other)
        func markers() -> [String] {
            otherStore.objects.keys.filter { $0.contains("/newest.") }.sorted()
        }
        func delta(_ generation: Int) throws -> String {
            try #require(
                otherStore.objects.keys.first { $0.contains("-00000000000\(generation).") })
        }
        func expectSeen(_ generation: Int) throws {
            let whole = otherStore.objects
            otherStore.objects[try delta(generation)] = nil
            other.deleteIndex()
            #expect(try other.timeline().damaged.map(\.generation) == [UInt64(generation)])
            #expect(try other.check().harmCount > 0)
            #expect(throws: RepositoryError.self) { try other.prune() }
            otherStore.objects = whole
            other.deleteIndex()
        }
        #expect(markers().contains { $0.contains("newest.000000000004") })
        try expectSeen(4)
        // Neither the next snapshot, nor forgetting others, nor pruning takes it away.
        try lab.copy([all[5]], to: other)
        model.change()
        other.seed = 1
        other.time = lab.time
        try other.capture(model.bytes)
        try other.forget([all[4].id], isThorough: true)
        try other.prune()
        // What others begin at needs none.
        #expect(markers().count == 2)
        try expectSeen(4)
        // It goes with its snapshot.
        try other.forget([all[3].id], isThorough: true)
        #expect(markers().count { $0.contains("newest.000000000004") } == 0)
        #expect(try other.check().findings == [])
        // One that an earlier version copied gets one when it is found there.
        try lab.copy([all[2]], to: other)
        let marker = try #require(markers().first { $0.contains("newest.000000000003") })
        otherStore.objects[marker] = nil
        #expect(try lab.copy([all[2]], to: other).copiedCount == 0)
        #expect(otherStore.objects[marker] != nil)
    }

    @Test("A copy takes about the space of what it copies")
    func size() throws {
        let (store, otherStore) = (MemoryStore(), MemoryStore())
        let lab = try Lab(store)
        let other = try Self.makeOther(otherStore)
        var generator = SeededGenerator(seed: 4)
        var image = generator.bytes(200 * 4096)
        for hour in 0..<20 {
            for block in 0..<10 { image[(block * 19 % 200) * 4096 + hour] ^= 0x41 }
            try lab.capture(image)
        }
        try lab.copy(try lab.timeline().snapshots, to: other)
        func sum(_ store: MemoryStore) -> Int {
            store.objects.filter { $0.key.hasPrefix("packs/") }.reduce(0) { $0 + $1.value.count }
        }
        #expect(Double(sum(otherStore)) < 1.1 * Double(sum(store)))
        #expect(try other.restoreAll() == (try lab.restoreAll()))
    }

    @Test("Repositories that do not fit together are refused, with the reason")
    func refusals() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        try lab.capture([UInt8](repeating: 7, count: 50_000))
        let snapshots = try lab.timeline().snapshots
        let large = try Self.makeOther(MemoryStore(), blockSize: 8192)
        #expect(throws: RepositoryError.self) { try lab.copy(snapshots, to: large) }
        #expect(throws: RepositoryError.self) { try lab.copy(snapshots, to: lab) }
        // The name is that of another disk there.
        let other = try Self.makeOther(MemoryStore())
        try other.capture([UInt8](repeating: 9, count: 70_000))
        #expect(throws: RepositoryError.self) { try lab.copy(snapshots, to: other) }
        #expect(try other.timeline().snapshots.count == 1)
        #expect(try other.check().findings == [])
        // A block that cannot be read.
        let fresh = try Self.makeOther(MemoryStore())
        for name in store.objects.keys where name.hasPrefix("packs/") {
            store.objects[name]?[150] ^= 1
        }
        lab.deleteIndex()
        #expect(throws: (any Error).self) { try lab.copy(snapshots, to: fresh) }
        #expect(try fresh.timeline().snapshots.isEmpty)
    }

    @Test(
        "After a stop at any step of copying, what is listed is whole, and the next copy ends it",
        arguments: CrashEffect.allCases)
    func stop(effect: CrashEffect) throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var model = ImageModel(byteCount: 60_000, seed: 15)
        var images: [SnapshotID: [UInt8]] = [:]
        for _ in 0..<4 {
            for _ in 0..<3 { model.change() }
            try lab.capture(model.bytes)
            let tip = try lab.timeline().tip
            images[try #require(tip).id] = model.bytes
        }
        let all = try lab.timeline().snapshots
        let stepCount: Int
        do {
            let target = MemoryStore()
            let other = try Self.makeOther(target)
            let start = target.stepCount
            try lab.copy(all, to: other)
            stepCount = target.stepCount - start
        }
        #expect(stepCount > 30)
        for step in 0..<stepCount {
            let target = MemoryStore()
            var other = try Self.makeOther(target)
            lab.seed += 1
            target.crash(afterSteps: step, effect)
            _ = try? lab.copy(all, to: other)
            #expect(target.hasCrashed, "step \(step)")
            target.restart()
            other.closeIndex()
            if step % 2 == 0 { other = try Self.makeOther(target) }
            let there = try other.timeline()
            #expect(there.isSound, "step \(step) \(effect)")
            for snapshot in there.snapshots {
                #expect(
                    try other.restore(snapshot) == images[snapshot.id], "step \(step) \(effect)")
            }
            lab.seed += 1
            try lab.copy(all, to: other)
            #expect(try other.timeline().snapshots.map(\.id) == all.map(\.id), "step \(step)")
            #expect(try other.restoreAll() == all.map { images[$0.id] }, "step \(step) \(effect)")
            #expect(try other.check().findings == [], "step \(step) \(effect)")
        }
    }

    @Test(
        "A copy made newest first is proved at once by the first command that looks at it, and leaves few markers"
    )
    func newestFirst() throws {
        let (store, target) = (MemoryStore(), MemoryStore())
        let (lab, other) = (try Lab(store), try Self.makeOther(target, seed: 77))
        var generator = SeededGenerator(seed: 33)
        var image = generator.bytes(4 * 4096)
        for _ in 0..<40 {
            image[Int.random(in: 0..<image.count, using: &generator)] ^= 1
            try lab.capture(image)
        }
        let snapshots = try lab.timeline().snapshots
        try lab.copy([snapshots[39]], to: other)
        try lab.copy(snapshots, to: other)
        let markers = target.objects.keys.filter { $0.contains("/newest.") }
        #expect(markers.count <= 2, "\(markers)")
        other.deleteIndex()
        #expect(try lab.copy(snapshots, to: other).copiedCount == 0)
        other.deleteIndex()
        try other.forget([snapshots[20].id])
        #expect(try other.check().harmCount == 0)
    }
}
