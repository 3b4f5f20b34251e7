package import BlockModel
package import ObjectStore
internal import RepositoryFormat

/// The lists that a prune publishes of what it is going to delete, and what they mean for a commit.
extension Repository {
    /// Lists of prunes of this repository that run, or were killed.
    package func pruneLists() throws(ObjectStoreError) -> [String] {
        try parted(store.list(ObjectNames.pruning).filter(\.isObject).map(\.name)).own
    }

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

    /// Makes sure, just before a commit, that nothing that it relies on may have gone.
    ///
    /// `deadLists` is what ``dropPruneLists()`` gave under the same holds.
    package func verifyForCommit(
        _ holds: [Hold],
        now: Timestamp,
        ignoring deadLists: Set<String>
    ) throws {
        for hold in holds { try hold.verify(now: now) }
        // One that another version wrote for this repository counts as well.
        let lists = try store.list(ObjectNames.pruning).map(\.name)
        guard
            let list = try lists.first(where: {
                try !deadLists.contains($0) && foreign($0)?.isUseless != true
            })
        else { return }
        throw RepositoryError(
            .locked,
            "a prune is running (\(list)), so nothing was committed; run the command again "
                + "when it has ended: it will reuse what was stored")
    }
}
