package import BlockModel
internal import LinuxIO
internal import Logging
internal import Maintenance
package import Repository
internal import RepositoryFormat
internal import RepositoryIndex
package import RepositoryModel
package import Retention
package import SnapshotService

/// What is to become of one snapshot, and why.
package struct RetentionVerdict: Sendable {
    package let snapshot: Snapshot
    /// Why it is kept; none for one that is to be forgotten.
    package let reasons: [String]

    package var isKept: Bool { !reasons.isEmpty }
}

extension OpenRepository {
    /// What a policy says of each snapshot of a volume, oldest first.
    ///
    /// - Throws: what the repository throws.
    package func retention(
        _ policy: RetentionPolicy,
        of timeline: Timeline
    ) throws -> [RetentionVerdict] {
        let standings = try repository.standings(of: timeline.volume)
        let order = order(of: timeline)
        let candidates = timeline.snapshots.map { snapshot in
            let standing = standings[snapshot.id] ?? Standing()
            var misfit = order.outOfTime[snapshot.id]
            if order.beside.contains(snapshot.id) { misfit = "it is on another branch" }
            var protection = standing.isProtected ? "protected" : nil
            if protection == nil, order.witnesses.contains(snapshot.id) {
                protection = "it shows that others are out of time"
            }
            if standing.hasUnreadableNote { protection = "a note on it cannot be read" }
            return RetentionCandidate(
                id: snapshot.id, generation: snapshot.generation, time: snapshot.facts.time,
                tags: Set(standing.tags ?? snapshot.facts.tags), protection: protection,
                misfit: misfit, isProved: standing.boot?.proof.result == .proved)
        }
        let decision = RetentionDecision(
            policy, candidates,
            calendar: ZoneCalendar { SystemClock.secondsAheadOfUTC(atSeconds: $0) },
            now: clock.now())
        return timeline.snapshots.map {
            RetentionVerdict(snapshot: $0, reasons: decision.reasons[$0.id] ?? [])
        }
    }

    /// Hides snapshots of a volume, and does away with what that leaves, where it pays.
    ///
    /// To be called in ``withForgettingHolds(_:_:)``.
    ///
    /// - Parameters:
    ///   - snapshots: those to forget.
    ///   - timeline: the volume, as it was listed under the hold.
    ///   - isThorough: whether also what does not pay is done.
    ///   - isByName: whether each was asked for: one that is protected by now is refused then, and left
    ///     out otherwise.
    /// - Returns: what was done.
    /// - Throws: ``RepositoryError``, of kind `damaged` where the volume is.
    package func forget(
        _ snapshots: [SnapshotID],
        of timeline: Timeline,
        isThorough: Bool,
        isByName: Bool = false
    ) throws -> RemovalSummary {
        let judge = { [self] (timeline: Timeline) in
            let index = try index()
            return try index.isJudged(timeline)
                ? index.withoutFalse(timeline)
                : currentIndex().judged(timeline, with: repository)
        }
        _ = try retryingWithFreshIndex {
            try repository.hide(
                snapshots, of: timeline, passesProtected: !isByName, time: clock.now(),
                identifiers: identifiers, judge: judge)
        }
        let summary = try retryingWithFreshIndex {
            try repository.removeHidden(
                of: timeline.volume, isThorough: isThorough, identifiers: identifiers,
                partByteLimit: sizes.partByteLimit, now: clock.steady(), judge: judge, prove: prove
            ) { delta in
                try index().removeFromLiveCounts(delta, of: repository)
            }
        }
        if summary.isRefused {
            let text =
                "this user may not delete from the repository: forgotten snapshots are hidden, and "
                + "their deltas are deleted when a user who may delete forgets or prunes"
            logger.warning("\(text)")
        }
        if summary.falseCount > 0 {
            let deltas = Human.count(summary.falseCount, "delta")
            let volume = timeline.volume
            logger.warning("\(deltas) of '\(volume)' were proved false and deleted")
        }
        if Repository.mayNeedConsolidation(timeline),
            let left = try timelines(timeline.volume).first
        {
            try consolidate(left)
        }
        return summary
    }

    /// Keeps the way to the newest snapshot of a volume short; the caller holds it exclusively since it was
    /// listed.
    ///
    /// - Parameters:
    ///   - timeline: the volume.
    ///   - lengthLimit: deltas that the way may have; nil for the standard.
    /// - Returns: how many short cuts were written.
    /// - Throws: what the repository throws.
    @discardableResult
    package func consolidate(_ timeline: Timeline, lengthLimit: Int? = nil) throws -> Int {
        let count = try retryingWithFreshIndex {
            try repository.consolidate(
                timeline, try index(), identifiers: identifiers,
                partByteLimit: sizes.partByteLimit, lengthLimit: lengthLimit)
        }
        if count > 0 { logger.info("\(count) short cuts for '\(timeline.volume)' were written") }
        return count
    }

    private func prove(_ delta: KnownDelta, of timeline: Timeline) throws {
        // The index knows each snapshot by another way than the maps that were merged.
        let index = try currentIndex()
        guard try index.proves(delta, in: timeline, with: repository) else {
            guard index.isNew else { throw index.wrong("a merged delta does not match it") }
            throw RepositoryError(
                .failed,
                "\(delta.name.objectName), a merged delta, does not match the index; nothing "
                    + "was deleted: run 'varve index rebuild' and 'varve check'")
        }
    }
}
