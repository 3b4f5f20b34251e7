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
}

/// Why there is no claim of what changed.
package struct MissingEvidence: Error, Hashable, Sendable {
    package let reason: String
    /// Whether that is so in the ordinary course of things, as after a restart: nobody has to look into
    /// it.
    package let isExpected: Bool

    init(reason: String, isExpected: Bool = false) {
        self.reason = reason
        self.isExpected = isExpected
    }
}
