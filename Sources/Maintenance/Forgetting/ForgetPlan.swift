internal import BlockModel
internal import Repository
internal import RepositoryFormat
internal import RepositoryModel

/// Which deltas are merged and deleted to do away with forgotten snapshots, worked out without I/O.
///
/// Snapshots are *removed* when their deltas go. Between two kept ones, the deltas on the way through
/// removed ones are merged into one. Removing costs to write that, and pays when it is at most four
/// times what begins at the removed ones: a base is not written again for each hour that is forgotten
/// behind it, except a quarter of it.
struct ForgetPlan {
    /// A merge: deltas in a row, of which all but the last lead to a removed snapshot.
    struct Merge: Hashable {
        let deltas: [KnownDelta]
    }

    /// Snapshots whose deltas go.
    private(set) var removed: Set<SnapshotID> = []
    private(set) var merges: [Merge] = []

    /// What may be written for each byte that begins at a removed snapshot.
    private static let costLimit: UInt64 = 4
    /// Deltas that are merged at once, and what of their maps is in memory then.
    private static let mergeLimit = 512
    static let memoryLimit: UInt64 = 96 << 20

    /// - Parameters:
    ///   - timeline: the volume, with its forgotten snapshots; sound.
    ///   - isThorough: whether also what does not pay is done.
    init(_ timeline: Timeline, isThorough: Bool) {
        let forgotten = Set(timeline.forgotten.map(\.id))
        guard !forgotten.isEmpty else { return }
        removed = forgotten
        // Each round takes back what does not pay, or what is too much at once; fewer are removed then.
        while true {
            let segments = Self.segments(timeline, removing: removed)
            var kept: Set<SnapshotID> = []
            for segment in segments {
                kept.formUnion(Self.retained(of: segment, isThorough: isThorough))
            }
            if kept.isEmpty {
                merges = segments.map(Merge.init)
                return
            }
            removed.subtract(kept)
        }
    }

    /// Whether what hidden snapshots stored outweighs the deltas that are to be written to do without them:
    /// where blocks are given back, that pays which maps alone do not.
    static func freesMoreThanItWrites(_ timeline: Timeline) -> Bool {
        let plan = ForgetPlan(timeline, isThorough: true)
        let written = plan.merges.flatMap(\.deltas).reduce(UInt64(0)) { $0 + mapByteCount(of: $1) }
        // What a base stored is what those after it need, as a rule.
        let stored = timeline.forgotten.filter { $0.facts.parent != .nothing }
            .reduce(UInt64(0)) { $0 + min($1.facts.bytesStored, 1 << 44) }
        return !plan.removed.isEmpty && stored > written
    }

    /// Whether every snapshot that is shown can be restored without the removed ones.
    static func isSafe(_ timeline: Timeline, removing removed: Set<SnapshotID>) -> Bool {
        let reached = reachable(timeline, avoiding: removed)
        return timeline.snapshots.allSatisfy { reached.contains($0.id) }
    }

    private static func reachable(
        _ timeline: Timeline,
        avoiding removed: Set<SnapshotID>
    ) -> Set<SnapshotID> {
        var reached: [SnapshotID: Generation] = [.nothing: 0]
        for delta in timeline.deltas
        where reached[delta.head.from].map({ $0 < delta.name.to }) ?? false
            && !removed.contains(delta.head.to)
        {
            reached[delta.head.to] = delta.name.to
        }
        return Set(reached.keys)
    }

    /// The ways to kept snapshots that lead through removed ones only, from the last kept one.
    private static func segments(
        _ timeline: Timeline,
        removing removed: Set<SnapshotID>
    ) -> [[KnownDelta]] {
        let everything = (timeline.snapshots + timeline.forgotten).sorted {
            ($0.generation, $0.id) < ($1.generation, $1.id)
        }
        var reached = reachable(timeline, avoiding: removed)
        var segments: [[KnownDelta]] = []
        let best = timeline.cheapestLastDeltas()
        for snapshot in everything
        where !removed.contains(snapshot.id) && !reached.contains(snapshot.id) {
            // Backwards to the last snapshot that stays.
            var segment: [KnownDelta] = []
            var current = snapshot.id
            while let delta = best[current] {
                segment.append(delta)
                current = delta.head.from
                if !removed.contains(current) { break }
            }
            segments.append(segment.reversed())
            reached.insert(snapshot.id)
            // What was reached by no way but this one.
            for delta in timeline.deltas
            where reached.contains(delta.head.from) && !removed.contains(delta.head.to) {
                reached.insert(delta.head.to)
            }
        }
        return segments
    }

    /// About the bytes of a delta: counts come from the repository, and are bounded before they are used.
    static func mapByteCount(of delta: KnownDelta) -> UInt64 {
        1024 + 40 * min(delta.head.dataBlockCount, Format.volumeBlockLimit)
    }

    /// What a map of so many bytes takes while it is merged: of parts only one at a time is in memory.
    static func memory(_ mapByteCount: UInt64) -> UInt64 {
        min(mapByteCount, UInt64(Format.partByteLimit)) * 2
    }

    /// Snapshots of a segment that stay, so that what is left of it pays and fits in memory; none when
    /// all of it does.
    private static func retained(of segment: [KnownDelta], isThorough: Bool) -> [SnapshotID] {
        let weights = segment.map(mapByteCount)
        guard isThorough || pays(weights[...]) else {
            // The largest that comes first, a base as a rule, is left until the rest has grown.
            let first = weights.indices.dropLast().first { pays(weights[($0 + 1)...]) }
            let end = first.map { $0 + 1 } ?? segment.count - 1
            return segment[..<min(end, segment.count - 1)].map(\.head.to)
        }
        let inMemory = weights.map(memory)
        var sum: UInt64 = 0
        for (position, count) in inMemory.enumerated() {
            sum += count
            if position >= 2, position < segment.count, sum > memoryLimit || position >= mergeLimit
            {
                return [segment[position - 1].head.to]
            }
        }
        return []
    }

    /// Whether merging deltas of these weights pays, of which all but the first begin at removed ones.
    private static func pays(_ weights: ArraySlice<UInt64>) -> Bool {
        guard weights.count > 1 else { return weights.count == 1 }
        let whole = weights.reduce(0, +)
        return whole <= costLimit * weights.dropFirst().reduce(0, +)
    }
}
