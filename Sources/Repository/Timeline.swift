package import BlockModel
package import RepositoryFormat
package import RepositoryModel

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
    /// A delta that is not relied on.
    package struct Unproved: Sendable {
        package let delta: KnownDelta
        package let reason: String
        /// Whether it is known to be false, and of use to nobody.
        package let isFalse: Bool
        /// Whether only its number is, and it says what is so.
        package let isRenumbered: Bool

        package init(delta: KnownDelta, reason: String, isFalse: Bool, isRenumbered: Bool = false) {
            self.delta = delta
            self.reason = reason
            self.isFalse = isFalse
            self.isRenumbered = isRenumbered
        }

        package init(_ error: UnreadableDelta) {
            self.init(delta: error.delta, reason: error.error.cause, isFalse: false)
        }

        init(_ delta: KnownDelta, called number: Generation) {
            self.init(
                delta: delta,
                reason:
                    "it gives snapshot \(delta.head.to.short) the number \(delta.name.to), but "
                    + "the number is \(number)",
                isFalse: true, isRenumbered: true)
        }

        package init(_ error: FalseDelta) {
            self.init(delta: error.delta, reason: FalseDelta.cause(error.delta), isFalse: true)
        }
    }

    package let volume: VolumeName
    /// Deltas that can be read; false ones as far as they are known are not among them.
    package let deltas: [KnownDelta]
    package let newest: NewestMarker?
    /// Names of all marker objects, readable or not.
    package let markerNames: [String]
    /// Restorable snapshots, oldest first.
    package let snapshots: [Snapshot]
    /// Snapshots that were forgotten, and whose deltas are still there: nobody is shown them.
    package let forgotten: [Snapshot]
    package let damaged: [DamagedSnapshot]
    /// What has a number so high that it need not mean anything: shown, and in the way of nothing.
    package let possibleLosses: [DamagedSnapshot]
    /// Deltas that were being deleted when somebody stopped: they begin at forgotten snapshots that nothing
    /// leads to any more, and nothing needs them.
    package let leftovers: [KnownDelta]
    /// Deltas that are not relied on, because they are false or could not be proved: they cost a snapshot
    /// nothing while others lead to it.
    package let unproved: [Unproved]
    /// Whether deltas call one snapshot by different numbers, which honest ones do not.
    package var hasTwoNumbers: Bool { !renumbered.isEmpty }
    private let renumbered: [KnownDelta]
    /// What was put aside before this was worked out.
    private let givenUnproved: [Unproved]
    /// Heads of deltas whose maps cannot be read.
    private let unreadableHeads: [DeltaName: DeltaHead]
    /// Damage that costs no snapshot, such as an unreadable delta beside a whole path.
    package let problems: [String]
    /// The number that the next snapshot follows; those above were never used.
    package let highestGeneration: Generation
    /// When the store stored the first delta to each snapshot, in seconds since 1970 by its clock.
    package let storedSeconds: [SnapshotID: Int64]
    /// Deltas that cannot be read, and why.
    package let unreadable: [(name: DeltaName, reason: String)]
    /// Whether there is nothing of the volume, not even a marker.
    package var isEmpty: Bool {
        deltas.isEmpty && unreadable.isEmpty && unproved.isEmpty && markerNames.isEmpty
    }

    /// All markers that can be read.
    package let markers: [NewestMarker]
    package let unreadableMarkers: [String]
    /// What is in the volume's directory and belongs to other repositories: it is kept, and nothing else.
    package let foreign: [ForeignObject]
    /// What stands where a directory of the volume would be, and is none.
    private let links: [String]
    /// Markers that nobody read: the deltas tell what they could.
    private let supersededMarkers: [String]
    /// Snapshots that were forgotten, whether anything of them is there or not.
    private let hidden: Set<SnapshotID>

    package init(
        volume: VolumeName,
        deltas: [KnownDelta],
        unreadable: [(name: DeltaName, reason: String)],
        markers: [NewestMarker],
        unreadableMarkers: [String],
        supersededMarkers: [String] = [],
        storedSeconds: [SnapshotID: Int64] = [:],
        forgotten: Set<SnapshotID> = [],
        foreign: [ForeignObject] = [],
        links: [String] = [],
        unproved: [Unproved] = [],
        unreadableHeads: [DeltaName: DeltaHead] = [:]
    ) {
        self.volume = volume
        // A delta leads upwards, so that all that lead to its start come before it.
        let reach = Reach(
            deltas.sorted {
                ($0.name.to, $0.name.from, $0.name.id) < ($1.name.to, $1.name.from, $1.name.id)
            }, markers)
        let found = reach.snapshots
        self.deltas = reach.deltas
        renumbered = reach.renumbered
        self.unreadable = unreadable
        self.unreadableHeads = unreadableHeads
        givenUnproved = unproved
        // One beside a whole path, whose head can be read, costs nothing.
        let spare = unreadable.compactMap { name, reason -> Unproved? in
            guard let head = unreadableHeads[name], found[head.to] != nil else { return nil }
            return Unproved(
                delta: KnownDelta(name: name, head: head), reason: reason, isFalse: false)
        }
        self.unproved =
            unproved + spare
            + reach.renumbered.map { Unproved($0, called: found[$0.head.to]?.generation ?? 0) }
        self.markers = markers
        self.unreadableMarkers = unreadableMarkers
        self.supersededMarkers = supersededMarkers
        self.storedSeconds = storedSeconds
        hidden = forgotten
        self.foreign = foreign
        self.links = links
        let count = GenerationCount(self.deltas)
        newest = markers.filter { !count.isFar($0.generation) }
            .max { $0.generation < $1.generation }
        markerNames = markers.map(\.objectName) + unreadableMarkers + supersededMarkers

        let reached = Set(found.keys).union([.nothing])
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

        var damage = DamagedSnapshotList(volume: volume, reached: reached, count: count)
        let isLoose = { (delta: KnownDelta) in
            !reached.contains(delta.head.from) || !reached.contains(delta.head.to)
        }
        let loose = self.deltas.filter { !isLeft.contains($0.name) && isLoose($0) }
        let isSpare = Set(spare.map(\.delta.name))
        let numbers = Set(all.map(\.generation))
        // Markers whose numbers deltas have were not read.
        let unread = Set(
            (supersededMarkers + unreadableMarkers).compactMap(ObjectNames.newestGeneration)
        ).subtracting(numbers)
        let losses = Losses(
            loose, reached: found,
            told: markers.filter { !count.isFar($0.generation) }.map(\.snapshot)
                + loose.filter { unread.contains($0.name.to) }.map(\.head.to)
                + unproved.filter { !$0.isFalse && reached.contains($0.delta.head.from) }
                .map(\.delta.head.to),
            isAnyKnown: unreadable.contains {
                !isSpare.contains($0.name) && !numbers.contains($0.name.to)
                    && !count.isFar($0.name.to)
            })
        for delta in loose {
            if count.isFar(delta.name.to), !count.isJoined(delta) {
                damage.addFar(
                    delta.name.to, delta.head.to, delta.head.facts,
                    "its delta is connected to no other, and its number is far from all others")
                continue
            }
            guard losses.areKnown else {
                let text =
                    "no delta leads to snapshot \(delta.head.from.short), where "
                    + "\(delta.name.objectName) starts, and nothing else mentions it"
                if reached.contains(delta.head.to) {
                    damage.addFar(delta.name.from, delta.head.from, nil, text)
                } else {
                    damage.addFar(delta.name.to, delta.head.to, delta.head.facts, text)
                }
                continue
            }
            damage.add(
                delta.name.to, delta.head.to, delta.head.facts,
                "no path of deltas leads to generation \(delta.name.from)")
            // Another path may lead to its end all the same.
            damage.add(
                delta.name.from, delta.head.from, nil,
                "its delta is missing or damaged")
        }
        for item in unproved {
            let text = "\(item.delta.name.objectName) is damaged: \(item.reason)"
            // A false one tells of no snapshot; where there was one, its marker does. Nor does one that
            // begins at nothing.
            if item.isFalse || !reached.contains(item.delta.head.from) && !losses.areKnown {
                damage.addFar(item.delta.name.to, item.delta.head.to, item.delta.head.facts, text)
            } else {
                damage.add(item.delta.name.to, item.delta.head.to, item.delta.head.facts, text)
            }
        }
        problems = Self.examine(
            unreadable.filter { !isSpare.contains($0.name) }, markers, unreadableMarkers, links,
            unreadableHeads, isEmpty: deltas.isEmpty && unreadable.isEmpty, numbers,
            &damage)
        damaged = damage.list
        possibleLosses = damage.far
        highestGeneration = count.highest(
            unreadable.map(\.name.to) + (self.deltas + renumbered).map(\.name.to)
                + markers.map(\.generation)
                + unreadableMarkers.compactMap(ObjectNames.newestGeneration)
                + damaged.map(\.generation))
    }

    /// Collects what the objects that cannot be read and the markers tell of; gives the damage that
    /// costs no snapshot.
    private static func examine(
        _ unreadable: [(name: DeltaName, reason: String)],
        _ markers: [NewestMarker],
        _ unreadableMarkers: [String],
        _ links: [String],
        _ heads: [DeltaName: DeltaHead],
        isEmpty: Bool,
        _ reachedGenerations: Set<Generation>,
        _ damage: inout DamagedSnapshotList
    ) -> [String] {
        var problems = links.map {
            "\($0) is a symbolic link or another entry that is not a directory, and links inside "
                + "a repository are not followed; replace it with its target, or mount the target "
                + "there"
        }
        for name in unreadableMarkers {
            guard let generation = ObjectNames.newestGeneration(of: name),
                damage.count.isFar(generation)
            else {
                problems.append("\(name) is damaged")
                continue
            }
            damage.addFar(generation, nil, nil, "\(name) is damaged, and its number is too high")
        }
        for (name, reason) in unreadable {
            let text = "\(name.objectName) is damaged: \(reason)"
            if let head = heads[name], !damage.count.isFar(name.to) {
                damage.add(name.to, head.to, head.facts, text)
            } else if reachedGenerations.contains(name.to) {
                problems.append(text)
            } else if damage.count.isFar(name.to) {
                damage.addFar(name.to, nil, nil, text)
            } else {
                damage.addUnknown(name.to, text)
            }
        }
        for marker in markers where marker.generation > 0 {
            let reason =
                unreadable.first { $0.name.id == marker.delta }.map {
                    "\($0.name.objectName) is damaged: \($0.reason)"
                } ?? "its delta is missing"
            if damage.count.isFar(marker.generation) {
                damage.addFar(marker.generation, marker.snapshot, nil, reason)
            } else {
                damage.add(marker.generation, marker.snapshot, nil, reason)
            }
        }
        // One with a number that means nothing does not stand for the one that is missing.
        let isMarked = markers.contains { !damage.count.isFar($0.generation) }
        if !isMarked && !isEmpty {
            problems.append(
                "the marker of the newest snapshot of volume '\(damage.volume)' is missing; "
                    + "snapshots may have been lost without notice")
        }
        return problems
    }

    /// What the listing would say if these deltas could not be read.
    package func without(_ broken: [DeltaName: String]) -> Timeline {
        guard !broken.isEmpty else { return self }
        let all = deltas + renumbered
        return Timeline(
            volume: volume, deltas: all.filter { broken[$0.name] == nil },
            unreadable: unreadable
                + all.compactMap { delta in broken[delta.name].map { (delta.name, $0) } },
            markers: markers, unreadableMarkers: unreadableMarkers,
            supersededMarkers: supersededMarkers, storedSeconds: storedSeconds, forgotten: hidden,
            foreign: foreign, links: links, unproved: givenUnproved,
            unreadableHeads: unreadableHeads.merging(
                all.filter { broken[$0.name] != nil }.map { ($0.name, $0.head) },
                uniquingKeysWith: { $1 }))
    }

    /// The same without relying on these deltas.
    package func excluding(_ more: [Unproved]) -> Timeline {
        guard !more.isEmpty else { return self }
        let names = Set(more.map(\.delta.name))
        return Timeline(
            volume: volume, deltas: (deltas + renumbered).filter { !names.contains($0.name) },
            unreadable: unreadable, markers: markers, unreadableMarkers: unreadableMarkers,
            supersededMarkers: supersededMarkers, storedSeconds: storedSeconds, forgotten: hidden,
            foreign: foreign, links: links, unproved: givenUnproved + more,
            unreadableHeads: unreadableHeads)
    }

    /// All deltas whose heads can be read, those that are not relied on among them.
    package var allDeltas: [KnownDelta] { deltas + unproved.map(\.delta) }

    /// The snapshot that the next one builds on: of the newest restorable ones the first by id.
    package var tip: Snapshot? {
        guard let last = snapshots.last else { return nil }
        return snapshots.first { $0.generation == last.generation }
    }

    package var isSound: Bool { damaged.isEmpty && problems.isEmpty }

    package func snapshot(_ id: SnapshotID) -> Snapshot? { snapshots.first { $0.id == id } }

    /// Whether that snapshot can be restored, forgotten or not.
    package func isReached(_ id: SnapshotID) -> Bool {
        id == .nothing || (snapshots + forgotten).contains { $0.id == id }
    }

    /// Whether any snapshot of that generation can be restored, forgotten or not.
    package func isReached(_ generation: Generation) -> Bool {
        (snapshots + forgotten).contains { $0.generation == generation }
    }

    /// The path to `id` through as many snapshots as there are: what the index follows.
    package func finestPath(to id: SnapshotID) -> [KnownDelta]? {
        Self.path(
            to: id,
            by: lastDeltas { _ in
                1 << 40
            } isBetter: {
                $0 > $1
            })
    }

    /// The path to `id` through as few snapshots as there are.
    package func shortestPath(to id: SnapshotID) -> [KnownDelta]? {
        Self.path(to: id, by: lastDeltas(cost: { _ in 1 }, isBetter: <))
    }

    /// The path to `id` that names the fewest blocks: what a single restore follows.
    package func cheapestPath(to id: SnapshotID) -> [KnownDelta]? {
        Self.path(to: id, by: cheapestLastDeltas())
    }

    /// The same from a snapshot on; nil where none leads from there.
    package func cheapestPath(from start: SnapshotID, to id: SnapshotID) -> [KnownDelta]? {
        let path = Self.path(to: id, by: cheapestLastDeltas(from: start))
        return path?.first?.head.from == start ? path : nil
    }

    /// The last delta of the cheapest path to each snapshot.
    package func cheapestLastDeltas(from start: SnapshotID = .nothing) -> [SnapshotID: KnownDelta] {
        // Counts come from the repository: they are bounded before they are added up.
        let limit = UInt64(1) << 44
        let cost = { (delta: KnownDelta) in
            4096 + min(delta.head.dataBlockCount, limit) + min(delta.head.zeroBlockCount, limit)
        }
        return lastDeltas(from: start, cost: cost, isBetter: <)
    }

    func lastDeltas(
        from start: SnapshotID = .nothing,
        cost: (KnownDelta) -> UInt64,
        isBetter: (UInt64, UInt64) -> Bool
    ) -> [SnapshotID: KnownDelta] {
        var best: [SnapshotID: (cost: UInt64, last: KnownDelta?)] = [start: (0, nil)]
        let begin =
            start == .nothing ? 0 : (snapshots + forgotten).first { $0.id == start }?.generation
        for delta in deltas {
            // A delta leads upwards from the number that its start was reached with; whatever the
            // repository says, no path goes in a circle.
            guard let start = best[delta.head.from],
                (start.last?.name.to ?? begin).map({ $0 < delta.name.to }) ?? false,
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
        by lastDeltas: [SnapshotID: KnownDelta]
    ) -> [KnownDelta]? {
        guard lastDeltas[id] != nil || id == .nothing else { return nil }
        var path: [KnownDelta] = []
        var current = id
        while let delta = lastDeltas[current] {
            path.append(delta)
            current = delta.head.from
        }
        return path.reversed()
    }
}
