package import BlockModel
internal import ObjectStore
package import Repository
internal import RepositoryFormat
package import RepositoryModel

extension Repository {
    /// Hides snapshots for good, or none of them where one must not be forgotten.
    ///
    /// The volume is held exclusively since `timeline` was listed.
    ///
    /// - Parameters:
    ///   - snapshots: those to hide.
    ///   - timeline: the volume.
    ///   - passesProtected: whether those that were protected meanwhile are left out, and not refused.
    ///   - time: now.
    ///   - identifiers: gives ids of notes.
    ///   - judge: gives a timeline with nothing but deltas that were proved.
    /// - Returns: those that were hidden.
    /// - Throws: ``RepositoryError``, of kind `damaged` when the volume is.
    @discardableResult
    package func hide(
        _ snapshots: [SnapshotID],
        of timeline: Timeline,
        passesProtected: Bool = false,
        time: Timestamp,
        identifiers: any IdentifierSource,
        judge: (Timeline) throws -> Timeline
    ) throws -> [SnapshotID] {
        try requireWritable()
        var snapshots = snapshots
        if passesProtected {
            let standings = try standings(of: timeline.volume)
            snapshots.removeAll {
                standings[$0]?.isProtected == true || standings[$0]?.mayBeProtected == true
            }
        }
        guard !snapshots.isEmpty else { return [] }
        // What an index remembers of the listing is not asked: the deltas are.
        try requireSound(judge(self.timeline(of: timeline.volume)))
        try requireForgettable(snapshots, of: timeline)
        for snapshot in snapshots {
            try add(
                Note(kind: .forgotten, time: time, texts: []), on: snapshot, of: timeline.volume,
                identifiers: identifiers)
        }
        return snapshots
    }

