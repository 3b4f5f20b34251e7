import BlockModel
import Maintenance
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryIndex
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// A store that refuses every deletion to its clients; the owner's maintenance follows.
@Suite struct AppendOnlyTests {
    private static func makeLab(_ store: MemoryStore) throws -> Lab {
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.partByteLimit = 500
        lab.workerCount = 1
        return lab
    }

    private static func markerCount(_ store: MemoryStore) -> Int {
        store.objects.keys.count { $0.contains("/newest.") }
    }

    @Test("Every backup ends well, with its index as new, and the owner clears up later")
    func backups() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        store.refusesDeletions = true
        // Of a prune that died.
        store.objects["pruning/00000000000000000000000000000001"] = [1]
        var model = ImageModel(byteCount: 60_000, seed: 71)
        var images: [[UInt8]] = []
        for _ in 0..<12 {
            model.change()
            try lab.capture(model.bytes)
            images.append(model.bytes)
            let timeline = try lab.timeline()
            #expect(timeline.isSound)
            let tip = try #require(timeline.tip)
            // Nothing is left to be brought forward.
            let memory = try lab.index().branchMemory(of: timeline)
            #expect(memory.ownsSnapshot(tip.id))
        }
        #expect(Self.markerCount(store) == 13)
        // The ones that tell of nothing are not read.
        let counting = store.objects.filter { $0.key.contains("/newest.") }
        for name in counting.keys where !name.contains("newest.000000000012") {
            store.objects[name] = [0]
        }
        #expect(try lab.timeline().isSound)
        #expect(try lab.check().findings == [])

        // Whoever may not delete can forget; nothing is written for what cannot be deleted.
        let victims = Array(try lab.timeline().snapshots.prefix(6).map(\.id))
        let before = store.objects.keys.count { $0.hasPrefix("volumes/") }
        let summary = try lab.forget(victims, isThorough: true)
        #expect(summary.isRefused)
        #expect(summary.waitingCount == 6)
        #expect(store.objects.keys.count { $0.hasPrefix("volumes/") } == before)
        #expect(throws: RepositoryError.self) { try lab.prune() }
        model.change()
        try lab.capture(model.bytes)
        images.append(model.bytes)

