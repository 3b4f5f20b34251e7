/// A key of up to 24 bytes, built in place: look-ups allocate nothing.
///
/// Integers are stored big-endian, so that keys sort by their fields in the order given.
package struct Key: Hashable, Sendable, BitwiseCopyable {
    private var words: (UInt64, UInt64, UInt64) = (0, 0, 0)
    package private(set) var byteCount = 0

    package static let maximumByteCount = 24

    package init() {}

    package init(_ text: StaticString) {
        for scalar in text.description.utf8 { append(scalar) }
    }

    /// - Precondition: the key has room for the integer.
    package mutating func append<I: FixedWidthInteger & BitwiseCopyable>(_ value: I) {
        let size = MemoryLayout<I>.size
        precondition(byteCount + size <= Self.maximumByteCount)
        let count = byteCount
        // Safe: the precondition keeps the bytes within the three words.
        unsafe withUnsafeMutableBytes(of: &words) {
            unsafe $0.storeBytes(of: value.bigEndian, toByteOffset: count, as: I.self)
        }
        byteCount += size
    }

    package func appending<I: FixedWidthInteger & BitwiseCopyable>(_ value: I) -> Key {
        var key = self
        key.append(value)
        return key
    }

    package func withBytes<Result>(_ body: (RawSpan) throws -> Result) rethrows -> Result {
        // Safe: the span covers the bytes that were appended and lives as long as the copy.
        try unsafe withUnsafeBytes(of: words) { buffer in
            try body(unsafe RawSpan(_unsafeBytes: buffer).extracting(0..<byteCount))
        }
    }

    package static func == (left: Key, right: Key) -> Bool {
        left.words == right.words && left.byteCount == right.byteCount
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
        hasher.combine(words.2)
        hasher.combine(byteCount)
    }
}
