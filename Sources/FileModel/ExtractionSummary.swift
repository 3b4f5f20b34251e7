/// What an extraction wrote.
package struct ExtractionSummary: Hashable, Sendable {
    package var fileCount = 0
    package var directoryCount = 0
    package var otherCount = 0
    package var byteCount: UInt64 = 0
    /// What could not be set or made, in words, the first of each kind.
    package var remarks: [String] = []
    /// How many there were of them all.
    package var remarkCount = 0
    /// What could not be read, and is not there, with the reasons; the first of them.
    package var failures: [String] = []
    package var failureCount = 0
    /// How many of these the image is not to blame for: the system that is written to refuses them.
    package var refusedCount = 0

    package init() {}
}
