import BlockModel
import Maintenance
import Repository
import RepositoryFormat
import RepositoryIndex
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// Snapshots are forgotten in every order, and what is kept stays what it was.
@Suite struct ForgettingTests {
    private static func makeLab(_ store: MemoryStore) throws -> Lab {
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.partByteLimit = 500
        lab.workerCount = 1
        return lab
    }

    private static func deltaCount(_ store: MemoryStore) -> Int {
        store.objects.keys.count { $0.hasPrefix("volumes/") && !$0.contains("newest") }
    }

    /// A delta between two snapshots that names nothing, whatever lies between them.
    private static func writeWrongDelta(
        from: Snapshot,
        to: Snapshot,
        fromGeneration: Generation? = nil,
        toGeneration: Generation? = nil,
        time: Timestamp? = nil,
        in lab: Lab
    ) throws {
        let writer = DeltaWriter(
            repository: lab.repository, identifiers: SeededIdentifiers(seed: 4242))
        try writer.finishMap()
        var facts = to.facts
        if let time { facts.time = time }
        let (start, end) = (fromGeneration ?? from.generation, toGeneration ?? to.generation)
        let head = DeltaHead(
            from: from.id, fromGeneration: start, fromByteCount: from.facts.byteCount,
            toGeneration: end, facts: facts)
        let name = DeltaName(
            volume: lab.volume, from: start, to: end, id: SeededIdentifiers(seed: 4243).next())
        _ = try writer.commit(name, head: head)
    }

