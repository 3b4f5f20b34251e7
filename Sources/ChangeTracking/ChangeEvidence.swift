package import BlockModel

/// Something that says which blocks may have changed since a snapshot: a claim, never more.
///
/// It is bound to the snapshot that it starts from and to the size of the volume. A capture believes
/// it as the page of documentation `Evidence` says, and compares everything where it does not.
package struct ChangeEvidence: Hashable, Sendable {
    /// Where it comes from.
    package enum Origin: Hashable, Sendable {
        /// A list that the user handed in.
        case list
        /// What a copy-on-write snapshot of device-mapper kept.
        case snapshotStore
        /// What `thin_delta` tells of two snapshots of a thin pool.
        case thinDelta
        /// What a dm-era target tells.
        case era
    }

    package let origin: Origin
    /// The snapshot since which it tells of changes.
    package let since: SnapshotID
    /// The size of the volume that it speaks of.
    package let volumeByteCount: UInt64
    /// Blocks that may have changed; all others are said to be as they were.
    package let candidates: BlockExtents

    package init(
        origin: Origin,
        since: SnapshotID,
        volumeByteCount: UInt64,
        candidates: BlockExtents
    ) {
        self.origin = origin
        self.since = since
        self.volumeByteCount = volumeByteCount
        self.candidates = candidates
    }
}
