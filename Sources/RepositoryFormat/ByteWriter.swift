package import BlockModel

/// Appends little-endian integers of stated width to a byte array.
package struct ByteWriter: Sendable {
    package private(set) var bytes: [UInt8] = []

    package init(reserving byteCount: Int = 0) { bytes.reserveCapacity(byteCount) }

    package mutating func append<I: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
        _ value: I
    ) {
        // Safe: an integer's bytes, copied at once.
        unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    package mutating func append(_ value: Int64) { append(UInt64(bitPattern: value)) }

    package mutating func append(_ digest: Digest) {
        for word in [digest.word0, digest.word1, digest.word2, digest.word3] {
            append(word.byteSwapped)
        }
    }

    package mutating func append(_ id: SnapshotID) { append(id.digest) }

    package mutating func append(_ id: ObjectID) {
        append(id.high.byteSwapped)
        append(id.low.byteSwapped)
    }

    package mutating func append(_ more: [UInt8]) { bytes.append(contentsOf: more) }

    package mutating func appendZeros(_ count: Int) {
        bytes.append(contentsOf: repeatElement(0, count: count))
    }

    package mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

    /// A text as its length in bytes (16 bits) and its UTF-8.
    package mutating func append(_ text: String) {
        let utf8 = Array(text.utf8.prefix(Format.textByteLimit))
        append(UInt16(utf8.count))
        append(utf8)
    }
}
