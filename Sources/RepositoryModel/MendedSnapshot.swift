package import BlockModel

/// A snapshot that a repair made restorable again.
package struct MendedSnapshot: Hashable, Sendable {
    package enum Origin: String, Sendable {
        case index
        case otherRepository = "other-repository"
        case otherPath = "other-path"
    }

    package let snapshot: SnapshotID
    package let generation: Generation
    /// Where the delta that leads to it came from.
    package let origin: Origin

    package init(snapshot: SnapshotID, generation: Generation, origin: Origin) {
        self.snapshot = snapshot
        self.generation = generation
        self.origin = origin
    }
}
