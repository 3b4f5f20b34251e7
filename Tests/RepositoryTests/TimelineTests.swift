import BlockModel
import Glibc
import RepositoryFormat
import RepositoryModel
import TestKit
import Testing

@testable import Maintenance
@testable import Repository
@testable import RepositoryIndex

struct TimelineTests {
    @Test("A volume without anything is empty and sound")
    func empty() {
        let timeline = Chain.timeline([], nil)
        #expect(timeline.snapshots == [])
        #expect(timeline.damaged == [])
        #expect(timeline.tip == nil)
        #expect(timeline.highestGeneration == 0)
        #expect(timeline.isSound)
        let prepared = Chain.timeline([], Chain.marker("", 0))
        #expect(prepared.isSound)
        #expect(prepared.highestGeneration == 0)
    }

    @Test("A chain of deltas gives a snapshot each, in whatever order they were listed")
    func linear() {
        let deltas = Chain.linear(4)
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let timeline = Chain.timeline(order.map { deltas[$0] }, Chain.marker("d", 4))
            #expect(
                timeline.snapshots == [
                    Chain.snapshot("a", 1), Chain.snapshot("b", 2), Chain.snapshot("c", 3),
                    Chain.snapshot("d", 4),
                ])
            #expect(timeline.deltas == deltas)
            #expect(timeline.tip == Chain.snapshot("d", 4))
            #expect(timeline.highestGeneration == 4)
            #expect(timeline.isSound)
            #expect(timeline.finestPath(to: Chain.id("c")) == Array(deltas[..<3]))
            #expect(timeline.cheapestPath(to: Chain.id("c")) == Array(deltas[..<3]))
            #expect(timeline.finestPath(to: .nothing) == [])
            #expect(timeline.finestPath(to: Chain.id("z")) == nil)
            #expect(timeline.snapshot(Chain.id("b")) == Chain.snapshot("b", 2))
            #expect(timeline.snapshot(Chain.id("z")) == nil)
        }
    }

    @Test("The finest path passes all snapshots, the cheapest names the fewest blocks")
    func mergedDeltas() {
        let chain = Chain.linear(4)
        let merged = Chain.delta(nil, ("c", 3), blocks: 2, object: 1)
        let timeline = Chain.timeline(chain + [merged], Chain.marker("d", 4))
        #expect(timeline.snapshots.map(\.generation) == [1, 2, 3, 4])
        #expect(timeline.isSound)
        #expect(timeline.finestPath(to: Chain.id("d")) == chain)
        #expect(timeline.cheapestPath(to: Chain.id("d")) == [merged, chain[3]])
        #expect(timeline.cheapestPath(to: Chain.id("b")) == Array(chain[..<2]))
    }

    @Test("A merged delta that names very many blocks is not the cheapest")
    func expensiveMergedDelta() {
        let chain = Chain.linear(3)
        let merged = Chain.delta(nil, ("c", 3), blocks: 1_000_000, object: 1)
        let timeline = Chain.timeline(chain + [merged], Chain.marker("c", 3))
        #expect(timeline.cheapestPath(to: Chain.id("c")) == chain)
        var zeros = Chain.delta(nil, ("c", 3), blocks: 0, object: 1).head
        zeros.zeroBlockCount = 1_000_000
        let costly = KnownDelta(name: merged.name, head: zeros)
        #expect(
            Chain.timeline(chain + [costly], Chain.marker("c", 3))
                .cheapestPath(to: Chain.id("c")) == chain)
    }

    @Test("After forgetting, a merged delta keeps what lies behind it restorable")
    func forgotten() {
        let chain = Chain.linear(4)
        let merged = Chain.delta(("a", 1), ("c", 3), object: 1)
        let timeline = Chain.timeline([chain[0], merged, chain[3]], Chain.marker("d", 4))
        #expect(timeline.snapshots.map(\.generation) == [1, 3, 4])
        #expect(timeline.isSound)
        #expect(timeline.finestPath(to: Chain.id("d")) == [chain[0], merged, chain[3]])
        #expect(timeline.finestPath(to: Chain.id("b")) == nil)
    }

    @Test("Short cuts lead to the cheapest path through a long chain", arguments: 1...10)
    func randomGraphs(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var deltas = Chain.linear(16)
        let letters = "abcdefghijklmnop".map(String.init)
        for number in 0..<20 as Range<UInt64> {
            let from = Int.random(in: 0..<15, using: &generator)
            let to = Int.random(in: from + 1..<16, using: &generator)
            deltas.append(
                Chain.delta(
                    (letters[from], Generation(from + 1)), (letters[to], Generation(to + 1)),
                    blocks: UInt64.random(in: 0...20_000, using: &generator), object: number + 1))
        }
        let timeline = Chain.timeline(
            deltas.shuffled(using: &generator), Chain.marker("p", 16))
        for letter in letters {
            let target = Chain.id(letter)
            let finest = timeline.finestPath(to: target) ?? []
            let cheapest = timeline.cheapestPath(to: target) ?? []
            for path in [finest, cheapest] {
                #expect(path.first?.head.from == .nothing)
                #expect(path.last?.head.to == target)
                #expect(path.dropFirst().map(\.head.from) == path.dropLast().map(\.head.to))
            }
            #expect(finest.count == (letters.firstIndex(of: letter) ?? 0) + 1)
            #expect(Self.cost(cheapest) == Self.leastCost(to: target, deltas), "seed \(seed)")
        }
    }

    private static func cost(_ path: [KnownDelta]) -> UInt64 {
        path.reduce(0) { $0 + 4096 + $1.head.dataBlockCount }
    }

    /// By trying again and again, until nothing gets cheaper.
    private static func leastCost(to target: SnapshotID, _ deltas: [KnownDelta]) -> UInt64? {
        var costs: [SnapshotID: UInt64] = [.nothing: 0]
        for _ in deltas {
            for delta in deltas {
                guard let start = costs[delta.head.from] else { continue }
                let cost = start + Self.cost([delta])
                costs[delta.head.to] = min(cost, costs[delta.head.to] ?? .max)
            }
        }
        return costs[target]
    }

    @Test("Two snapshots of one number are a fork: both are there, by id")
    func fork() throws {
        let chain = Chain.linear(2)
        let x = Chain.delta(("b", 2), ("x", 3), object: 1)
        let y = Chain.delta(("b", 2), ("y", 3), object: 2)
        let timeline = Chain.timeline(chain + [x, y], Chain.marker("x", 3))
        let twins = [Chain.snapshot("x", 3), Chain.snapshot("y", 3)].sorted { $0.id < $1.id }
        #expect(
            timeline.snapshots == [Chain.snapshot("a", 1), Chain.snapshot("b", 2)] + twins)
        #expect(timeline.tip == twins[0])
        #expect(timeline.highestGeneration == 3)
        #expect(timeline.isSound)
        #expect(timeline.finestPath(to: Chain.id("x")) == chain + [x])
        #expect(timeline.finestPath(to: Chain.id("y")) == chain + [y])
        #expect(timeline.cheapestPath(to: Chain.id("y")) == chain + [y])
    }

    @Test("Deltas join where ids agree, not where numbers do")
    func joinsByID() {
        let chain = Chain.linear(2)
        let other = Chain.delta(("x", 2), ("c", 3))
        let timeline = Chain.timeline(chain + [other], Chain.marker("c", 3))
        #expect(timeline.snapshots.map(\.generation) == [1, 2])
        #expect(timeline.damaged.map(\.id) == [Chain.id("x"), Chain.id("c")])
    }

    @Test("When a delta is missing, what lies behind it is listed as damaged")
    func missingDelta() {
        let chain = Chain.linear(4)
        let timeline = Chain.timeline([chain[0], chain[2], chain[3]], Chain.marker("d", 4))
        #expect(timeline.snapshots == [Chain.snapshot("a", 1)])
        #expect(
            timeline.damaged == [
                DamagedSnapshot(
                    generation: 2, id: Chain.id("b"), facts: nil,
                    reason: "its delta is missing or damaged"),
                DamagedSnapshot(
                    generation: 3, id: Chain.id("c"), facts: Chain.facts("c"),
                    reason: "no path of deltas leads to generation 2"),
                DamagedSnapshot(
                    generation: 4, id: Chain.id("d"), facts: Chain.facts("d"),
                    reason: "no path of deltas leads to generation 3"),
            ])
        #expect(!timeline.isSound)
        #expect(timeline.tip == Chain.snapshot("a", 1))
        #expect(timeline.highestGeneration == 4)
        #expect(timeline.cheapestPath(to: Chain.id("d")) == nil)
    }

    @Test("When the base is missing, nothing can be restored and everything is listed")
    func missingBase() {
        let chain = Chain.linear(3)
        let timeline = Chain.timeline(Array(chain[1...]), Chain.marker("c", 3))
        #expect(timeline.snapshots == [])
        #expect(timeline.tip == nil)
        #expect(timeline.damaged.map(\.generation) == [1, 2, 3])
        #expect(timeline.damaged.map(\.id) == ["a", "b", "c"].map(Chain.id))
        #expect(timeline.highestGeneration == 3)
    }

    @Test("The marker shows the loss of the newest delta")
    func lostNewest() {
        let timeline = Chain.timeline(Chain.linear(2), Chain.marker("c", 3))
        #expect(timeline.snapshots.map(\.generation) == [1, 2])
        #expect(
            timeline.damaged == [
                DamagedSnapshot(
                    generation: 3, id: Chain.id("c"), facts: nil, reason: "its delta is missing")
            ])
        #expect(timeline.highestGeneration == 3)
        let all = Chain.timeline([], Chain.marker("a", 1))
        #expect(all.damaged.map(\.id) == [Chain.id("a")])
        #expect(all.highestGeneration == 1)
    }

    @Test("The marker names an unreadable newest delta by its id, once")
    func unreadableNewest() {
        let chain = Chain.linear(3)
        let timeline = Chain.timeline(
            Array(chain[..<2]), Chain.marker("c", 3),
            unreadable: [(chain[2].name, "checksum")])
        #expect(timeline.damaged.map(\.generation) == [3])
        #expect(timeline.damaged.map(\.id) == [Chain.id("c")])
    }

    @Test("An unreadable delta is a damaged snapshot, or a problem beside a whole path")
    func unreadable() {
        let chain = Chain.linear(3)
        let reason = "\(chain[2].name.objectName) is damaged: checksum"
        let timeline = Chain.timeline(
            Array(chain[..<2]), Chain.marker("b", 2), unreadable: [(chain[2].name, "checksum")])
        #expect(
            timeline.damaged == [
                DamagedSnapshot(generation: 3, id: nil, facts: nil, reason: reason)
            ])
        #expect(timeline.problems == [])
        #expect(timeline.highestGeneration == 3)

        let merged = Chain.delta(nil, ("c", 3), object: 1)
        let whole = Chain.timeline(
            [chain[0], chain[1], merged], Chain.marker("c", 3),
            unreadable: [(chain[2].name, "checksum")])
        #expect(whole.damaged == [])
        #expect(whole.problems == [reason])
        #expect(!whole.isSound)
        #expect(whole.snapshots.map(\.generation) == [1, 2, 3])
    }

    @Test("A lost or damaged marker is a problem, though every snapshot is there")
    func lostMarker() {
        let timeline = Chain.timeline(Chain.linear(2), nil)
        #expect(timeline.snapshots.map(\.generation) == [1, 2])
        #expect(timeline.damaged == [])
        #expect(
            timeline.problems == [
                "the marker of the newest snapshot of volume 'disk' is missing; "
                    + "snapshots may have been lost without notice"
            ])
        let damaged = Chain.timeline(
            Chain.linear(2), Chain.marker("b", 2), unreadableMarkers: ["volumes/disk/newest.x"])
        #expect(damaged.problems == ["volumes/disk/newest.x is damaged"])
        #expect(!damaged.isSound)
    }

    @Test("A delta above the marker is a finished commit")
    func unmarkedCommit() {
        let timeline = Chain.timeline(Chain.linear(3), Chain.marker("b", 2))
        #expect(timeline.isSound)
        #expect(timeline.tip == Chain.snapshot("c", 3))
        #expect(timeline.highestGeneration == 3)
    }

    @Test("Of several markers the newest counts")
    func severalMarkers() {
        let timeline = Timeline(
            volume: Chain.volume, deltas: Chain.linear(3), unreadable: [],
            markers: [Chain.marker("c", 3), Chain.marker("a", 1), Chain.marker("b", 2)],
            unreadableMarkers: [])
        #expect(timeline.newest == Chain.marker("c", 3))
        #expect(timeline.isSound)
    }

    @Test("The loss of one side of a fork shows, when both have a marker")
    func lostSideOfFork() {
        let chain = Chain.linear(2)
        for (kept, lost) in [("x", "y"), ("y", "x")] {
            for markers in [[kept, lost], [lost, kept]] {
                let timeline = Timeline(
                    volume: Chain.volume, deltas: chain + [Chain.delta(("b", 2), (kept, 3))],
                    unreadable: [], markers: markers.map { Chain.marker($0, 3) },
                    unreadableMarkers: [])
                #expect(timeline.damaged.map(\.id) == [Chain.id(lost)])
            }
        }
    }
}

/// Heads that no program of ours writes, under checksums that are right.
struct HostileTimelineTests {
    @Test("A circle of deltas is refused, and not followed for ever")
    func circle() async {
        await #expect(processExitsWith: .success) {
            var limit = rlimit(rlim_cur: 1, rlim_max: 1)
            setrlimit(__rlimit_resource_t(0), &limit)
            var memory = rlimit(rlim_cur: 2 << 30, rlim_max: 2 << 30)
            setrlimit(__rlimit_resource_t(9), &memory)
            let timeline = Chain.timeline(
                Chain.linear(2) + [Chain.delta(("b", 2), ("a", 3))], Chain.marker("a", 3))
            _ = timeline.finestPath(to: Chain.id("a"))
            _ = timeline.cheapestPath(to: Chain.id("a"))
        }
    }

    @Test("A delta that says it names 2^64 blocks is the most expensive, and no more")
    func hugeCounts() async {
        await #expect(processExitsWith: .success) {
            let timeline = Chain.timeline(
                Chain.linear(2) + [Chain.delta(nil, ("b", 2), blocks: .max, object: 1)],
                Chain.marker("b", 2))
            precondition(timeline.cheapestPath(to: Chain.id("b")) == Chain.linear(2))
        }
    }
}
