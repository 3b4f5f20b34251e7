/// What a snapshot takes of the packs.
package struct SnapshotCost: Hashable, Sendable {
    /// Bytes that it would take if it were the only one.
    package var aloneByteCount: UInt64 = 0
    /// Bytes that only it needs: what a prune gives back when it is gone.
    package var ownByteCount: UInt64 = 0

    package init() {}
}
