package import BlockModel
internal import Logging
internal import ObjectStore
package import Repository
package import RepositoryFormat
package import RepositoryModel

/// What this process holds while it works; it is given back when the work ends, however that is.
extension OpenRepository {
    /// Runs `body` while this process holds `scope`; the hold is renewed meanwhile.
    ///
    /// - Parameters:
    ///   - scope: what nobody else may have meanwhile, if the hold is exclusive.
    ///   - kind: whether others may share it.
    ///   - purpose: what is done, for others who wait for it.
    ///   - body: the work.
    /// - Returns: what `body` gives.
    /// - Throws: ``RepositoryError`` of kind `locked` while somebody has a hold that this one cannot stand
    ///   beside; what `body` throws.
    package func withHold<Result>(
        _ scope: HoldScope,
        _ kind: HoldKind,
        purpose: String,
        _ body: (Hold) throws -> Result
    ) throws -> Result {
        let hold = try hold(scope, kind, purpose: purpose)
        return try withExtendedLifetime(hold) { try body(hold) }
    }

    /// Runs `body` while what it reads is kept; without a hold where the repository cannot be written.
    package func withReadingHold<Result>(
        purpose: String,
        _ body: (Hold?) throws -> Result
    ) throws -> Result {
        let hold = try holdForReading(purpose: purpose)
        return try withExtendedLifetime(hold) { try body(hold) }
    }

    /// Runs `body` while what it reads of several repositories is kept.
    package static func withReadingHolds<Result>(
        _ repositories: [OpenRepository],
        purpose: String,
        _ body: () throws -> Result
    ) throws -> Result {
        let holds = try repositories.map { try $0.holdForReading(purpose: purpose) }
        return try withExtendedLifetime(holds) { try body() }
    }

    /// Runs `body` while nobody else writes a volume, and nobody prunes.
    ///
    /// - Parameters:
    ///   - volume: the volume.
    ///   - purpose: what is done, for others who wait for it.
    ///   - detail: the same for those who want the volume; made of both if not given.
    ///   - body: the work; it gets the hold on the repository, and that on the volume.
    /// - Returns: what `body` gives.
    /// - Throws: ``RepositoryError`` of kind `locked` while others work there; what `body` throws.
    package func withVolumeHolds<Result>(
        _ volume: VolumeName,
        purpose: String,
        detail: String? = nil,
        _ body: ([Hold]) throws -> Result
    ) throws -> Result {
        try withHold(.repository, .shared, purpose: purpose) { shared in
            try withHold(
                .volume(volume), .exclusive, purpose: detail ?? "\(purpose) \(volume)"
            ) { exclusive in try body([shared, exclusive]) }
        }
    }

    /// What holds of who forgets say, before the volume.
    package static let forgettingPurpose = "forget"

    /// Runs `body` while nobody else captures or forgets on a volume.
    package func withForgettingHolds<Result>(
        _ volume: VolumeName,
        _ body: () throws -> Result
    ) throws -> Result {
        // What is going to be written is small, and frees more; a prune fills the reserve again.
        useReserveIfFull()
        return try withVolumeHolds(
            volume, purpose: "forget", detail: "\(Self.forgettingPurpose) \(volume)"
        ) { _ in try body() }
    }

    /// Takes a hold; a repository that cannot be written is read without one.
    private func hold(_ scope: HoldScope, _ kind: HoldKind, purpose: String) throws -> Hold {
        let hold = try repository.hold(
            scope, kind, purpose: purpose, owner: owner, now: clock.steady)
        holdKeeper?.keep(hold)
        return hold
    }

    /// Gives up what the repository sets aside, if that is what is left of its disk.
    package func useReserveIfFull() {
        if repository.store.releaseReserve() {
            logger.info("the repository is nearly full: its reserve is in use")
        }
    }

    func holdForReading(purpose: String) throws -> Hold? {
        do {
            return try hold(.repository, .shared, purpose: purpose)
        } catch let error as ObjectStoreError
            where error.reason == .denied || error.reason == .noSpace
        {
            logger.info("the repository cannot be written, so it is read without a hold: \(error)")
            return nil
        }
    }

    /// Removes holds whose owners are gone, or all of them.
    package func unlock(all: Bool) throws -> (removed: [HoldReport], kept: [HoldReport]) {
        var removed: [HoldReport] = []
        var kept: [HoldReport] = []
        for hold in try repository.allHolds(owner: owner, now: clock.steady()) {
            if hold.state != .live || all {
                guard try repository.remove(hold) else {
                    throw ServiceError(
                        .failed,
                        "this user may not delete \(hold.name) (\(hold.state.reason ?? "in use")); "
                            + "run 'varve unlock' as the owner of the repository")
                }
                removed.append(Self.report(hold))
            } else {
                kept.append(Self.report(hold))
            }
        }
        return (removed, kept)
    }

    private static func report(_ hold: ForeignHold) -> HoldReport {
        HoldReport(
            name: hold.name, purpose: hold.record?.purpose, host: hold.record?.host,
            processID: hold.record?.processID, isLocked: hold.isLocked, reason: hold.state.reason)
    }
}
