internal import BlockModel
internal import RepositoryFormat
internal import RepositoryModel

/// What deltas lead to from nothing, and the number of each snapshot; worked out without I/O.
///
/// A snapshot is told by its id, and what begins at it joins there, whatever number it calls it by. A delta
/// that was stored once more under another number is put aside: numbers only go up on a path.
struct Reach {
    private(set) var snapshots: [SnapshotID: Snapshot] = [:]
    /// Deltas to a snapshot that are named by another number than it has.
    private(set) var renumbered: [KnownDelta] = []
    /// The others.
    private(set) var deltas: [KnownDelta]

    /// - Parameters:
    ///   - deltas: the deltas of a volume, in order of their newer numbers.
    ///   - markers: its markers.
    init(_ deltas: [KnownDelta], _ markers: [NewestMarker]) {
        self.deltas = deltas
        // The lowest number first: whatever a true delta begins at has a lower one.
        snapshots = Self.follow(deltas)
        let others = numbers().filter { $0.value.count > 1 }
        guard !others.isEmpty else { return }
        let wanted = Self.votes(deltas, markers, others)
        let chosen = Self.follow(
            deltas.filter { delta in wanted[delta.head.to].map { $0 == delta.name.to } ?? true })
        if chosen.count == snapshots.count { snapshots = chosen }
        let isAside = { [snapshots] (delta: KnownDelta) in
            guard let end = snapshots[delta.head.to] else { return false }
            return end.generation != delta.name.to && Self.leads(delta, from: snapshots)
        }
        renumbered = deltas.filter(isAside)
        self.deltas = deltas.filter { !isAside($0) }
    }

    private static func follow(_ deltas: [KnownDelta]) -> [SnapshotID: Snapshot] {
        var found: [SnapshotID: Snapshot] = [:]
        for delta in deltas where found[delta.head.to] == nil && leads(delta, from: found) {
            found[delta.head.to] = Snapshot(
                id: delta.head.to, generation: delta.name.to, facts: delta.head.facts)
        }
        return found
    }

    private static func leads(
        _ delta: KnownDelta,
        from found: [SnapshotID: Snapshot]
    ) -> Bool {
        delta.head.from == .nothing
            || found[delta.head.from].map { $0.generation < delta.name.to } ?? false
    }

    /// The numbers by which each snapshot goes that is reached.
    private func numbers() -> [SnapshotID: Set<Generation>] {
        var numbers: [SnapshotID: Set<Generation>] = [:]
        for delta in deltas where Self.leads(delta, from: snapshots) {
            numbers[delta.head.to, default: []].insert(delta.name.to)
        }
        return numbers
    }

    /// Of several numbers the one that most of what begins there, and most markers, say; then the lowest.
    private static func votes(
        _ deltas: [KnownDelta],
        _ markers: [NewestMarker],
        _ numbers: [SnapshotID: Set<Generation>]
    ) -> [SnapshotID: Generation] {
        var votes: [SnapshotID: [Generation: Int]] = [:]
        for delta in deltas where numbers[delta.head.from] != nil {
            votes[delta.head.from, default: [:]][delta.name.from, default: 0] += 1
        }
        for marker in markers where numbers[marker.snapshot] != nil {
            votes[marker.snapshot, default: [:]][marker.generation, default: 0] += 1
        }
        var wanted: [SnapshotID: Generation] = [:]
        for (id, numbers) in numbers {
            wanted[id] = numbers.min {
                (-(votes[id]?[$0] ?? 0), $0) < (-(votes[id]?[$1] ?? 0), $1)
            }
        }
        return wanted
    }
}

/// Whether snapshots that no path leads to were there.
///
/// They were if something that is whole tells of any of them: a marker, or a snapshot that can be restored
/// and has it as its parent; or if anything else is lost, for what led to that may be among them. Of
/// others nothing tells but deltas that anybody may invent: they may be lost, and are in the way of
/// nothing.
struct Losses {
    let areKnown: Bool

    /// - Parameters:
    ///   - deltas: deltas of which at least one end cannot be reached.
    ///   - reached: what can be restored.
    ///   - told: snapshots that markers, and deltas that cannot be relied on, tell of.
    ///   - isAnyKnown: whether something else is lost.
    init(
        _ deltas: [KnownDelta],
        reached: [SnapshotID: Snapshot],
        told: [SnapshotID],
        isAnyKnown: Bool
    ) {
        let ends = Set(deltas.flatMap { [$0.head.from, $0.head.to] })
        let isLost = { (id: SnapshotID) in id != .nothing && reached[id] == nil }
        // Where nothing can be restored all that is there tells of the volume.
        areKnown =
            reached.isEmpty || isAnyKnown || told.contains(where: isLost)
            || reached.values.contains {
                ends.contains($0.facts.parent) && isLost($0.facts.parent)
            }
    }
}
