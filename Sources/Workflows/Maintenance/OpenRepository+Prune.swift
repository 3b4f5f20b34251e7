internal import BlockModel
internal import Logging
internal import Maintenance
internal import ObjectStore
internal import Repository
internal import RepositoryFormat
package import RepositoryModel
package import SnapshotService

extension OpenRepository {
    /// Gives back the space of blocks that no snapshot needs.
    ///
    /// - Parameters:
    ///   - options: how much may be left.
    ///   - isDryRun: whether nothing is changed but the index.
    ///   - planned: gets what is going to be done, and how the live counts were brought up to date.
    ///   - progress: gets bytes of packs done with, and of all that there are to do.
    /// - Returns: what was done; nil in a dry run, and where there was nothing to do.
    /// - Throws: ``RepositoryError``: `locked` while anything else uses the repository, `damaged` where it
    ///   is not known what is needed.
    package func prune(
        _ options: PruneOptions,
        isDryRun: Bool,
        planned: (PruneForecast, LiveCountReport) -> Void,
        progress: (UInt64, UInt64) -> Void
    ) throws -> PruneSummary? {
        try retryingWithFreshIndex {
            try pruneOnce(options, isDryRun: isDryRun, planned: planned, progress: progress)
        }
    }

    private func pruneOnce(
        _ options: PruneOptions,
        isDryRun: Bool,
        planned: (PruneForecast, LiveCountReport) -> Void,
        progress: (UInt64, UInt64) -> Void
    ) throws -> PruneSummary? {
        if !isDryRun {
            try repository.requireWritable()
            useReserveIfFull()
        }
        defer { if !isDryRun { repository.store.fillReserve() } }
        func work(_ hold: Hold?) throws -> PruneSummary? {
            try prune(options, isDryRun ? nil : hold, planned, progress)
        }
        return try isDryRun
            ? withReadingHold(purpose: "prune", work)
            : withHold(.repository, .exclusive, purpose: "prune", work)
    }

    /// Plans, and does it where there is a hold for that.
    private func prune(
        _ options: PruneOptions,
        _ hold: Hold?,
        _ planned: (PruneForecast, LiveCountReport) -> Void,
        _ progress: (UInt64, UInt64) -> Void
    ) throws -> PruneSummary? {
        if hold != nil {
            for timeline in try timelines()
            where repository.removingHiddenPays(timeline)
                || timeline.isSound && timeline.unproved.contains(where: \.isFalse)
            {
                _ = try forget(
                    [], of: timeline, isThorough: repository.removingHiddenPays(timeline))
            }
        }
        let prune = Prune(
            repository: repository, index: try currentIndex(), options: options,
            identifiers: identifiers, now: clock.steady)
        prune.packByteTarget = sizes.packByteTarget
        prune.batchByteCount = sizes.repackByteTarget
        prune.sleep = clock.sleep
        if let hold { prune.renewHold = { [clock] in try? hold.renew(now: clock.steady()) } }
        let plan = try whileListed { try prune.plan() }
        for pack in prune.falsePacks {
            let name = ObjectNames.pack(pack)
            logger.warning("\(name) does not match its table; its claims are ignored")
        }
        if let count = prune.liveCountReport.differenceCount, count > 0 {
            let packs = Human.count(count, "pack")
            logger.warning("the count of needed blocks was wrong for \(packs) and was redone")
        }
        for object in prune.foreign {
            logger.warning("\(object.name) is kept: \(object.reason)")
        }
        planned(plan.forecast, prune.liveCountReport)
        guard let hold else { return nil }
        let total = plan.deadByteCount + plan.repackByteCount
        return try prune.run(plan, hold: hold) { progress($0, total) }
    }
}
