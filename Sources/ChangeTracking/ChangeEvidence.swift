package import BlockModel
package import RepositoryModel

/// Something that says which blocks may have changed since a snapshot: a claim, never more.
///
/// It is bound to the snapshot that it starts from and to the size of the volume. A capture believes
/// it as the page of documentation `Evidence` says, and compares everything where it does not.
package struct ChangeEvidence: Hashable, Sendable {
    /// How the changes were found; what the facts of a snapshot say, and its name for users.
    package let method: DetectionMethod
    /// The snapshot since which it tells of changes.
    package let since: SnapshotID
    /// The size of the volume that it speaks of.
    package let volumeByteCount: UInt64
    /// Blocks that may have changed; all others are said to be as they were.
    package let candidates: BlockExtents

    package init(
        method: DetectionMethod,
        since: SnapshotID,
        volumeByteCount: UInt64,
        candidates: BlockExtents
    ) {
        self.method = method
        self.since = since
        self.volumeByteCount = volumeByteCount
        self.candidates = candidates
    }
}