    @Test("Nothing is deleted for the sake of a merged delta that was not proved")
    func unproved() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        for number in 0..<4 { try lab.capture([UInt8](repeating: UInt8(number), count: 90_000)) }
        let images = try lab.restoreAll()
        let snapshots = try lab.timeline().snapshots
        // As one that was found wrong, or was written before a stop.
        try Self.writeWrongDelta(from: snapshots[0], to: snapshots[2], in: lab)
        let summary = try lab.forget([snapshots[1].id], isThorough: true)
        #expect(summary.falseCount == 1 && summary.mergedCount == 1)
        lab.deleteIndex()
        #expect(try lab.restoreAll() == [images[0], images[2], images[3]])
    }

    @Test("A delta that calls its start by another number is proved like any other")
    func wrongStart() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        for number in 0..<3 { try lab.capture([UInt8](repeating: UInt8(number), count: 9000)) }
        let snapshots = try lab.timeline().snapshots
        try Self.writeWrongDelta(
            from: snapshots[0], to: snapshots[2], fromGeneration: 2, toGeneration: 9,
            time: Timestamp(seconds: 5), in: lab)
        let judged = try lab.index().judged(try lab.timeline(), with: lab.repository)
        #expect(judged.snapshots == snapshots)
        #expect(judged.isSound)
        #expect(judged.possibleLosses.map(\.generation) == [9])
        let findings = try lab.check().findings
        #expect(!findings.isEmpty && findings.allSatisfy(\.isHarmless))
        try lab.repairPaths(givesUp: true)
        #expect(try lab.timeline().snapshots == snapshots)
        #expect(try lab.check().findings == [])
    }

    @Test("On a volume with damage nothing is forgotten, whatever an index remembers of it")
    func damage() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        for number in 0..<4 { try lab.capture([UInt8](repeating: UInt8(number), count: 9000)) }
        let timeline = try lab.repository.timelines(cache: try lab.index())[0]
        let name = try #require(store.objects.keys.first { $0.contains("000000000002-0") })
        store.objects[name] = [UInt8](repeating: 0, count: store.objects[name]?.count ?? 0)
        let objects = store.objects
        #expect(throws: RepositoryError.self) {
            try lab.repository.hide(
                [timeline.snapshots[0].id], of: timeline, time: lab.time,
                identifiers: SeededIdentifiers(seed: 3), judge: { $0 })
        }
        #expect(store.objects == objects)
    }

    @Test(
        "Whatever is forgotten, what is kept restores bit for bit",
        arguments: 0..<12 as Range<UInt64>)
    func random(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed + 900)
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        if seed % 3 == 0 { lab.partByteLimit = Format.partByteLimit }
        var model = ImageModel(byteCount: 60_000, seed: seed)
        var images: [SnapshotID: [UInt8]] = [:]
        var mergedCount = 0
        for round in 0..<30 {
            for _ in 0..<Int.random(in: 1...4, using: &generator) { model.change() }
            try lab.capture(model.bytes)
            images[try #require(try lab.timeline().tip).id] = model.bytes
            guard round % 3 == 2 else { continue }
            let shown = try lab.timeline().snapshots.dropLast()
            let victims = shown.filter { _ in Int.random(in: 0..<3, using: &generator) == 0 }
            let isThorough = Int.random(in: 0..<3, using: &generator) == 0
            let summary = try lab.forget(victims.map(\.id), isThorough: isThorough)
            mergedCount += summary.mergedCount
            for victim in victims { images[victim.id] = nil }
            let timeline = try lab.timeline()
            #expect(timeline.isSound)
            #expect(Set(timeline.snapshots.map(\.id)) == Set(images.keys))
            #expect(timeline.forgotten.count == summary.waitingCount)
            if isThorough {
                #expect(timeline.forgotten.isEmpty)
                #expect(Self.deltaCount(store) == timeline.snapshots.count)
                #expect(store.objects.keys.count { $0.hasPrefix("notes/") } == 0)
            }
            if Bool.random(using: &generator) { lab.deleteIndex() }
            for snapshot in timeline.snapshots {
                #expect(try lab.restore(snapshot) == images[snapshot.id], "seed \(seed) \(round)")
            }
        }
        #expect(mergedCount > 0)
        #expect(try lab.check().findings == [])
    }

    @Test(
        "Hours that are forgotten one by one leave few deltas, and a base is seldom written again")
    func hours() throws {
        let store = MemoryStore()
        let lab = try Lab(store)
        var generator = SeededGenerator(seed: 8)
        var image = generator.bytes(800 * 4096)
        var baseWrites = 0
        for hour in 0..<150 {
            for _ in 0..<4 {
                image[Int.random(in: 0..<image.count, using: &generator)] ^= 0x55
            }
            try lab.capture(image)
            let shown = try lab.timeline().snapshots
            guard shown.count > 10 else { continue }
            let before = Set(try lab.timeline().deltas.map(\.name))
            try lab.forget([shown[0].id])
            let timeline = try lab.timeline()
            baseWrites += timeline.deltas.count {
                $0.name.from == 0 && !before.contains($0.name)
            }
            #expect(timeline.snapshots.count == 10, "hour \(hour)")
            // A quarter of what is hidden may wait behind the base.
            #expect(timeline.deltas.count < 10 + 12, "hour \(hour): \(timeline.deltas.count)")
        }
        #expect(baseWrites < 5)
        #expect(try lab.restore(try #require(try lab.timeline().tip)) == image)
    }

    @Test(
        "After a stop at any step of forgetting, nothing kept is lost, and it can be resumed",
        arguments: CrashEffect.allCases)
    func stop(effect: CrashEffect) throws {
        let prepared = MemoryStore()
        var images: [[UInt8]] = []
        do {
            let lab = try Self.makeLab(prepared)
            var model = ImageModel(byteCount: 50_000, seed: 5)
            for _ in 0..<9 {
                for _ in 0..<3 { model.change() }
                try lab.capture(model.bytes)
                images.append(model.bytes)
            }
        }
        let kept = [2, 3, 6, 8]
        func victims(_ timeline: Timeline) -> [SnapshotID] {
            timeline.snapshots.filter { !kept.contains(Int($0.generation) - 1) }.map(\.id)
        }
        func copy() throws -> (MemoryStore, Lab) {
            let store = MemoryStore()
            store.objects = prepared.objects
            return (store, try Self.makeLab(store))
        }
        let stepCount: Int
        do {
            let (store, lab) = try copy()
            let start = store.stepCount
            let summary = try lab.forget(victims(try lab.timeline()), isThorough: true)
            #expect(summary.removedCount == 5)
            stepCount = store.stepCount - start
        }
        #expect(stepCount > 30)
        for step in 0..<stepCount {
            var (store, lab) = try copy()
            lab.seed = 2
            // The index may be there already, or be made on the way.
            if step % 3 == 0 { _ = try lab.restoreAll() }
            let all = victims(try lab.timeline())
            store.crash(afterSteps: step, effect)
            _ = try? lab.forget(all, isThorough: true)
            #expect(store.hasCrashed, "step \(step)")
            store.restart()
            lab.closeIndex()
            if step % 2 == 0 { lab = try Self.makeLab(store) }
            lab.seed = 3
            let timeline = try lab.timeline()
            #expect(timeline.isSound, "step \(step) \(effect): \(timeline.damaged)")
            for snapshot in timeline.snapshots {
                #expect(
                    try lab.restore(snapshot) == images[Int(snapshot.generation) - 1],
                    "step \(step) \(effect)")
            }
            #expect(
                Set(timeline.snapshots.map { Int($0.generation) - 1 }).isSuperset(of: kept),
                "step \(step) \(effect)")
            try lab.forget(victims(timeline), isThorough: true)
            let last = try lab.timeline()
            #expect(last.snapshots.map { Int($0.generation) - 1 } == kept, "step \(step)")
            #expect(last.forgotten.isEmpty)
            #expect(Self.deltaCount(store) == kept.count, "step \(step) \(effect)")
            #expect(try lab.restoreAll() == kept.map { images[$0] }, "step \(step) \(effect)")
            #expect(try lab.check().findings == [], "step \(step) \(effect)")
            try lab.capture(images[0])
            #expect(try lab.restore(try #require(try lab.timeline().tip)) == images[0])
            store = MemoryStore()
        }
    }

    @Test("A marker of the newest that a crash left behind is no damage when its snapshot goes")
    func oldMarker() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var model = ImageModel(byteCount: 50_000, seed: 10)
        var marker: (key: String, value: [UInt8])?
        for _ in 0..<4 {
            model.change()
            try lab.capture(model.bytes)
            marker = marker ?? store.objects.first { $0.key.contains("newest.000000000001") }
        }
        let (name, bytes) = try #require(marker)
        store.objects[name] = bytes
        let first = try lab.timeline().snapshots[0].id
        try lab.forget([first], isThorough: true)
        let timeline = try lab.timeline()
        #expect(timeline.isSound)
        #expect(timeline.snapshots.map(\.generation) == [2, 3, 4])
        #expect(store.objects[name] == nil)

        // A capture that ended before it could write its own.
        let newest = try #require(store.objects.first { $0.key.contains("newest.000000000004") })
        model.change()
        try lab.capture(model.bytes)
        let last = try #require(store.objects.first { $0.key.contains("newest.000000000005") })
        store.objects[last.key] = nil
        store.objects[newest.key] = newest.value
        try lab.forget(try lab.timeline().snapshots.dropLast().map(\.id), isThorough: true)
        #expect(try lab.timeline().isSound)
        #expect(try lab.timeline().snapshots.map(\.generation) == [5])
        #expect(store.objects[last.key] != nil && store.objects[newest.key] == nil)
    }

    @Test("The newest is never forgotten, and nothing is deleted where there is damage")
    func refusals() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var model = ImageModel(byteCount: 50_000, seed: 9)
        for _ in 0..<4 {
            model.change()
            try lab.capture(model.bytes)
        }
        let snapshots = try lab.timeline().snapshots
        #expect(throws: RepositoryError.self) { try lab.forget([snapshots[3].id]) }
        let whole = store.objects
        let lost = try #require(
            whole.keys.first { $0.contains("/000000000002-000000000003") })
        store.objects[lost] = nil
        lab.deleteIndex()
        let before = Set(store.objects.keys)
        #expect(throws: RepositoryError.self) {
            try lab.forget([snapshots[0].id], isThorough: true)
        }
        #expect(Set(store.objects.keys) == before)
        store.objects[lost] = whole[lost]
        try lab.forget([snapshots[0].id], isThorough: true)
        #expect(try lab.timeline().snapshots.map(\.generation) == [2, 3, 4])
    }

    @Test("Where a history forked, what is forgotten leaves no marker that tells of a loss")
    func fork() throws {
        let store = MemoryStore()
        let lab = try Lab(store)
        var generator = SeededGenerator(seed: 12)
        let images = (0..<4).map { _ in generator.bytes(6 * 4096) }
        try lab.capture(images[0])
        // A copy of the repository goes on by itself, and is put back into it.
        let copy = MemoryStore()
        copy.objects = store.objects
        let other = try Lab(copy)
        other.seed = 1
        other.time = lab.time
        try lab.capture(images[1])
        try other.capture(images[2])
        store.objects.merge(copy.objects) { own, _ in own }
        try lab.capture(images[3])
        let shown = try lab.timeline().snapshots
        #expect(shown.map(\.generation) == [1, 2, 2, 3])
        // Nothing begins at the other one of that number.
        let victim = try #require(shown.last).facts.parent
        try lab.forget([victim], isThorough: true)
        for _ in 0..<2 {
            let left = try lab.timeline()
            #expect(left.isSound && left.damaged.isEmpty)
            #expect(left.snapshots.map(\.id) == shown.map(\.id).filter { $0 != victim })
            #expect(try lab.check().harmCount == 0)
            _ = try lab.repairPaths()
            lab.deleteIndex()
        }
    }
}
