/// What a restore proves before it says that it succeeded.
package enum RestoreVerification: String, Sendable, CaseIterable {
    /// Every block by its digest once decoded, and the image digest.
    case blocks
    /// The same, and then the target is read again from the medium.
    case readBack = "read-back"
    case none
}

/// What a restore did.
package struct RestoreResult: Hashable, Sendable {
    package let writtenByteCount: UInt64
    /// Bytes of the image that needed no writing: holes, and blocks that were right already.
    package let skippedByteCount: UInt64

    package init(writtenByteCount: UInt64, skippedByteCount: UInt64) {
        self.writtenByteCount = writtenByteCount
        self.skippedByteCount = skippedByteCount
    }
}
