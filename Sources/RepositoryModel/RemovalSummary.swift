/// What doing away with forgotten snapshots did.
package struct RemovalSummary: Hashable, Sendable {
    /// Snapshots whose deltas are gone.
    package var removedCount = 0
    /// Snapshots that are hidden, and whose deltas wait until it pays to merge them.
    package var waitingCount = 0
    package var mergedCount = 0
    package var deletedCount = 0
    /// Whether nothing could be removed, since this user may not delete from the store.
    package var isRefused = false
    /// False deltas that were deleted.
    package var falseCount = 0

    package init() {}
}