    /// Refuses to forget what is protected, and what the next snapshot builds on.
    package func requireForgettable(_ snapshots: [SnapshotID], of timeline: Timeline) throws {
        let standings = try standings(of: timeline.volume)
        for snapshot in snapshots {
            let generation = timeline.snapshot(snapshot).map { "\($0.generation)" }
            let title = "\(timeline.volume)@\(generation ?? snapshot.short)"
            guard standings[snapshot]?.isProtected != true else {
                throw RepositoryError(
                    .failed, "\(title) is protected; 'varve unprotect \(title)' allows it")
            }
            guard standings[snapshot]?.mayBeProtected != true else {
                throw RepositoryError(
                    .failed,
                    "\(title) may be protected: a note on it cannot be read; 'varve unprotect \(title)' "
                        + "allows it")
            }
            guard snapshot != timeline.tip?.id else {
                throw RepositoryError(
                    .failed,
                    "\(title) is the newest of its volume: the next backup builds on it, so it "
                        + "cannot be forgotten")
            }
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
    ///   - now: the time.
    ///   - judge: gives the timeline with nothing but deltas that were proved: others are neither merged
    ///     nor relied on, and false ones are deleted where another path leads to their snapshot.
    ///   - prove: throws unless a merged delta says what those that it stands for say.
    ///   - willDelete: hears of every delta before it is deleted.
    /// - Returns: what was done; nothing where this user may not delete: who may does it the next time.
    /// - Throws: ``RepositoryError`` of kind `damaged` when the volume is: nothing is deleted there then.
    package func removeHidden(
        of volume: VolumeName,
        isThorough: Bool,
        identifiers: any IdentifierSource,
        partByteLimit: Int = Format.partByteLimit,
        now: Timestamp,
        judge: (Timeline) throws -> Timeline,
        prove: (KnownDelta, Timeline) throws -> Void,
        willDelete: (KnownDelta) throws -> Void
    ) throws -> RemovalSummary {
        try requireWritable()
        var summary = RemovalSummary()
        // Deltas that were proved once, and whose maps cannot be read any more.
        var unreadable: [DeltaName: Timeline.Unproved] = [:]
        var deleted: [KnownDelta] = []
        // A part that is left when this fails, the next prune deletes.
        func finish() throws -> RemovalSummary {
            try deleteParts(of: deleted)
            return summary
        }
        func judged(_ timeline: Timeline) throws -> Timeline {
            try judge(timeline).excluding(Array(unreadable.values))
        }
        removal: while true {
            let timeline = try judged(timeline(of: volume))
            try requireSound(timeline)
            if !timeline.unproved.isEmpty, try mayDelete(now: now) {
                let gone = try deleteFalse(timeline, willDelete)
                summary.falseCount += gone.count
                deleted += gone
            }
            // The marker names the newest, which stays, before any other goes.
            _ = try prepareMarkers(timeline)
            try dropSupersededMarkers(timeline)
            let plan = ForgetPlan(timeline, isThorough: isThorough)
            summary.waitingCount = timeline.forgotten.count - plan.removed.count
            guard !plan.removed.isEmpty || !timeline.leftovers.isEmpty else {
                try deleteLeftNotes(timeline)
                return try finish()
            }
            // Found out before anything is written that is to stand for what is deleted.
            guard try mayDelete(now: now) else {
                summary.waitingCount = timeline.forgotten.count
                summary.isRefused = true
                return try finish()
            }
            var proved: Set<DeltaName> = []
            for merge in plan.merges {
                let delta: KnownDelta
                do {
                    var merger = try DeltaMerge(merge.deltas, of: self)
                    delta = try merger.write(
                        identifiers: identifiers, partByteLimit: partByteLimit)
                } catch let error as UnreadableDelta {
                    // Another path may do: what is relied on is verified again.
                    unreadable[error.delta.name] = Timeline.Unproved(error)
                    continue removal
                }
                do {
                    try prove(delta, timeline)
                } catch {
                    // It is of use to nobody. What kept it from being proved is told in any case.
                    _ = try? store.deleteIfAllowed(delta.name.objectName, .durable)
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
                do {
                    try prove(delta, timeline)
                } catch let error as RepositoryError where error.kind == .damaged {
                    unreadable[delta.name] = Timeline.Unproved(
                        delta: delta, reason: error.cause, isFalse: false)
                    continue removal
                }
            }
            let gone = try delete(plan.removed, of: volume, judged, willDelete)
            deleted += gone
            summary.deletedCount += gone.count
            summary.removedCount += plan.removed.count
        }
    }

    private func requireSound(_ timeline: Timeline) throws {
        guard !timeline.isSound else { return }
        throw RepositoryError(
            .damaged,
            "volume '\(timeline.volume)' has damage, so nothing of it is forgotten or deleted "
                + "until it is repaired; run 'varve repair'")
    }

    /// Whether a prune gains more from doing away with hidden snapshots than that writes.
    package func removingHiddenPays(_ timeline: Timeline) -> Bool {
        timeline.isSound && ForgetPlan.freesMoreThanItWrites(timeline)
    }

    /// Deletes the deltas of the removed snapshots, and gives them.
    ///
    /// Those that could not be read are among them: a path of others leads to each snapshot that stays.
    private func delete(
        _ removed: Set<SnapshotID>,
        of volume: VolumeName,
        _ judge: (Timeline) throws -> Timeline,
        _ willDelete: (KnownDelta) throws -> Void
    ) throws -> [KnownDelta] {
        let timeline = try judge(timeline(of: volume))
        guard timeline.isSound, ForgetPlan.isSafe(timeline, removing: removed) else {
            throw RepositoryError(
                .failed,
                "the listing of volume '\(volume)' does not prove that its snapshots can do "
                    + "without the forgotten ones; nothing was deleted: run 'varve check'")
        }
        // A marker that a crash left tells of a snapshot that is to go.
        let ends = timeline.ends()
        for name in timeline.markerNames {
            guard let generation = ObjectNames.newestGeneration(of: name),
                generation > 0, let newest = timeline.newest, generation < newest.generation,
                !timeline.marksAny(of: ends, name)
            else { continue }
            try store.delete(name, .durable)
        }
        let left = Set(timeline.leftovers.map(\.name))
        let all = timeline.deltas + timeline.unproved.filter { !$0.isFalse }.map(\.delta)
        let starting = all.filter {
            removed.contains($0.head.from) || left.contains($0.name)
        }
        let ending = all.filter {
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
        return starting + ending
    }

    /// Deletes false deltas whose snapshot another path leads to, and gives them.
    ///
    /// - Parameters:
    ///   - timeline: the volume with nothing but deltas that were proved.
    ///   - willDelete: hears of every delta before it is deleted.
    /// - Returns: those that are gone.
    /// - Throws: what the store throws, except a refusal.
    func deleteFalse(
        _ timeline: Timeline,
        _ willDelete: (KnownDelta) throws -> Void
    ) throws -> [KnownDelta] {
        let deltas = timeline.unproved.filter { $0.isFalse }.map(\.delta).filter {
            timeline.isReached($0.head.to)
        }
        var gone: [KnownDelta] = []
        for delta in deltas {
            try willDelete(delta)
            guard try store.deleteIfAllowed(delta.name.objectName, .durable) else { break }
            gone.append(delta)
        }
        return gone
    }

    /// Deletes the parts of deltas that are gone: those that no other delta names.
    ///
    /// A delta may name any, of whatever volume.
    func deleteParts(of deltas: [KnownDelta]) throws {
        let parts = Set(deltas.flatMap(\.head.parts).map(\.id))
        guard !parts.isEmpty else { return }
        let timelines = try timelines()
        // What cannot be read may name them too; a prune deletes what no delta names.
        guard timelines.allSatisfy(\.unreadable.isEmpty) else { return }
        let named = Set(timelines.flatMap(\.allDeltas).flatMap(\.head.parts).map(\.id))
        for part in parts.subtracting(named).sorted() {
            guard try store.deleteIfAllowed(ObjectNames.part(part), .eventual) else { return }
        }
    }

    /// Deletes what is said of snapshots that are gone.
    func deleteLeftNotes(_ timeline: Timeline) throws {
        let known = Set((timeline.snapshots + timeline.forgotten).map(\.id)).union(
            timeline.possibleLosses.compactMap(\.id))
        for (snapshot, standing) in try standings(of: timeline.volume)
        where !known.contains(snapshot) {
            // The note that it is forgotten counts for as long as a crash may bring a delta back.
            for name in standing.noteNames { try store.deleteIfAllowed(name, .eventual) }
        }
    }
}
