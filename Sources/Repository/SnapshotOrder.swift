package import BlockModel
internal import RepositoryFormat
package import RepositoryModel

/// What this machine has seen of a volume before: which index history had which snapshot.
package struct BranchMemory: Sendable {
    /// The history that has had a snapshot for the longest.
    package var firstHistories: [SnapshotID: UInt32] = [:]
    /// Snapshots of the volume's own history.
    package var ownSnapshots: Set<SnapshotID> = []
    /// Up to where the own history knows all that there was.
    package var ownGeneration: Generation = 0

    package init() {}

    /// Whether the volume's own history leads through the snapshot.
    package func ownsSnapshot(_ id: SnapshotID) -> Bool { ownSnapshots.contains(id) }
}

/// How the snapshots of a volume stand to each other and to the clock; worked out without I/O.
///
/// Anybody who may add snapshots can date them as they like and let them begin where they like. So
/// what does not fit takes the place of nothing that does.
package struct SnapshotOrder: Sendable {
    /// Clocks of two machines may differ by that much.
    package static let toleranceSeconds: Int64 = 900

    /// Why the time of a snapshot does not fit its place in the chain.
    package private(set) var outOfTime: [SnapshotID: String] = [:]
    /// Snapshots that show that others are out of time: without them these would fit.
    package private(set) var witnesses: Set<SnapshotID> = []
    /// Snapshots that the branch of this machine does not lead through.
    package private(set) var beside: Set<SnapshotID> = []

    /// - Parameters:
    ///   - timeline: the volume.
    ///   - memory: what this machine remembers of it.
    ///   - now: the time.
    package init(_ timeline: Timeline, memory: BranchMemory, now: Timestamp) {
        let all = (timeline.snapshots + timeline.forgotten).sorted {
            ($0.generation, $0.id) < ($1.generation, $1.id)
        }
        let tree = Tree(all, timeline)
        examineTimes(all, tree, timeline, now)
        beside = Self.beside(all, tree, timeline, memory)
    }

    /// A time may not lie before that of a snapshot below, nor after the delta was stored.
    ///
    /// What does not fit itself is no measure for what is above it: one wrong clock makes one snapshot
    /// out of time.
    private mutating func examineTimes(
        _ all: [Snapshot],
        _ tree: Tree,
        _ timeline: Timeline,
        _ now: Timestamp
    ) {
        var bounds: [SnapshotID: (seconds: Int64, of: SnapshotID)] = [:]
        let future = SaturatingMath.sum(now.seconds, Self.toleranceSeconds)
        for snapshot in all {
            let seconds = snapshot.facts.time.seconds
            let bound = tree.below(snapshot).compactMap { bounds[$0] }
                .max { $0.seconds < $1.seconds }
            if let stored = timeline.storedSeconds[snapshot.id],
                seconds > SaturatingMath.sum(stored, Self.toleranceSeconds)
            {
                outOfTime[snapshot.id] = "its time is later than when it was stored"
                // Where that is gone the delta is merged, and stored again.
                if let start = tree.start(of: snapshot) { witnesses.insert(start) }
            } else if let bound, seconds < bound.seconds {
                outOfTime[snapshot.id] = "its time is earlier than that of the previous snapshot"
                witnesses.insert(bound.of)
            }
            let isMeasure = outOfTime[snapshot.id] == nil && seconds <= future
            bounds[snapshot.id] = isMeasure ? (seconds, snapshot.id) : bound
        }
    }

    /// What is off the branch that this machine remembers, and beyond that off the one stored first.
    private static func beside(
        _ all: [Snapshot],
        _ tree: Tree,
        _ timeline: Timeline,
        _ memory: BranchMemory
    ) -> Set<SnapshotID> {
        var branch: Set<SnapshotID> = []
        var current = SnapshotID.nothing
        while let next = tree.children[current]?.min(by: { a, b in
            let rank = { (id: SnapshotID) in
                (
                    memory.firstHistories[id] ?? .max, timeline.storedSeconds[id] ?? .max,
                    -(tree.sizes[id] ?? 0)
                )
            }
            return rank(a) == rank(b) ? a < b : rank(a) < rank(b)
        }) {
            branch.insert(next)
            current = next
        }
        let isUnseen = { (snapshot: Snapshot) in
            snapshot.generation <= memory.ownGeneration
                && !memory.ownSnapshots.contains(snapshot.id)
        }
        return Set(all.filter { !branch.contains($0.id) || isUnseen($0) }.map(\.id))
    }

    /// Each snapshot above the one that it says it was captured after, or above the one before it on its
    /// path where that is gone.
    private struct Tree {
        private(set) var children: [SnapshotID: [SnapshotID]] = [:]
        /// Snapshots above each.
        private(set) var sizes: [SnapshotID: Int] = [:]
        private var parents: [SnapshotID: SnapshotID] = [:]
        private var predecessors: [SnapshotID: SnapshotID]

        init(_ all: [Snapshot], _ timeline: Timeline) {
            let generations = Dictionary(
                all.map { ($0.id, $0.generation) }, uniquingKeysWith: { $1 })
            predecessors = timeline.finestLastDeltas().mapValues(\.head.from)
            for snapshot in all {
                let said = snapshot.facts.parent
                let isThere = generations[said].map { $0 < snapshot.generation } ?? false
                let parent = isThere ? said : predecessors[snapshot.id] ?? .nothing
                parents[snapshot.id] = parent
                children[parent, default: []].append(snapshot.id)
            }
            for snapshot in all.reversed() {
                guard let parent = parents[snapshot.id] else { continue }
                sizes[parent, default: 0] += 1 + (sizes[snapshot.id] ?? 0)
            }
        }

        /// Where the delta to a snapshot begins; nil for one that begins at nothing.
        func start(of snapshot: Snapshot) -> SnapshotID? {
            predecessors[snapshot.id].flatMap { $0 == .nothing ? nil : $0 }
        }

        /// What a snapshot is not older than.
        func below(_ snapshot: Snapshot) -> [SnapshotID] {
            [parents[snapshot.id], predecessors[snapshot.id]].compactMap(\.self)
        }
    }
}

extension Timeline {
    /// The last delta of the path to each snapshot through as many as there are.
    func finestLastDeltas() -> [SnapshotID: KnownDelta] {
        lastDeltas(cost: { _ in 1 << 40 }, isBetter: >)
    }

    /// The last snapshot at or before a moment, by the times that snapshots have.
    ///
    /// Whether generations would have chosen another one says that a clock was wrong.
    package func last(
        atOrBefore time: Timestamp
    ) -> (snapshot: Snapshot, isDisputed: Bool)? {
        let earlier = snapshots.filter { $0.facts.time.seconds <= time.seconds }
        guard
            let chosen = earlier.max(by: {
                ($0.facts.time, $0.generation, $1.id) < ($1.facts.time, $1.generation, $0.id)
            })
        else { return nil }
        let isDisputed =
            earlier.contains { $0.generation > chosen.generation }
            || snapshots.contains {
                $0.generation < chosen.generation && $0.facts.time.seconds > time.seconds
            }
        return (chosen, isDisputed)
    }
}
