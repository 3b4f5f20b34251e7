import BlockModel
import LMDB
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// Snapshots that no path of deltas leads to are brought back, or given up by word.
@Suite struct PathRepairTests {
    /// What is done to a delta.
    enum Harm: CaseIterable {
        case delete, cut, flipHead, flipEnd

        func apply(to name: String, in store: MemoryStore) {
            switch self {
            case .delete: store.objects[name] = nil
            case .cut: store.objects[name]?.removeLast(20)
            case .flipHead: store.objects[name]?[250] ^= 4
            case .flipEnd:
                let count = store.objects[name]?.count ?? 1
                store.objects[name]?[count - 1] ^= 1
            }
        }
    }

    private static func prepare(
        _ store: MemoryStore,
        seed: UInt64,
        partByteLimit: Int = Format.partByteLimit
    ) throws -> (lab: Lab, images: [SnapshotID: [UInt8]]) {
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.partByteLimit = partByteLimit
        lab.workerCount = 1
        var model = ImageModel(byteCount: 120_000, seed: seed)
        var images: [SnapshotID: [UInt8]] = [:]
        for _ in 0..<7 {
            for _ in 0..<3 { model.change() }
            try lab.capture(model.bytes)
            let tip = try lab.timeline().tip
            images[try #require(tip).id] = model.bytes
        }
        return (lab, images)
    }

    private static func deltas(_ store: MemoryStore) -> [String] {
        store.objects.keys.filter { $0.hasPrefix("volumes/") && !$0.contains("newest") }.sorted()
    }

    private static func expectAll(
        _ lab: Lab,
        _ images: [SnapshotID: [UInt8]],
        _ comment: Comment
    ) throws {
        let timeline = try lab.timeline()
        #expect(timeline.isSound, comment)
        #expect(Set(timeline.snapshots.map(\.id)) == Set(images.keys), comment)
        for snapshot in timeline.snapshots {
            #expect(try lab.restore(snapshot) == images[snapshot.id], comment)
        }
    }

    @Test(
        "A lost delta is written again from the index, whichever it is",
        arguments: Harm.allCases, [500, Format.partByteLimit])
    func index(harm: Harm, partByteLimit: Int) throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 1, partByteLimit: partByteLimit)
        let sound = store.objects
        // The index knows the heads of what was listed before.
        _ = try lab.repository.timelines(cache: try lab.index())
        for name in Self.deltas(store) {
            store.objects = sound
            harm.apply(to: name, in: store)
            lab.seed += 1
            #expect(try lab.check().harmCount > 0)
            let (mended, left) = try lab.repairPaths()
            #expect(mended.map(\.origin).contains(.index), "\(harm) \(name)")
            #expect(left.damaged == [], "\(harm) \(name)")
            #expect(try lab.check().findings == [], "\(harm) \(name)")
            lab.deleteIndex()
            try Self.expectAll(lab, images, "\(harm) \(name)")
            // The next round needs an index that knows all of it.
            store.objects = sound
            _ = try lab.restoreAll()
            _ = try lab.repository.timelines(cache: try lab.index())
        }
    }

    @Test("What was captured after a loss does not take from the index what it knew of it")
    func captureAfterLoss() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 2)
        _ = try lab.repository.timelines(cache: try lab.index())
        let name = try #require(Self.deltas(store).dropFirst(4).first)
        store.objects[name] = nil
        var all = images
        var image = try #require(images[try lab.timeline().snapshots[0].id])
        image[5000] ^= 1
        try lab.capture(image)
        let tip = try #require(lab.timeline().tip)
        #expect(tip.generation == 8)
        all[tip.id] = image
        let (mended, left) = try lab.repairPaths()
        #expect(mended.map(\.generation) == [5])
        #expect(left.isSound)
        lab.deleteIndex()
        try Self.expectAll(lab, all, "")
        #expect(try lab.check().findings == [])
    }

    @Test("What nothing knows any more is given up by word, and its numbers are not used again")
    func givenUp() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 3)
        let facts = try lab.timeline().snapshots
        store.objects[Self.deltas(store)[2]] = nil
        // No head was ever remembered: the index was built from the maps alone.
        lab.deleteIndex()
        let other = MemoryStore()
        other.objects = store.objects
        let (mended, left) = try lab.repairPaths()
        #expect(mended == [])
        #expect(left.damaged.map(\.generation) == [3, 4, 5, 6, 7])
        #expect(try lab.check().harmCount > 0)
        try lab.repairPaths(givesUp: true)
        let timeline = try lab.timeline()
        #expect(timeline.isSound)
        #expect(timeline.snapshots.map(\.generation) == [1, 2])
        #expect(timeline.highestGeneration == 7)
        // Everything goes on, with a number that was never used.
        let image = try #require(images[facts[1].id])
        try lab.capture(image)
        #expect(try lab.timeline().snapshots.map(\.generation) == [1, 2, 8])
        #expect(try lab.timeline().isSound)
        #expect(try lab.timeline().markerNames.count == 1)
        try lab.forget([facts[0].id], isThorough: true)
        try lab.prune()
        #expect(try lab.check().findings == [])
        #expect(try lab.restoreAll() == [image, image])
    }

    @Test("A lost delta is taken from another repository, with the blocks that are gone too")
    func otherRepository() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 4, partByteLimit: 500)
        let otherStore = MemoryStore()
        var generator = SeededGenerator(seed: 78)
        let size = try #require(BlockSize(byteCount: 4096))
        _ = try Repository(
            creatingIn: otherStore, blockSize: size, created: Timestamp(seconds: 1),
            generator: &generator)
        let other = try Lab(otherStore)
        try lab.copy(try lab.timeline().snapshots, to: other)
        let sound = store.objects
        for name in Self.deltas(store) {
            store.objects = sound
            Harm.cut.apply(to: name, in: store)
            lab.deleteIndex()
            lab.seed += 1
            let (mended, left) = try lab.repairPaths(from: other)
            #expect(mended.map(\.origin) == [.otherRepository], "\(name)")
            #expect(left.isSound, "\(name)")
            try Self.expectAll(lab, images, "\(name)")
            #expect(try lab.check().findings == [], "\(name)")
        }
        // All of it: the base, and all packs.
        store.objects = sound.filter { !$0.key.hasPrefix("packs/") }
        store.objects[Self.deltas(store)[0]] = nil
        lab.deleteIndex()
        lab.seed += 1
        let (lost, found) = try lab.repair(from: other)
        #expect(try lab.timeline().isSound)
        #expect(lost > 0 && found == lost)
        try Self.expectAll(lab, images, "all")
    }

    @Test("What an index has wrong is not mended by it; what is behind that is passed on to")
    func wrongIndex() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 5)
        _ = try lab.repository.timelines(cache: try lab.index())
        // Another history with the same heads: the facts are right, the pages are not.
        let sound = store.objects
        let name = try #require(Self.deltas(store).dropFirst(3).first)
        store.objects[name] = nil
        let lost = try #require(lab.timeline().damaged.first { $0.generation == 4 })
        lab.closeIndex()
        #expect(try Self.forgetHistory(of: 4, in: lab.indexDirectory) > 0)
        let (mended, left) = try lab.repairPaths()
        #expect(mended.map(\.origin) == [.index])
        #expect(left.damaged.map(\.id) == [lost.id])
        #expect(try lab.timeline().damaged.map(\.id) == [lost.id])
        for snapshot in try lab.timeline().snapshots {
            #expect(try lab.restore(snapshot) == images[snapshot.id])
        }
        try lab.repairPaths(givesUp: true)
        #expect(try lab.timeline().isSound)
        #expect(try lab.timeline().snapshots.map(\.generation) == [1, 2, 3, 5, 6, 7])
        #expect(try lab.check().findings == [])
        store.objects = sound
        lab.deleteIndex()
        try Self.expectAll(lab, images, "")
    }

    /// Removes from an index what changed in a generation; gives how many pages.
    private static func forgetHistory(of generation: UInt64, in directory: String) throws -> Int {
        let environment = try Environment(path: directory + "/index.mdb", tableLimit: 17)
        return try environment.write { transaction in
            let history = try transaction.table("history")
            let rows = try transaction.withCursor(over: history) { cursor in
                var rows: [(line: UInt32, page: UInt32, generation: UInt64)] = []
                func row(_ key: RawSpan) -> (UInt32, UInt32, UInt64) {
                    (
                        key.littleEndian(at: 0, as: UInt32.self).byteSwapped,
                        key.littleEndian(at: 4, as: UInt32.self).byteSwapped,
                        key.littleEndian(at: 8, as: UInt64.self).byteSwapped
                    )
                }
                var next = try cursor.first { key, _ in row(key) }
                while let found = next {
                    if found.2 == generation { rows.append(found) }
                    next = try cursor.next { key, _ in row(key) }
                }
                return rows
            }
            for row in rows {
                try transaction.remove(
                    Key().appending(row.line).appending(row.page).appending(row.generation),
                    from: history)
            }
            return rows.count
        }
    }

    @Test(
        "What a repair left unproved when it was stopped takes no delta's place",
        arguments: [false, true])
    func unproved(knowsNothing: Bool) throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 9)
        _ = try lab.repository.timelines(cache: try lab.index())
        let snapshots = try lab.timeline().snapshots
        let writer = DeltaWriter(
            repository: lab.repository, identifiers: SeededIdentifiers(seed: 4242))
        try writer.append(.zero, firstBlock: 0, blockCount: 3)
        try writer.finishMap()
        let head = DeltaHead(
            from: snapshots[2].id, fromGeneration: 3,
            fromByteCount: snapshots[2].facts.byteCount, toGeneration: 4,
            facts: snapshots[3].facts)
        let id = SeededIdentifiers(seed: 4243).next()
        Harm.cut.apply(to: Self.deltas(store)[3], in: store)
        _ = try writer.commit(DeltaName(volume: lab.volume, from: 3, to: 4, id: id), head: head)
        if knowsNothing { lab.deleteIndex() }
        let (mended, _) = try lab.repairPaths(givesUp: knowsNothing)
        #expect(mended.map(\.generation) == (knowsNothing ? [] : [4]))
        lab.deleteIndex()
        if knowsNothing {
            let timeline = try lab.timeline()
            #expect(timeline.isSound && timeline.snapshots.map(\.generation) == [1, 2, 3])
        } else {
            try Self.expectAll(lab, images, "")
        }
        #expect(try lab.check().findings == [])
    }

    @Test("What could not be proved for now is not deleted for it", arguments: [true, false])
    func transient(isDamage: Bool) throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 10)
        _ = try lab.repository.timelines(cache: try lab.index())
        store.objects[Self.deltas(store)[3]] = nil
        let before = Set(Self.deltas(store))
        store.onCreate = { name in
            guard name.contains("-000000000004.") else { return }
            store.failReads(of: "volumes/", isDamage ? .failed("input/output error") : .timedOut)
        }
        do {
            try lab.repairPaths()
            #expect(isDamage)
        } catch let error as ObjectStoreError {
            #expect(!isDamage && error.reason == .timedOut)
        }
        store.failReads(of: nil, .timedOut)
        store.onCreate = nil
        #expect(!Set(Self.deltas(store)).subtracting(before).isEmpty)
        #expect(store.objects.keys.contains { $0.contains("-000000000004.") })
        lab.seed += 1
        try lab.repairPaths()
        lab.deleteIndex()
        try Self.expectAll(lab, images, "")
        #expect(try lab.check().findings == [])
    }

    @Test("Markers that are lost or damaged are written again")
    func markers() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 6)
        let sound = store.objects
        let name = try #require(store.objects.keys.first { $0.contains("newest") })
        for harm in Harm.allCases where harm != .flipHead {
            store.objects = sound
            harm.apply(to: name, in: store)
            lab.seed += 1
            #expect(!(try lab.timeline().isSound))
            let (_, left) = try lab.repairPaths()
            #expect(left.isSound, "\(harm)")
            #expect(store.objects == sound, "\(harm)")
            try Self.expectAll(lab, images, "\(harm)")
        }
    }

    @Test(
        "After a stop at any step nothing is worse, and the next repair ends it",
        arguments: [false, true])
    func stop(givesUp: Bool) throws {
        let store = MemoryStore()
        let (lab, images) = try Self.prepare(store, seed: 7, partByteLimit: 500)
        _ = try lab.repository.timelines(cache: try lab.index())
        let names = Self.deltas(store)
        Harm.cut.apply(to: names[2], in: store)
        Harm.delete.apply(to: names[4], in: store)
        if givesUp { lab.deleteIndex() }
        let damaged = store.objects
        let reachable = try lab.timeline().snapshots
        let start = store.stepCount
        try lab.repairPaths(givesUp: givesUp)
        let count = store.stepCount - start
        #expect(count > 4)
        for step in 0..<count {
            for outcome in CrashEffect.allCases {
                store.objects = damaged
                lab.seed += 1
                store.crash(afterSteps: step, outcome)
                _ = try? lab.repairPaths(givesUp: givesUp)
                #expect(store.hasCrashed)
                store.restart()
                lab.closeIndex()
                lab.seed += 1
                for snapshot in reachable {
                    #expect(try lab.restore(snapshot) == images[snapshot.id], "step \(step)")
                }
                lab.seed += 1
                try lab.repairPaths(givesUp: givesUp)
                let timeline = try lab.timeline()
                #expect(timeline.isSound, "step \(step)")
                #expect(timeline.highestGeneration == 7, "step \(step)")
                if givesUp {
                    #expect(timeline.snapshots == reachable, "step \(step)")
                } else {
                    try Self.expectAll(lab, images, "step \(step)")
                }
            }
        }
    }
}
