internal import BlockModel
internal import ObjectStore
internal import Repository
internal import RepositoryFormat

/// What a prune finds that others have left.
extension Repository {
    /// Deletes what clients have left which may not delete, under an exclusive hold.
    ///
    /// - Throws: ``RepositoryError`` where this user may not delete either.
    func clearUpAfterClients(cache: any DeltaHeadCache, now: Timestamp) throws {
        guard try mayDelete(now: now) else {
            throw RepositoryError(
                .failed,
                "this user may not delete from the repository at \(store.location), so nothing "
                    + "was pruned; run 'varve prune' as a user who may delete")
        }
        for timeline in try timelines(cache: cache) { try dropSupersededMarkers(timeline) }
    }
}
