import BlockModel
import RepositoryFormat
import RepositoryModel
import Testing

@testable import Maintenance
@testable import Repository
@testable import RepositoryIndex

/// Which snapshots fit in, by the clock and by branches.
struct SnapshotOrderTests {
    private static let start: Int64 = 1_700_000_000

    private static func facts(_ letter: String, hour: Int64, parent: SnapshotID) -> SnapshotFacts {
        var facts = Chain.facts(letter)
        facts.time = Timestamp(
            seconds: SaturatingMath.sum(start, SaturatingMath.product(hour, 3600)))
        facts.parent = parent
        return facts
    }

    /// Snapshots, each a letter, its hour, the letter below it and its number.
    private static func timeline(
        _ snapshots: [(String, Int64, String?, Generation)],
        stored: [String: Int64] = [:]
    ) -> (Timeline, [String: SnapshotID]) {
        var known: [String: (SnapshotFacts, Generation)] = [:]
        var deltas: [KnownDelta] = []
        for (letter, hour, below, generation) in snapshots {
            let from = below.flatMap { known[$0] }
            let facts = facts(letter, hour: hour, parent: from?.0.snapshotID ?? .nothing)
            let head = DeltaHead(
                from: from?.0.snapshotID ?? .nothing, fromGeneration: from?.1 ?? 0,
                fromByteCount: from?.0.byteCount ?? 0, toGeneration: generation, facts: facts)
            let id = ObjectID(high: 3, low: UInt64(letter.utf8.first ?? 0))
            deltas.append(
                KnownDelta(
                    name: DeltaName(
                        volume: Chain.volume, from: from?.1 ?? 0, to: generation, id: id),
                    head: head))
            known[letter] = (facts, generation)
        }
        let ids = known.mapValues(\.0.snapshotID)
        let seconds = stored.map { (ids[$0.key] ?? .nothing, start + $0.value * 3600) }
        return (
            Timeline(
                volume: Chain.volume, deltas: deltas, unreadable: [], markers: [],
                unreadableMarkers: [],
                storedSeconds: Dictionary(seconds, uniquingKeysWith: { $1 })), ids
        )
    }

    private static func order(
        _ timeline: Timeline,
        _ memory: BranchMemory = BranchMemory()
    ) -> SnapshotOrder {
        SnapshotOrder(timeline, memory: memory, now: Timestamp(seconds: start + 1_000_000))
    }

    @Test("One wrong clock makes one snapshot out of time, and not those that come after it")
    func wrongClock() {
        for hour in [Int64.min, -400_000, 1, 7000, .max] {
            let (timeline, ids) = Self.timeline(
                [
                    ("a", 1, nil, 1), ("b", 2, "a", 2), ("c", hour, "b", 3), ("d", 4, "c", 4),
                    ("e", 5, "d", 5),
                ], stored: ["a": 1, "b": 2, "c": 3, "d": 4, "e": 5])
            #expect(Set(Self.order(timeline).outOfTime.keys) == [ids["c"]], "\(hour)")
            #expect(Self.order(timeline).beside == [])
            #expect(Self.order(timeline).witnesses == [ids["b"]])
        }
    }

    @Test("A quarter of an hour between two clocks is none")
    func tolerance() {
        for (minutes, fits) in [(0, true), (15, true), (16, false)] as [(Int64, Bool)] {
            let facts = Self.facts("a", hour: 0, parent: .nothing)
            let head = DeltaHead(
                from: .nothing, fromGeneration: 0, fromByteCount: 0, toGeneration: 1, facts: facts)
            let delta = KnownDelta(
                name: DeltaName(volume: Chain.volume, from: 0, to: 1, id: .zero), head: head)
            let timeline = Timeline(
                volume: Chain.volume, deltas: [delta], unreadable: [], markers: [],
                unreadableMarkers: [],
                storedSeconds: [facts.snapshotID: Self.start - minutes * 60])
            #expect(Self.order(timeline).outOfTime.isEmpty == fits)
        }
    }

    @Test("Of a fork the branch counts that is remembered, then the one that was stored first")
    func forks() {
        let (timeline, ids) = Self.timeline(
            [
                ("a", 1, nil, 1), ("b", 2, "a", 2), ("c", 3, "b", 3), ("x", 2, "a", 2),
                ("y", 3, "x", 3), ("z", 4, "y", 4),
            ], stored: ["a": 1, "b": 3, "c": 3, "x": 2, "y": 2, "z": 2])
        #expect(Self.order(timeline).beside == Set([ids["b"], ids["c"]].compactMap(\.self)))
        var memory = BranchMemory()
        memory.firstHistories = Dictionary(
            ["a", "b", "c"].compactMap { ids[$0] }.map { ($0, 4) }, uniquingKeysWith: { $1 })
        for letter in ["x", "y"] { if let id = ids[letter] { memory.firstHistories[id] = 5 } }
        #expect(Self.order(timeline, memory).beside == Set(["x", "y", "z"].compactMap { ids[$0] }))
    }

    @Test("What slipped in below what this machine has seen is beside its branch")
    func slippedIn() {
        let (timeline, ids) = Self.timeline([
            ("a", 1, nil, 1), ("x", 2, "a", 2), ("c", 3, "x", 3), ("d", 4, "c", 4),
        ])
        var memory = BranchMemory()
        memory.ownSnapshots = Set(["a", "c"].compactMap { ids[$0] })
        memory.ownGeneration = 3
        #expect(Self.order(timeline, memory).beside == Set([ids["x"]].compactMap(\.self)))
        #expect(Self.order(timeline).beside == [])
    }

    @Test("A moment is looked for among all times, and it is said when numbers disagree")
    func moments() {
        let (timeline, _) = Self.timeline([
            ("a", 1, nil, 1), ("b", 2, "a", 2), ("c", 3, "b", 3), ("d", -400_000, "c", 4),
            ("e", 5, "d", 5),
        ])
        func at(_ hour: Int64) -> [UInt64] {
            let found = timeline.last(
                atOrBefore: Timestamp(seconds: Self.start + hour * 3600))
            return found.map { [$0.snapshot.generation, $0.isDisputed ? 1 : 0] } ?? []
        }
        #expect([1, 2, 3, 4].map(at) == [[1, 1], [2, 1], [3, 1], [3, 1]])
        #expect(at(5) == [5, 0])
        #expect(at(-1) == [4, 1])
        #expect(at(-400_001) == [])
    }
}
