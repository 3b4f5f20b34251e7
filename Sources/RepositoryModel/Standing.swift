package import BlockModel

/// What was said of a snapshot after its capture.
package struct Standing: Hashable, Sendable {
    /// What became of it when it was started, and the note that says so.
    package struct RecordedBoot: Hashable, Sendable {
        package let proof: BootProof
        package let time: Timestamp
        package let noteName: String

        package init(proof: BootProof, time: Timestamp, noteName: String) {
            self.proof = proof
            self.time = time
            self.noteName = noteName
        }
    }

    /// Those given later, which replace those of the capture; nil when none were.
    package var tags: [String]?
    package var isProtected = false
    package var isForgotten = false
    /// When it was last started.
    package var boot: RecordedBoot?
    /// Blocks that it lacked when a repair last looked; nil for none.
    package var lackingBlockCount: UInt64?
    /// The notes that say so.
    package var damageNoteNames: [String] = []
    /// Notes that cannot be read, and may have said anything.
    package var hasUnreadableNote = false
    /// Whether one of them is newer than what is known of its protection.
    package var mayBeProtected = false
    /// Names of the notes that say it, but those of distrust.
    package var noteNames: [String] = []

    package init() {}
}
