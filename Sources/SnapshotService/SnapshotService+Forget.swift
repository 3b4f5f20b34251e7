package import BlockModel
internal import LinuxIO
internal import Logging
package import Repository
internal import RepositoryFormat
package import Retention

/// What is to become of one snapshot, and why.
package struct RetentionVerdict: Sendable {
    package let snapshot: Timeline.Snapshot
    /// Why it is kept; none for one that is to be forgotten.
    package let reasons: [String]

    package var isKept: Bool { !reasons.isEmpty }
}

extension SnapshotService {
    /// What a policy says of each snapshot of a volume, oldest first.
    ///
    /// - Throws: what the repository throws.
    package func retention(
        _ policy: RetentionPolicy,
        of timeline: Timeline
    ) throws -> [RetentionVerdict] {
        let standings = try repository.standings(of: timeline.volume)
        let candidates = timeline.snapshots.map { snapshot in
            let standing = standings[snapshot.id] ?? Repository.Standing()
            var protection = standing.isProtected ? "protected" : nil
            if standing.hasUnreadableNote { protection = "a note on it cannot be read" }
            return RetentionCandidate(
                id: snapshot.id, generation: snapshot.generation, time: snapshot.facts.time,
                tags: Set(standing.tags ?? snapshot.facts.tags), protection: protection,
                isProved: standing.boot?.proof.result == .proved)
        }
        let decision = RetentionDecision(
            policy, candidates,
            calendar: ZoneCalendar { SystemClock.secondsAheadOfUTC(atSeconds: $0) },
            now: clock())
        return timeline.snapshots.map {
            RetentionVerdict(snapshot: $0, reasons: decision.reasons[$0.id] ?? [])
        }
    }

    /// Takes what forgetting on a volume needs: nobody else captures or forgets there meanwhile.
    package func holdForForgetting(_ volume: VolumeName) throws -> [Hold] {
        // What is going to be written is small, and frees more; a prune fills the reserve again.
        useReserveIfFull()
        return [
            try hold(.repository, .shared, purpose: "forget"),
            try hold(.volume(volume), .exclusive, purpose: "forget \(volume)"),
        ]
    }

    /// Hides snapshots of a volume, and does away with what that leaves, where it pays.
    ///
    /// The caller has what ``holdForForgetting(_:)`` gives.
    ///
    /// - Parameters:
    ///   - snapshots: those to forget.
    ///   - timeline: the volume, as it was listed under the hold.
    ///   - isThorough: whether also what does not pay is done.
    /// - Returns: what was done.
    /// - Throws: ``RepositoryError``, of kind `damaged` where the volume is.
    package func forget(
        _ snapshots: [SnapshotID],
        of timeline: Timeline,
        isThorough: Bool
    ) throws -> RemovalSummary {
        let identifiers = RandomIdentifiers()
        try repository.hide(
            snapshots, of: timeline, time: clock(), identifiers: identifiers)
        let summary = try repository.removeHidden(
            of: timeline.volume, isThorough: isThorough, identifiers: identifiers,
            prove: prove
        ) { delta in
            try index().takeOutOfAccount(delta, of: repository)
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
    package func consolidate(_ timeline: Timeline) throws {
        let count = try repository.consolidate(
            timeline, try index(), identifiers: RandomIdentifiers())
        if count > 0 { logger.info("\(count) short cuts for '\(timeline.volume)' were written") }
    }

    private func prove(_ delta: KnownDelta, of timeline: Timeline) throws {
        // The index knows each snapshot by another way than the maps that were merged.
        let index = try currentIndex()
        try index.bringForward(timeline, with: repository)
        guard try index.confirms(delta, of: repository) != false else {
            throw RepositoryError(
                .failed,
                "\(delta.name.objectName), merged of others, is not what the index has; nothing "
                    + "was deleted: run 'varve index rebuild' and 'varve check'")
        }
    }

    /// Protects a snapshot from being forgotten, or not any more.
    package func protect(_ selector: SnapshotSelector, _ isProtected: Bool) throws -> String {
        let hold = try hold(.repository, .shared, purpose: "protect")
        defer { withExtendedLifetime(hold) {} }
        let (timeline, snapshot) = try find(selector)
        try repository.setProtected(
            isProtected, on: snapshot.id, of: timeline.volume, time: clock(),
            identifiers: RandomIdentifiers())
        return "\(timeline.volume)@\(snapshot.generation)"
    }

    /// Changes the tags of a snapshot; gives them, and what it is called.
    package func changeTags(
        of selector: SnapshotSelector,
        _ change: ([String]) throws -> [String]
    ) throws -> (title: String, tags: [String]) {
        let hold = try hold(.repository, .shared, purpose: "tag")
        defer { withExtendedLifetime(hold) {} }
        let (timeline, snapshot) = try find(selector)
        let standing = try repository.standings(of: timeline.volume)[snapshot.id]
        let old = standing?.tags ?? snapshot.facts.tags
        let new = try change(old)
        if new != old {
            try repository.setTags(
                new, on: snapshot.id, of: timeline.volume, time: clock(),
                identifiers: RandomIdentifiers())
        }
        return ("\(timeline.volume)@\(snapshot.generation)", new)
    }
}