        store.refusesDeletions = false
        try lab.forget([], isThorough: true)
        #expect(Self.markerCount(store) == 1)
        var options = PruneOptions()
        options.maxUnused = .bytes(0)
        try lab.prune(options)
        #expect(lab.graceCount == 0)
        #expect(!store.objects.keys.contains { $0.hasPrefix("locks/") || $0.hasPrefix("pruning/") })
        #expect(try lab.check().findings == [])
        lab.deleteIndex()
        #expect(try lab.restoreAll() == Array(images[6...]))
    }

    @Test("A copy to such a store ends well, and leaves alone what was forgotten there")
    func copy() throws {
        let lab = try Self.makeLab(MemoryStore())
        let store = MemoryStore()
        var generator = SeededGenerator(seed: 99)
        _ = try Repository(
            creatingIn: store, blockSize: lab.repository.blockSize,
            created: Timestamp(seconds: 1), generator: &generator)
        let other = try Self.makeLab(store)
        other.seed = 1
        var model = ImageModel(byteCount: 60_000, seed: 72)
        for _ in 0..<3 {
            model.change()
            try lab.capture(model.bytes)
        }
        store.refusesDeletions = true
        let snapshots = try lab.timeline().snapshots
        #expect(try lab.copy(snapshots, to: other).copiedCount == 3)
        #expect(try other.timeline().snapshots == snapshots)
        try other.forget([snapshots[0].id])
        #expect(try lab.copy(snapshots, to: other).copiedCount == 0)
        #expect(try other.timeline().snapshots == Array(snapshots[1...]))
        #expect(try other.check().findings == [])
    }

    @Test("Words that were said again count, though the older ones stay")
    func notes() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        try lab.capture([UInt8](repeating: 1, count: 9000))
        try lab.capture([UInt8](repeating: 2, count: 9000))
        store.refusesDeletions = true
        let first = try lab.timeline().snapshots[0].id
        let identifiers = SeededIdentifiers(seed: 8)
        for number in 0..<4 {
            try lab.repository.setTags(
                ["t\(number)"], on: first, of: lab.volume, time: lab.time, identifiers: identifiers)
            try lab.repository.setProtected(
                number % 2 == 0, on: first, of: lab.volume, time: lab.time,
                identifiers: identifiers)
            let standing = try #require(try lab.repository.standings(of: lab.volume)[first])
            #expect(standing.tags == ["t\(number)"])
            #expect(standing.isProtected == (number % 2 == 0))
        }
    }

    @Test("That blocks are missing is taken back, though the note that says so stays")
    func lacks() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        try lab.capture([UInt8](repeating: 1, count: 9000))
        let timeline = try lab.timeline()
        let first = timeline.snapshots[0].id
        let identifiers = SeededIdentifiers(seed: 8)
        func lacking() throws -> UInt64? {
            try lab.repository.standings(of: lab.volume)[first]?.lackingBlockCount
        }
        func note(_ lacks: [SnapshotID: UInt64]) throws {
            try lab.repository.noteLacks(
                lacks, in: timeline, time: lab.time, identifiers: identifiers)
        }
        store.refusesDeletions = true
        try note([first: 3])
        #expect(try lacking() == 3)
        try note([:])
        #expect(try lacking() == nil)
        try note([first: 4])
        #expect(try lacking() == 4)
        let count = try lab.repository.takeBackLacks(
            besides: [:], in: timeline, time: lab.time, identifiers: identifiers)
        #expect(count == 1)
        #expect(try lacking() == nil)
        let objects = store.objects
        try note([:])
        #expect(store.objects == objects)
        #expect(try lab.check().findings == [])
    }

    @Test("Where clearing up after a merge is refused, the reason why it failed is told")
    func merge() throws {
        struct Reason: Error {}
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        for number in 1...4 {
            try lab.capture([UInt8](repeating: UInt8(number), count: 9000))
        }
        let timeline = try lab.timeline()
        let identifiers = SeededIdentifiers(seed: 8)
        try lab.repository.hide(
            [timeline.snapshots[1].id], of: timeline, time: lab.time, identifiers: identifiers,
            judge: { $0 })
        let before = store.objects
        #expect(throws: Reason.self) {
            try lab.repository.removeHidden(
                of: lab.volume, isThorough: true, identifiers: identifiers, now: lab.time,
                judge: { $0 },
                prove: { _, _ in
                    store.refusesDeletions = true
                    throw Reason()
                }, willDelete: { _ in })
        }
        for (name, bytes) in before { #expect(store.objects[name] == bytes) }
        store.refusesDeletions = false
        try lab.forget([], isThorough: true)
        #expect(try lab.timeline().snapshots.map(\.generation) == [1, 3, 4])
        #expect(try lab.check().findings == [])
    }

    @Test(
        "A repair needs no deletion, and commits beside the list of a prune that died",
        arguments: [true, false])
    func repair(fromIndex: Bool) throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var model = ImageModel(byteCount: 60_000, seed: 73)
        var images: [[UInt8]] = []
        for _ in 0..<5 {
            model.change()
            try lab.capture(model.bytes)
            images.append(model.bytes)
        }
        let otherStore = MemoryStore()
        var generator = SeededGenerator(seed: 99)
        _ = try Repository(
            creatingIn: otherStore, blockSize: lab.repository.blockSize,
            created: Timestamp(seconds: 1), generator: &generator)
        let other = try Self.makeLab(otherStore)
        try lab.copy(try lab.timeline().snapshots, to: other)
        let name = try #require(store.objects.keys.first { $0.contains("-000000000003.") })
        store.objects[name]?.removeLast(9)
        store.objects["pruning/00000000000000000000000000000001"] = [1]
        store.refusesDeletions = true
        if !fromIndex { lab.deleteIndex() }
        let (mended, left) = try lab.repairPaths(from: fromIndex ? nil : other)
        #expect(mended.map(\.generation) == [3])
        #expect(left.damaged == [])
        #expect(store.objects[name] != nil)
        lab.deleteIndex()
        #expect(try lab.restoreAll() == images)
        store.refusesDeletions = false
        try lab.repairPaths()
        #expect(store.objects[name] == nil)
        #expect(try lab.check().findings == [])
    }

    @Test("Of a protection and a forgetting at the same time the protection counts, in any order")
    func protection() throws {
        for isProtectedFirst in [true, false] {
            let store = MemoryStore()
            let lab = try Self.makeLab(store)
            for number in 1...3 { try lab.capture([UInt8](repeating: UInt8(number), count: 9000)) }
            let timeline = try lab.timeline()
            let first = timeline.snapshots[0].id
            let identifiers = SeededIdentifiers(seed: 9)
            let name = ObjectNames.note(
                on: first, of: lab.volume, number: isProtectedFirst ? 9 : 1,
                id: identifiers.next())
            let note = Note(kind: .forgotten, time: lab.time, texts: [])
            try store.create(name, note.encoded(name: name, identity: lab.repository.identity))
            #expect(try lab.timeline().snapshots.map(\.generation) == [2, 3])
            let forgotten = store.objects[name]
            if isProtectedFirst { store.objects[name] = nil }
            try lab.repository.setProtected(
                true, on: first, of: lab.volume, time: lab.time, identifiers: identifiers)
            store.objects[name] = forgotten
            #expect(
                try lab.repository.standings(of: lab.volume)[first]?.isForgotten == false)
            #expect(try lab.timeline().snapshots.map(\.generation) == [1, 2, 3])
            // Under the hold it is refused by name, and left out by a policy.
            let error = #expect(throws: RepositoryError.self) {
                try lab.repository.hide(
                    [first], of: timeline, time: lab.time, identifiers: identifiers,
                    judge: { $0 })
            }
            #expect(error?.description == "disk@1 is protected; 'varve unprotect disk@1' allows it")
            #expect(
                try lab.repository.hide(
                    [first, timeline.snapshots[1].id], of: timeline, passesProtected: true,
                    time: lab.time, identifiers: identifiers, judge: { $0 })
                    == [timeline.snapshots[1].id])
        }
    }
}
