/// What a copy did.
package struct CopySummary: Hashable, Sendable {
    package var copiedCount = 0
    package var knownCount = 0
    /// Blocks that the other repository lacked.
    package var blockCount: UInt64 = 0
    package var storedByteCount: UInt64 = 0

    package init() {}

    /// What a copy did that went on from another, whose snapshots it found.
    package func adding(_ earlier: CopySummary) -> CopySummary {
        var sum = self
        sum.copiedCount += earlier.copiedCount
        sum.knownCount -= min(knownCount, earlier.copiedCount)
        sum.blockCount += earlier.blockCount
        sum.storedByteCount += earlier.storedByteCount
        return sum
    }
}
