import BlockModel
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// Short cuts are another way to the same snapshots, and nothing else.
@Suite struct ConsolidationTests {
    private static func makeLab(_ store: MemoryStore, partByteLimit: Int = 500) throws -> Lab {
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.partByteLimit = partByteLimit
        lab.workerCount = 1
        return lab
    }

    private static func deltaCount(_ store: MemoryStore) -> Int {
        store.objects.keys.count { $0.hasPrefix("volumes/") && !$0.contains("newest") }
    }

    @Test(
        "Whatever is captured, forgotten and pruned in between, every path leads to the same bytes",
        arguments: 0..<6 as Range<UInt64>)
    func random(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed + 300)
        let store = MemoryStore()
        let lab = try Self.makeLab(
            store, partByteLimit: seed % 2 == 0 ? 500 : Format.partByteLimit)
        var model = ImageModel(byteCount: 60_000, seed: seed)
        var images: [SnapshotID: [UInt8]] = [:]
        var shortCutCount = 0
        for round in 0..<70 {
            for _ in 0..<Int.random(in: 1...3, using: &generator) { model.change() }
            try lab.capture(model.bytes)
            let tip = try lab.timeline().tip
            images[try #require(tip).id] = model.bytes
            shortCutCount += try lab.consolidate(lengthLimit: 10)
            #expect(try lab.consolidate(lengthLimit: 10) == 0, "seed \(seed) \(round)")
            guard round % 23 == 22 else { continue }
            let shown = try lab.timeline().snapshots.dropLast()
            let victims = shown.filter { _ in Int.random(in: 0..<5, using: &generator) == 0 }
            try lab.forget(victims.map(\.id), isThorough: Bool.random(using: &generator))
            for victim in victims { images[victim.id] = nil }
            try lab.prune()
            lab.deleteIndex()
            let timeline = try lab.timeline()
            #expect(timeline.isSound)
            #expect(Set(timeline.snapshots.map(\.id)) == Set(images.keys))
            for snapshot in timeline.snapshots {
                #expect(try lab.restore(snapshot) == images[snapshot.id], "seed \(seed) \(round)")
            }
            #expect(try lab.check().findings == [], "seed \(seed) \(round)")
            #expect(try lab.prune().deletedPackCount == 0, "seed \(seed) \(round)")
        }
        #expect(shortCutCount > 2)
    }

    @Test("The way to any of six hundred snapshots is short, and one is opened without the rest")
    func long() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store, partByteLimit: Format.partByteLimit)
        var image = [UInt8](repeating: 9, count: 80_000)
        for number in 1...600 {
            image[(number * 37) % 80_000] = UInt8(truncatingIfNeeded: number)
            try lab.capture(image)
            if number % 16 == 0 { try lab.consolidate() }
        }
        let timeline = try lab.timeline()
        #expect(timeline.snapshots.count == 600)
        #expect(Self.deltaCount(store) <= 600 + 600 / 15)
        let longest = timeline.snapshots.compactMap { timeline.cheapestPath(to: $0.id)?.count }
            .max()
        #expect(try #require(longest) <= 128 + 3 * 16)
        lab.deleteIndex()
        let tip = try #require(timeline.tip)
        // What the way to the newest passes by may be gone: it is not looked at.
        let way = Set(try #require(timeline.cheapestPath(to: tip.id)).map(\.name.objectName))
        let all = store.objects
        store.objects = all.filter { name, _ in
            !name.hasPrefix("volumes/") || name.contains("newest") || way.contains(name)
        }
        #expect(try lab.restore(tip) == image)
        store.objects = all
        lab.deleteIndex()
        #expect(try lab.restore(tip) == image)
        let older = timeline.snapshots[400]
        let expected = try lab.restore(older)
        // The next capture needs all of it, and finds it.
        try lab.capture(image)
        #expect(try lab.restore(older) == expected)
        #expect(try lab.check().findings == [])
    }

    @Test("A delta that is lost below a short cut costs only what it leads to")
    func loss() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var model = ImageModel(byteCount: 60_000, seed: 3)
        var images: [[UInt8]] = []
        for _ in 0..<40 {
            model.change()
            try lab.capture(model.bytes)
            images.append(model.bytes)
        }
        #expect(try lab.consolidate(lengthLimit: 10) == 2)
        let name = try #require(
            store.objects.keys.first { $0.contains("/000000000020-000000000021.") })
        store.objects[name] = nil
        lab.deleteIndex()
        let timeline = try lab.timeline()
        #expect(timeline.damaged.map(\.generation) == Array(21...31))
        for snapshot in timeline.snapshots {
            #expect(try lab.restore(snapshot) == images[Int(snapshot.generation) - 1])
        }
    }

    @Test("A path that leads to something else is found by a check, and never gives wrong bytes")
    func wrongWay() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var images: [[UInt8]] = []
        for number in 0..<5 {
            images.append([UInt8](repeating: UInt8(number + 1), count: 20_000))
            try lab.capture(images[number])
        }
        let timeline = try lab.timeline()
        let (from, to) = (timeline.snapshots[1], timeline.snapshots[4])
        let writer = DeltaWriter(
            repository: lab.repository, identifiers: SeededIdentifiers(seed: 4242))
        try writer.append(.zero, firstBlock: 1, blockCount: 2)
        try writer.finishMap()
        let head = DeltaHead(
            from: from.id, fromGeneration: from.generation, fromByteCount: from.facts.byteCount,
            toGeneration: to.generation, facts: to.facts)
        let id = SeededIdentifiers(seed: 4243).next()
        _ = try writer.commit(
            DeltaName(
                volume: lab.volume, from: from.generation, to: to.generation, id: id), head: head)
        let findings = try lab.check().findings
        #expect(findings.count == 1)
        #expect(findings.first?.subject.contains("000000000002-000000000005") == true)
        // The index knows better; without it the wrong way may be taken, and fails.
        #expect(try lab.restore(to) == images[4])
        let other = try Lab(store)
        other.seed = 9
        let path = try #require(try lab.timeline().cheapestPath(to: to.id))
        #expect(path.count == 3)
        for (number, snapshot) in timeline.snapshots.enumerated() {
            if let bytes = try? other.restore(snapshot) { #expect(bytes == images[number]) }
        }
    }

    @Test("After a stop at any step everything is there, and the next time ends it")
    func stop() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var model = ImageModel(byteCount: 60_000, seed: 8)
        var images: [[UInt8]] = []
        for _ in 0..<34 {
            model.change()
            try lab.capture(model.bytes)
            images.append(model.bytes)
        }
        let before = store.objects
        let start = store.stepCount
        let expected = try lab.consolidate(lengthLimit: 10)
        let stepCount = store.stepCount - start
        #expect(expected == 2)
        for step in 0..<stepCount {
            for effect in CrashEffect.allCases {
                store.objects = before
                lab.seed += 1
                store.crash(afterSteps: step, effect)
                _ = try? lab.consolidate(lengthLimit: 10)
                #expect(store.hasCrashed)
                store.restart()
                lab.closeIndex()
                lab.seed += 1
                #expect(try lab.timeline().isSound)
                try lab.consolidate(lengthLimit: 10)
                #expect(Self.deltaCount(store) == 36, "step \(step)")
                #expect(try lab.check(.none).harmCount == 0, "step \(step)")
            }
        }
        lab.deleteIndex()
        #expect(try lab.restoreAll() == images)
    }
}
