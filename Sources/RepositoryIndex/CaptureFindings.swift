/// What a capture knows beside its delta, so that applying it need not find out again.
package struct CaptureFindings: Sendable {
    /// Fingerprints of pages at the new tip.
    package var tips: [(page: UInt64, tip: TipPage)]
    /// Whether more fingerprints were staged, and under which attempt.
    package var attempt: UInt64?
    /// New leaves of the image digest: of every page that changed.
    package var leaves: [UInt64: PageLeaf]
    package var deltaByteCount: UInt64
    package var memory: CaptureMemory

    package init(
        tips: [(page: UInt64, tip: TipPage)] = [],
        attempt: UInt64? = nil,
        leaves: [UInt64: PageLeaf] = [:],
        deltaByteCount: UInt64,
        memory: CaptureMemory = CaptureMemory()
    ) {
        self.tips = tips
        self.attempt = attempt
        self.leaves = leaves
        self.deltaByteCount = deltaByteCount
        self.memory = memory
    }
}
