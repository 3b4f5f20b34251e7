package import BlockModel
internal import ObjectStore
internal import RepositoryFormat

/// What doing away with forgotten snapshots did.
package struct RemovalSummary: Hashable, Sendable {
    /// Snapshots whose deltas are gone.
    package var removedCount = 0
    /// Snapshots that are hidden, and whose deltas wait until it pays to merge them.
    package var waitingCount = 0
    package var mergedCount = 0
    package var deletedCount = 0

    package init() {}
}

extension Repository {
    /// Hides snapshots for good.
    ///
    /// The volume is held exclusively since `timeline` was listed.
    package func hide(
        _ snapshots: [SnapshotID],
        of timeline: Timeline,
        time: Timestamp,
        identifiers: any IdentifierSource
    ) throws {
        try requireWritable()
        // What an index remembers of the listing is not asked: the deltas are.
        if !snapshots.isEmpty { try requireSound(try self.timeline(of: timeline.volume)) }
        for snapshot in snapshots {
            guard snapshot != timeline.tip?.id else {
                throw RepositoryError(
                    .failed, "the newest snapshot cannot be forgotten: the next one builds on it")
            }
            try add(
                Note(kind: .forgotten, time: time, texts: []), on: snapshot, of: timeline.volume,
                identifiers: identifiers)
        }
    }

    /// Merges and deletes deltas of hidden snapshots, where that pays, or everywhere if `isThorough`.
    ///
    /// The volume is held exclusively.
    ///
    /// Nothing is deleted before a listing shows that every snapshot that is not hidden can do without.
    /// Deltas that begin at a removed snapshot go before those that lead to it, so that what is there when
    /// this stops can be reached; what a crash of the machine brings back all the same is known by the
    /// note that its start is forgotten.
    ///
    /// - Parameters:
    ///   - volume: the volume.
    ///   - isThorough: whether also what does not pay is done.
    ///   - identifiers: gives new ids.
    ///   - partByteLimit: largest part of a merged map.
    ///   - prove: throws unless a merged delta says what those that it stands for say.
    ///   - willDelete: hears of every delta before it is deleted.
    /// - Returns: what was done.
    /// - Throws: ``RepositoryError`` of kind `damaged` when the volume is: nothing is deleted there then.
    package func removeHidden(
        of volume: VolumeName,
        isThorough: Bool,
        identifiers: any IdentifierSource,
        partByteLimit: Int = Format.partByteLimit,
        prove: (KnownDelta, Timeline) throws -> Void,
        willDelete: (KnownDelta) throws -> Void
    ) throws -> RemovalSummary {
        try requireWritable()
        var summary = RemovalSummary()
        while true {
            let timeline = try timeline(of: volume)
            try requireSound(timeline)
            // The marker names the newest, which stays, before any other goes.
            _ = try prepareMarkers(timeline)
            let plan = ForgetPlan(timeline, isThorough: isThorough)
            summary.waitingCount = timeline.forgotten.count - plan.removed.count
            guard !plan.removed.isEmpty || !timeline.leftovers.isEmpty else {
                try deleteLeftNotes(timeline)
                return summary
            }
            var proved: Set<DeltaName> = []
            for merge in plan.merges {
                var merger = try DeltaMerge(merge.deltas, of: self)
                let delta = try merger.write(
                    identifiers: identifiers, partByteLimit: partByteLimit)
                do {
                    try prove(delta, timeline)
                } catch {
                    // Nothing may come to rely on it.
                    try store.delete(delta.name.objectName, .durable)
                    throw error
                }
                proved.insert(delta.name)
                summary.mergedCount += 1
            }
            // One that was written before a stop was not proved, or not yet.
            let generations = Set(
                timeline.forgotten.filter { plan.removed.contains($0.id) }.map(\.generation))
            for delta in timeline.deltas
            where !proved.contains(delta.name)
                && generations.contains(where: { $0 > delta.name.from && $0 < delta.name.to })
            {
                try prove(delta, timeline)
            }
            summary.deletedCount += try delete(plan.removed, of: volume, willDelete)
            summary.removedCount += plan.removed.count
        }
    }

    private func requireSound(_ timeline: Timeline) throws {
        guard !timeline.isSound else { return }
        throw RepositoryError(
            .damaged,
            "volume '\(timeline.volume)' has damage, and nothing of it is forgotten or deleted until "
                + "that is mended; run 'varve repair'")
    }

    /// Whether a prune gains more from doing away with hidden snapshots than that writes.
    package func removingHiddenPays(_ timeline: Timeline) -> Bool {
        timeline.isSound && ForgetPlan.freesMoreThanItWrites(timeline)
    }

    /// Deletes the deltas of the removed snapshots; gives how many.
    private func delete(
        _ removed: Set<SnapshotID>,
        of volume: VolumeName,
        _ willDelete: (KnownDelta) throws -> Void
    ) throws -> Int {
        let timeline = try timeline(of: volume)
        guard timeline.isSound, ForgetPlan.isSafe(timeline, removing: removed) else {
            throw RepositoryError(
                .failed,
                "the listing of volume '\(volume)' does not show that its snapshots can do without "
                    + "the forgotten ones; nothing was deleted: run 'varve check'")
        }
        // A marker that a crash left tells of a snapshot that is to go.
        for name in timeline.markerNames {
            guard let generation = ObjectNames.newestGeneration(of: name),
                generation > 0, let newest = timeline.newest, generation < newest.generation
            else { continue }
            try store.delete(name, .durable)
        }
        let left = Set(timeline.leftovers.map(\.name))
        let starting = timeline.deltas.filter {
            removed.contains($0.head.from) || left.contains($0.name)
        }
        let ending = timeline.deltas.filter {
            removed.contains($0.head.to) && !removed.contains($0.head.from)
                && !left.contains($0.name)
        }
        for delta in starting + ending { try willDelete(delta) }
        for deltas in [starting, ending] {
            // The last one first, so that what is left can be reached; they are all in one directory.
            for (position, delta) in deltas.reversed().enumerated() {
                try store.delete(
                    delta.name.objectName, position == deltas.count - 1 ? .durable : .eventual)
            }
        }
        for part in (starting + ending).flatMap(\.head.parts) {
            try store.delete(ObjectNames.part(part.id), .eventual)
        }
        return starting.count + ending.count
    }

    /// Deletes what is said of snapshots that are gone.
    func deleteLeftNotes(_ timeline: Timeline) throws {
        let known = Set((timeline.snapshots + timeline.forgotten).map(\.id))
        for (snapshot, standing) in try standings(of: timeline.volume)
        where !known.contains(snapshot) {
            // The note that it is forgotten counts for as long as a crash may bring a delta back.
            for name in standing.noteNames { try store.delete(name, .eventual) }
        }
    }
}
