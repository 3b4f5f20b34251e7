import BlockModel
import Glibc
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// A delta that does not give its snapshot's image digest costs nothing while another path does.
@Suite struct FalseDeltaTests {
    /// What somebody who can only create objects says of a volume.
    enum Lie: CaseIterable, Sendable {
        /// That nothing changed between two snapshots.
        case nothingChanged
        /// That other blocks changed, to what is there.
        case otherMap
        /// That a snapshot is all zeros, and needs no other.
        case base
        /// That nothing changed over several generations.
        case shortCut
        /// That the earlier snapshot had another size.
        case startSize
        /// That the map names more blocks than it does.
        case counts
        /// All of that, several times, of every snapshot.
        case everything
    }

    private static func makeRepository(
        _ store: MemoryStore,
        seed: UInt64
    ) throws -> (lab: Lab, images: [[UInt8]]) {
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.workerCount = 1
        lab.partByteLimit = seed % 2 == 0 ? 600 : Format.partByteLimit
        var model = ImageModel(byteCount: 200_000, seed: seed)
        var images: [[UInt8]] = []
        for _ in 0..<7 {
            for _ in 0..<4 { model.change() }
            images.append(model.bytes)
            try lab.capture(model.bytes)
        }
        return (lab, images)
    }

    private static func forge(
        _ lie: Lie,
        _ timeline: Timeline,
        _ forger: Forger,
        _ repository: Repository
    ) throws -> [DeltaName] {
        let tip = try #require(timeline.tip)
        let path = try #require(timeline.finestPath(to: tip.id))
        func empty(_ delta: KnownDelta) -> DeltaHead {
            var head = delta.head
            head.parts = []
            (head.dataBlockCount, head.zeroBlockCount, head.freeBlockCount) = (0, 0, 0)
            return head
        }
        func map(of delta: KnownDelta) throws -> DeltaMap {
            var whole = DeltaMap()
            try repository.forEachMap(of: delta.name) { map, _ in
                var position = 0
                for run in map.runs {
                    guard run.kind == .data else {
                        whole.append(
                            run.kind, firstBlock: run.firstBlock, blockCount: run.blockCount)
                        continue
                    }
                    for block in run.firstBlock..<run.endBlock {
                        whole.append(dataBlock: block, digest: map.digests[position])
                        position += 1
                    }
                }
            }
            return whole
        }
        var names: [DeltaName] = []
        for (position, delta) in path.enumerated() {
            let volume = delta.name.volume
            let (from, to) = (delta.name.from, delta.name.to)
            if position > 0, lie == .nothingChanged || lie == .everything {
                names.append(
                    try forger.storeDelta(volume, from: from, to: to, head: empty(delta)))
            }
            if position > 0, lie == .otherMap || lie == .everything {
                var head = empty(delta)
                head.dataBlockCount = 1
                var map = DeltaMap()
                map.append(
                    dataBlock: 0, digest: Digest(words: UInt64(position), 1, 2, 3))
                names.append(
                    try forger.storeDelta(volume, from: from, to: to, head: head, map: map))
            }
            if lie == .base || lie == .everything {
                var head = empty(delta)
                (head.from, head.fromGeneration, head.fromByteCount) = (.nothing, 0, 0)
                names.append(try forger.storeDelta(volume, from: 0, to: to, head: head))
            }
            if position > 2, lie == .shortCut || lie == .everything {
                var head = empty(delta)
                let start = path[position - 3]
                head.from = start.head.to
                head.fromGeneration = start.name.to
                head.fromByteCount = start.head.toByteCount
                names.append(
                    try forger.storeDelta(volume, from: start.name.to, to: to, head: head))
            }
            if position > 0, lie == .startSize || lie == .everything {
                var head = delta.head
                head.parts = []
                head.fromByteCount += 4096
                names.append(
                    try forger.storeDelta(
                        volume, from: from, to: to, head: head, map: try map(of: delta)))
            }
            if position > 0, lie == .counts || lie == .everything {
                var head = delta.head
                head.parts = []
                head.dataBlockCount = UInt64.max
                names.append(
                    try forger.storeDelta(
                        volume, from: from, to: to, head: head, map: try map(of: delta)))
            }
        }
        return names
    }

    private static func expectWhole(
        _ store: MemoryStore,
        _ kept: [[UInt8]],
        _ note: Comment
    ) throws {
        let fresh = try Lab(store)
        fresh.workerCount = 1
        #expect(try fresh.restoreAll() == kept, note)
        // One at a time, each with an index that knows nothing.
        for (position, snapshot) in try fresh.timeline().snapshots.enumerated() {
            fresh.deleteIndex()
            #expect(try fresh.restore(snapshot) == kept[position], note)
        }
        #expect(try fresh.check().findings.filter { !$0.isHarmless } == [], note)
    }

