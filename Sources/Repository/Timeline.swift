package import BlockModel
package import RepositoryFormat

/// A delta, known by its name and head.
package struct KnownDelta: Hashable, Sendable {
    package let name: DeltaName
    package let head: DeltaHead

    package init(name: DeltaName, head: DeltaHead) {
        self.name = name
        self.head = head
    }
}

/// The snapshots of one volume and the deltas between them: a graph, worked out without I/O.
///
/// A snapshot can be restored when a path of deltas leads from nothing to it. What no path reaches
/// is damage, listed and never forgotten.
package struct Timeline: Sendable {
    package struct Snapshot: Hashable, Sendable {
        package let id: SnapshotID
        package let generation: Generation
        package let facts: SnapshotFacts
    }

    /// A snapshot that is known of but cannot be restored.
    package struct DamagedSnapshot: Hashable, Sendable {
        package let generation: Generation
        /// Nil when only the name of its unreadable delta tells of it.
        package let id: SnapshotID?
        package let facts: SnapshotFacts?
        package let reason: String
    }

    package let volume: VolumeName
    package let deltas: [KnownDelta]
    package let newest: NewestMarker?
    /// Names of all marker objects, readable or not.
    package let markerNames: [String]
    /// Restorable snapshots, oldest first.
    package let snapshots: [Snapshot]
    /// Snapshots that were forgotten, and whose deltas are still there: nobody is shown them.
    package let forgotten: [Snapshot]
    package let damaged: [DamagedSnapshot]
    /// Deltas that were being deleted when somebody stopped: they begin at forgotten snapshots that nothing
    /// leads to any more, and nothing needs them.
    let leftovers: [KnownDelta]
    /// Damage that costs no snapshot, such as an unreadable delta beside a whole path.
    package let problems: [String]
    /// Generations above this one were never used.
    package let highestGeneration: Generation
    /// Deltas that cannot be read, and why.
    let unreadable: [(name: DeltaName, reason: String)]
    /// All markers that can be read.
    let markers: [NewestMarker]
    let unreadableMarkers: [String]
    /// Snapshots that were forgotten, whether anything of them is there or not.
    private let hidden: Set<SnapshotID>

    package init(
        volume: VolumeName,
        deltas: [KnownDelta],
        unreadable: [(name: DeltaName, reason: String)],
        markers: [NewestMarker],
        unreadableMarkers: [String],
        forgotten: Set<SnapshotID> = []
    ) {
        self.volume = volume
        self.deltas = deltas.sorted {
            ($0.name.to, $0.name.from, $0.name.id) < ($1.name.to, $1.name.from, $1.name.id)
        }
        self.unreadable = unreadable
        self.markers = markers
        self.unreadableMarkers = unreadableMarkers
        hidden = forgotten
        newest = markers.max { $0.generation < $1.generation }
        markerNames = markers.map(\.objectName) + unreadableMarkers

        var reached: Set<SnapshotID> = [.nothing]
        var found: [SnapshotID: Snapshot] = [:]
        // A delta leads upwards, so that all that lead to its start come before it; and from where that is.
        for delta in self.deltas
        where delta.head.from == .nothing
            || found[delta.head.from]?.generation == delta.name.from
        {
            guard found[delta.head.to].map({ $0.generation == delta.name.to }) ?? true else {
                continue
            }
            reached.insert(delta.head.to)
            found[delta.head.to] = Snapshot(
                id: delta.head.to, generation: delta.name.to, facts: delta.head.facts)
        }
        let all = found.values.sorted { ($0.generation, $0.id) < ($1.generation, $1.id) }
        // The next capture builds on the newest, whatever was said of it.
        let last = all.last?.generation
        snapshots = all.filter { !forgotten.contains($0.id) || $0.generation == last }
        self.forgotten = all.filter { forgotten.contains($0.id) && $0.generation != last }

        leftovers = self.deltas.filter { delta in
            forgotten.contains(delta.head.from) && !reached.contains(delta.head.from)
                && (reached.contains(delta.head.to) || forgotten.contains(delta.head.to))
        }
        let isLeft = Set(leftovers.map(\.name))

        var damage = DamageList(reached: reached)
        for delta in self.deltas where !isLeft.contains(delta.name) {
            damage.add(
                delta.name.to, delta.head.to, delta.head.facts,
                "no path of deltas leads to generation \(delta.name.from)")
            // Another path may lead to its end all the same.
            damage.add(
                delta.name.from, delta.head.from, nil,
                "its delta is missing or damaged")
        }
        let reachedGenerations = Set(all.map(\.generation))
        var problems = unreadableMarkers.map { "\($0) is damaged" }
        for (name, reason) in unreadable {
            if reachedGenerations.contains(name.to) {
                problems.append("\(name.objectName) is damaged: \(reason)")
            } else {
                damage.addUnknown(name.to, "\(name.objectName) is damaged: \(reason)")
            }
        }
        for marker in markers where marker.generation > 0 {
            let reason = unreadable.first { $0.name.id == marker.delta }.map {
                "\($0.name.objectName) is damaged: \($0.reason)"
            }
            damage.add(
                marker.generation, marker.snapshot, nil, reason ?? "its delta is missing")
        }
        if newest == nil && !(deltas.isEmpty && unreadable.isEmpty) {
            problems.append(
                "the marker of the newest snapshot of volume '\(volume)' is missing; "
                    + "snapshots may have been lost unseen")
        }
        damaged = damage.list
        self.problems = problems
        highestGeneration =
            (deltas.map(\.name.to) + unreadable.map(\.name.to) + markers.map(\.generation)
            + unreadableMarkers.compactMap(ObjectNames.newestGeneration)
            + damaged.map(\.generation)).max() ?? 0
    }

    /// What the listing would say if these deltas could not be read.
    func without(_ broken: [DeltaName: String]) -> Timeline {
        guard !broken.isEmpty else { return self }
        return Timeline(
            volume: volume, deltas: deltas.filter { broken[$0.name] == nil },
            unreadable: unreadable
                + deltas.compactMap { delta in broken[delta.name].map { (delta.name, $0) } },
            markers: markers, unreadableMarkers: unreadableMarkers, forgotten: hidden)
    }

    /// The snapshot that the next one builds on: of the newest restorable ones the first by id.
    package var tip: Snapshot? {
        guard let last = snapshots.last else { return nil }
        return snapshots.first { $0.generation == last.generation }
    }

    package var isSound: Bool { damaged.isEmpty && problems.isEmpty }

    package func snapshot(_ id: SnapshotID) -> Snapshot? { snapshots.first { $0.id == id } }

    /// Whether that snapshot can be restored, forgotten or not.
    func isReached(_ id: SnapshotID) -> Bool {
        id == .nothing || (snapshots + forgotten).contains { $0.id == id }
    }

    /// Whether any snapshot of that generation can be restored, forgotten or not.
    func isReached(_ generation: Generation) -> Bool {
        (snapshots + forgotten).contains { $0.generation == generation }
    }

    /// The path to `id` through as many snapshots as there are: what the index follows.
    package func finestPath(to id: SnapshotID) -> [KnownDelta]? {
        Self.path(
            to: id,
            by: ways { _ in
                1 << 40
            } isBetter: {
                $0 > $1
            })
    }

    /// The path to `id` through as few snapshots as there are.
    func shortestPath(to id: SnapshotID) -> [KnownDelta]? {
        Self.path(to: id, by: ways(cost: { _ in 1 }, isBetter: <))
    }

    /// The path to `id` that names the fewest blocks: what a single restore follows.
    package func cheapestPath(to id: SnapshotID) -> [KnownDelta]? {
        Self.path(to: id, by: cheapestWays())
    }

    /// The same from a snapshot on; nil where none leads from there.
    func cheapestPath(from start: SnapshotID, to id: SnapshotID) -> [KnownDelta]? {
        let path = Self.path(to: id, by: cheapestWays(from: start))
        return path?.first?.head.from == start ? path : nil
    }

    /// The last delta of the cheapest path to each snapshot.
    func cheapestWays(from start: SnapshotID = .nothing) -> [SnapshotID: KnownDelta] {
        // Counts come from the repository: they are bounded before they are added up.
        let limit = UInt64(1) << 44
        let cost = { (delta: KnownDelta) in
            4096 + min(delta.head.dataBlockCount, limit) + min(delta.head.zeroBlockCount, limit)
        }
        return ways(from: start, cost: cost, isBetter: <)
    }

    private func ways(
        from start: SnapshotID = .nothing,
        cost: (KnownDelta) -> UInt64,
        isBetter: (UInt64, UInt64) -> Bool
    ) -> [SnapshotID: KnownDelta] {
        var best: [SnapshotID: (cost: UInt64, last: KnownDelta?)] = [start: (0, nil)]
        let begin =
            start == .nothing ? 0 : (snapshots + forgotten).first { $0.id == start }?.generation
        for delta in deltas {
            // A delta leads from the generation that its start was reached with, upwards; whatever
            // the repository says, no path goes in a circle.
            guard let start = best[delta.head.from],
                (start.last?.name.to ?? begin) == delta.name.from,
                best[delta.head.to].map({ $0.last?.name.to == delta.name.to }) ?? true
            else { continue }
            let (total, isTooMuch) = start.cost.addingReportingOverflow(cost(delta))
            if isTooMuch { continue }
            if let known = best[delta.head.to], !isBetter(total, known.cost) { continue }
            best[delta.head.to] = (total, delta)
        }
        return best.compactMapValues(\.last)
    }

    private static func path(
        to id: SnapshotID,
        by ways: [SnapshotID: KnownDelta]
    ) -> [KnownDelta]? {
        guard ways[id] != nil || id == .nothing else { return nil }
        var path: [KnownDelta] = []
        var current = id
        while let delta = ways[current] {
            path.append(delta)
            current = delta.head.from
        }
        return path.reversed()
    }
}

/// Collects damaged snapshots, each once.
private struct DamageList {
    private let reached: Set<SnapshotID>
    private var byID: [SnapshotID: Timeline.DamagedSnapshot] = [:]
    private var unknown: [Timeline.DamagedSnapshot] = []

    init(reached: Set<SnapshotID>) { self.reached = reached }

    mutating func add(
        _ generation: Generation,
        _ id: SnapshotID,
        _ facts: SnapshotFacts?,
        _ reason: String
    ) {
        guard !reached.contains(id) else { return }
        if let known = byID[id], known.facts != nil || facts == nil { return }
        byID[id] = Timeline.DamagedSnapshot(
            generation: generation, id: id, facts: facts, reason: reason)
    }

    mutating func addUnknown(_ generation: Generation, _ reason: String) {
        unknown.append(
            Timeline.DamagedSnapshot(generation: generation, id: nil, facts: nil, reason: reason))
    }

    var list: [Timeline.DamagedSnapshot] {
        let known = Set(byID.values.map(\.generation))
        return (byID.values + unknown.filter { !known.contains($0.generation) }).sorted {
            ($0.generation, $0.id?.hexadecimal ?? "") < ($1.generation, $1.id?.hexadecimal ?? "")
        }
    }
}
