package import BlockModel

/// A snapshot that can be restored.
package struct Snapshot: Hashable, Sendable {
    package let id: SnapshotID
    package let generation: Generation
    package let facts: SnapshotFacts

    package init(id: SnapshotID, generation: Generation, facts: SnapshotFacts) {
        self.id = id
        self.generation = generation
        self.facts = facts
    }
}

/// A snapshot that is known of but cannot be restored.
package struct DamagedSnapshot: Hashable, Sendable {
    package let generation: Generation
    /// Nil when only the name of its unreadable delta tells of it.
    package let id: SnapshotID?
    package let facts: SnapshotFacts?
    package let reason: String

    package init(generation: Generation, id: SnapshotID?, facts: SnapshotFacts?, reason: String) {
        self.generation = generation
        self.id = id
        self.facts = facts
        self.reason = reason
    }
}
