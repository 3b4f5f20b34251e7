internal import BlockModel
internal import ObjectStore
internal import RepositoryFormat

/// What a prune finds that others have left.
extension Repository {
    /// Deletes what prunes that were killed have published; gives what this user may not delete.
    ///
    /// The caller has a hold on the repository, beside which no prune runs: what is left is as dead
    /// as what is gone.
    @discardableResult
    package func dropPruneLists() throws -> Set<String> {
        var left: Set<String> = []
        for list in try pruneLists()
        where try !store.deleteIfAllowed(list, .eventual) { left.insert(list) }
        return left
    }

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