    @Test(
        "False deltas cost no snapshot, whatever the owner does, and are deleted by forgetting",
        arguments: Lie.allCases, 0..<4 as Range<UInt64>)
    func lies(lie: Lie, seed: UInt64) throws {
        let store = MemoryStore()
        let (lab, images) = try Self.makeRepository(store, seed: seed)
        let forger = Forger(lab.repository, seed: seed)
        let names = try Self.forge(lie, try lab.timeline(), forger, lab.repository)
        #expect(!names.isEmpty)
        let note: Comment = "\(lie) \(seed)"
        if seed > 1 { lab.deleteIndex() }
        try Self.expectWhole(store, images, note)
        let report = try lab.check()
        for name in names {
            #expect(report.findings.contains { $0.subject == name.objectName }, note)
        }
        try lab.prune(.everything)
        try Self.expectWhole(store, images, note)
        let shown = try lab.timeline().snapshots
        try lab.forget([1, 2, 4].map { shown[$0].id }, isThorough: true)
        let kept = [0, 3, 5, 6].map { images[$0] }
        for name in names { #expect(store.objects[name.objectName] == nil, note) }
        try Self.expectWhole(store, kept, note)
        try lab.prune(.everything)
        try Self.expectWhole(store, kept, note)
        // The next hour goes on from there, with lies about what is left.
        _ = try Self.forge(
            lie, try lab.timeline(), Forger(lab.repository, seed: seed + 9), lab.repository)
        var image = images[6]
        image[5000] ^= 1
        try lab.capture(image)
        try Self.expectWhole(store, kept + [image], note)
        try lab.forget([], isThorough: true)
        try lab.prune(.everything)
        try Self.expectWhole(store, kept + [image], note)
        #expect(try lab.check().findings == [], note)
    }

    @Test("A size that is claimed takes no memory")
    func claimedSize() async {
        await #expect(processExitsWith: .success) {
            let store = MemoryStore()
            let lab = try Lab(store)
            lab.workerCount = 1
            for number in 1...4 {
                try lab.capture([UInt8](repeating: UInt8(number), count: 90_000))
            }
            let tip = try #require(try lab.timeline().tip)
            let forger = Forger(lab.repository, seed: 1)
            for parent in [tip.id, .nothing] {
                var facts = tip.facts
                facts.byteCount = 1 << 50
                facts.parent = parent
                facts.parentGeneration = parent == .nothing ? 0 : 4
                let head = DeltaHead(
                    from: parent, fromGeneration: facts.parentGeneration,
                    fromByteCount: parent == .nothing ? 0 : tip.facts.byteCount, toGeneration: 5,
                    facts: facts)
                try forger.storeDelta(
                    lab.volume, from: head.fromGeneration, to: 5, head: head)
            }
            // Of private memory that is written, which the file of an index is not.
            var limit = rlimit(rlim_cur: 700 << 20, rlim_max: 700 << 20)
            setrlimit(__rlimit_resource_t(2), &limit)
            let harmCount = try lab.check().harmCount
            precondition(harmCount == 0)
            try lab.forget([try lab.timeline().snapshots[1].id], isThorough: true)
            try lab.prune(.everything)
            let left = try lab.timeline().snapshots
            precondition(left.count == 5)
        }
    }

    @Test("An hourly forget reads what it merges, and not the maps of the volume")
    func reads() throws {
        let store = MemoryStore()
        let lab = try Lab(store)
        lab.workerCount = 1
        lab.partByteLimit = 20_000
        var generator = SeededGenerator(seed: 3)
        var image = generator.bytes(3000 * 4096)
        try lab.capture(image)
        for hour in 0..<8 {
            image[hour * 40_000] ^= 1
            try lab.capture(image)
        }
        let base = try #require(try lab.timeline().deltas.first)
        let parts = base.head.parts.map { ObjectNames.part($0.id) }
        #expect(parts.count > 3)
        func partReads() -> Int { parts.reduce(0) { $0 + (store.readByteCounts[$1] ?? 0) } }
        for victim in 1..<4 {
            let before = partReads()
            let shown = try lab.timeline().snapshots
            let summary = try lab.forget([shown[victim].id], isThorough: true)
            #expect(summary.mergedCount == 1)
            #expect(partReads() == before)
            image[victim * 50_000] ^= 1
            try lab.capture(image)
        }
        #expect(try lab.check().findings == [])
        // An index that knows nothing reads each once, and remembers what it proved.
        lab.deleteIndex()
        try lab.forget([try lab.timeline().snapshots[2].id], isThorough: true)
        let after = partReads()
        try lab.forget([try lab.timeline().snapshots[2].id], isThorough: true)
        #expect(partReads() == after)
    }
}
