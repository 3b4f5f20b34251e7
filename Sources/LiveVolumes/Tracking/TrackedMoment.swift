package import BlockModel
package import ChangeTracking

/// What a capture of a tracked volume learns of what was written before, and leaves for the next one.
package protocol TrackedMoment: AnyObject {
    /// What was written since a snapshot of `volume` in `repository` was captured, or why that is not
    /// known.
    func changes(
        repository: ObjectID,
        volume: VolumeName,
        blockSize: BlockSize
    ) -> Result<ChangeEvidence, MissingEvidence>

    /// Keeps that `snapshot` was captured of this moment, so that the next capture can build on it.
    func wasCaptured(
        as snapshot: SnapshotID,
        of volume: VolumeName,
        in repository: ObjectID
    ) throws

    /// Makes room for what is written meanwhile; to be called often.
    func keepAhead()
}

/// Why there is no claim of what changed.
package struct MissingEvidence: Error, Hashable {
    package let reason: String
}
