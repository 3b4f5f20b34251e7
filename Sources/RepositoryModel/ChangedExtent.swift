/// Consecutive bytes that are not what they were in another snapshot.
package struct ChangedExtent: Hashable, Sendable {
    package let byteOffset: UInt64
    package let byteCount: UInt64
    /// Whether they read as zeros now.
    package let isZero: Bool

    package init(byteOffset: UInt64, byteCount: UInt64, isZero: Bool) {
        self.byteOffset = byteOffset
        self.byteCount = byteCount
        self.isZero = isZero
    }
}
