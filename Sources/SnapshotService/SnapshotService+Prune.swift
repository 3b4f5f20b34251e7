internal import BlockModel
internal import Logging
internal import ObjectStore
package import Repository
internal import RepositoryFormat

extension SnapshotService {
    /// Gives back the space of blocks that no snapshot needs.
    ///
    /// - Parameters:
    ///   - options: how much may be left.
    ///   - isDryRun: whether nothing is changed but the index.
    ///   - planned: gets what is going to be done, and how the account of live blocks was brought forward.
    ///   - progress: gets bytes of packs done with, and of all that there are to do.
    /// - Returns: what was done; nil in a dry run, and where there was nothing to do.
    /// - Throws: ``RepositoryError``: `locked` while anything else uses the repository, `damaged` where it
    ///   is not known what is needed.
    package func prune(
        _ options: PruneOptions,
        isDryRun: Bool,
        planned: (PrunePlan, AccountReport) -> Void,
        progress: (UInt64, UInt64) -> Void
    ) throws -> PruneSummary? {
        if !isDryRun {
            try repository.requireWritable()
            useReserveIfFull()
        }
        defer { if !isDryRun { repository.store.fillReserve() } }
        let hold =
            isDryRun
            ? try holdForReading(purpose: "prune")
            : try hold(.repository, .exclusive, purpose: "prune")
        defer { withExtendedLifetime(hold) {} }
        if !isDryRun {
            for timeline in try timelines() where repository.removingHiddenPays(timeline) {
                _ = try forget([], of: timeline, isThorough: true)
            }
        }
        let prune = Prune(
            repository: repository, index: try currentIndex(), options: options,
            identifiers: RandomIdentifiers(), now: Moment.now)
        let plan = try whileListed { try prune.plan() }
        if let count = prune.accountReport.differenceCount, count > 0 {
            let packs = Human.count(count, "pack")
            logger.warning("the account of needed blocks was wrong for \(packs), and was made anew")
        }
        planned(plan, prune.accountReport)
        guard !isDryRun, let hold else { return nil }
        let total = plan.deadByteCount + plan.repackByteCount
        return try prune.run(plan, hold: hold) { progress($0, total) }
    }
}
