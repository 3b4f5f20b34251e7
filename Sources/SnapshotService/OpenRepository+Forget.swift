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
            let standing = standings[snapshot.id] ?? Repository.Standing()
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

    /// How the snapshots of a volume stand to each other and to the clock.
    package func order(of timeline: Timeline) -> SnapshotOrder {
        // An index that cannot be read remembers nothing; what it would have known is kept then.
        let memory = try? index().branchMemory(of: timeline)
        return SnapshotOrder(timeline, memory: memory ?? BranchMemory(), now: clock.now())
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
        _ = try mendingIndex {
            try repository.hide(
                snapshots, of: timeline, passesProtected: !isByName, time: clock.now(),
                identifiers: identifiers, judge: judge)
        }
        let summary = try mendingIndex {
            try repository.removeHidden(
                of: timeline.volume, isThorough: isThorough, identifiers: identifiers,
                partByteLimit: sizes.partByteLimit, now: clock.steady(), judge: judge, prove: prove
            ) { delta in
                try index().takeOutOfAccount(delta, of: repository)
            }
        }
        if summary.isRefused {
            let text =
                "this user may not delete from the repository: what is forgotten is hidden, and its "
                + "deltas go when somebody who may delete forgets or prunes"
            logger.warning("\(text)")
        }
        if summary.falseCount > 0 {
            let deltas = Human.count(summary.falseCount, "delta")
            let volume = timeline.volume
            logger.warning("\(deltas) of '\(volume)' proved false and were deleted")
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
        let count = try mendingIndex {
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
            guard index.isNew else { throw index.wrong("a merged delta is not what it has") }
            throw RepositoryError(
                .failed,
                "\(delta.name.objectName), merged of others, is not what the index has; nothing "
                    + "was deleted: run 'varve index rebuild' and 'varve check'")
        }
    }

    /// Protects a snapshot from being forgotten, or not any more.
    package func protect(_ selector: SnapshotSelector, _ isProtected: Bool) throws -> String {
        try withHold(.repository, .shared, purpose: "protect") { hold in
            let (timeline, snapshot) = try find(selector)
            let title = "\(timeline.volume)@\(snapshot.generation)"
            try repository.setProtected(
                isProtected, on: snapshot.id, of: timeline.volume, time: clock.now(),
                identifiers: identifiers)
            guard isProtected else { return title }
            // Who forgets has taken its hold before it looked for notes: either it sees this note, or its
            // hold is seen here.
            try waitForForgetting(timeline.volume, beside: hold)
            guard try timelines(timeline.volume).first?.snapshot(snapshot.id) != nil else {
                throw ServiceError(.failed, "\(title) was forgotten while it was being protected")
            }
            return title
        }
    }

    private func waitForForgetting(_ volume: VolumeName, beside hold: Hold) throws {
        for _ in 0..<Self.forgettingPatience {
            // All are listed, so that `hold` shows the store's clock.
            let isUnderWay = try repository.allHolds(now: clock.steady(), beside: hold).contains {
                $0.state == .live && $0.scopeDirectory == HoldScope.volume(volume).directory
                    && $0.record?.purpose.hasPrefix(Self.forgettingPurpose) == true
            }
            guard isUnderWay else { return }
            if Interruption.isRequested { throw Interrupted() }
            clock.sleep(100)
        }
        throw ServiceError(
            .locked,
            "snapshots of '\(volume)' are being forgotten, and it is not known whether the "
                + "protection came in time; run the command again when that has ended")
    }

    /// Tenths of a second that a protection waits for who forgets.
    private static let forgettingPatience = 600
    package static let forgettingPurpose = "forget"

    /// Changes the tags of a snapshot; gives them, and what it is called.
    package func changeTags(
        of selector: SnapshotSelector,
        _ change: ([String]) throws -> [String]
    ) throws -> (title: String, tags: [String]) {
        try withHold(.repository, .shared, purpose: "tag") { _ in
            let (timeline, snapshot) = try find(selector)
            let standing = try repository.standings(of: timeline.volume)[snapshot.id]
            let old = standing?.tags ?? snapshot.facts.tags
            let new = try change(old)
            if new != old {
                try repository.setTags(
                    new, on: snapshot.id, of: timeline.volume, time: clock.now(),
                    identifiers: identifiers)
            }
            return ("\(timeline.volume)@\(snapshot.generation)", new)
        }
    }
}
