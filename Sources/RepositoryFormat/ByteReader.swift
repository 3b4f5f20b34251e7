package import BlockModel

/// Reads what ``ByteWriter`` wrote; never past the end, whatever the bytes are.
package struct ByteReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    package init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    package init(_ bytes: [UInt8]) { self.init(bytes[...]) }

    package var remaining: Int { bytes.endIndex - position }

    package mutating func take(_ count: Int) throws(FormatError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= remaining else {
            throw .truncated(expectedByteCount: count, actualByteCount: remaining)
        }
        defer { position += count }
        return bytes[position..<position + count]
    }

    package mutating func integer<I: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
        _ type: I.Type
    ) throws(FormatError) -> I {
        let byteCount = I.bitWidth / 8
        guard byteCount <= remaining else {
            throw .truncated(expectedByteCount: byteCount, actualByteCount: remaining)
        }
        defer { position += byteCount }
        // Safe: a byte has no padding.
        return unsafe bytes.span.bytes.littleEndian(at: position - bytes.startIndex, as: type)
    }

    package mutating func signedInteger() throws(FormatError) -> Int64 {
        Int64(bitPattern: try integer(UInt64.self))
    }

    package mutating func digest() throws(FormatError) -> Digest {
        let word0 = try integer(UInt64.self).byteSwapped
        let word1 = try integer(UInt64.self).byteSwapped
        let word2 = try integer(UInt64.self).byteSwapped
        let word3 = try integer(UInt64.self).byteSwapped
        return Digest(words: word0, word1, word2, word3)
    }

    package mutating func objectID() throws(FormatError) -> ObjectID {
        let high = try integer(UInt64.self).byteSwapped
        let low = try integer(UInt64.self).byteSwapped
        return ObjectID(high: high, low: low)
    }

    package mutating func text() throws(FormatError) -> String {
        let count = Int(try integer(UInt16.self))
        guard count <= Format.textByteLimit else { throw .badValue("text length") }
        let utf8 = try take(count)
        let text = String(decoding: utf8, as: UTF8.self)
        guard Array(text.utf8) == Array(utf8) else { throw .badValue("text") }
        return text
    }

    /// Reads `count` bytes that must be zero.
    package mutating func zeros(_ count: Int) throws(FormatError) {
        guard try take(count).allSatisfy({ $0 == 0 }) else { throw .reservedNotZero }
    }

    package func end() throws(FormatError) {
        guard remaining == 0 else { throw .trailingBytes(remaining) }
    }
}

extension RawSpan {
    /// Reads one little-endian integer; traps when it does not fit.
    package func littleEndian<I: FixedWidthInteger & BitwiseCopyable>(
        at offset: Int,
        as type: I.Type
    ) -> I {
        // Safe: every bit pattern is an integer, and the load is bounds-checked.
        unsafe I(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: I.self))
    }

    /// Reads one digest; traps when it does not fit.
    package func digest(at offset: Int) -> Digest {
        Digest(
            words: littleEndian(at: offset, as: UInt64.self).byteSwapped,
            littleEndian(at: offset + 8, as: UInt64.self).byteSwapped,
            littleEndian(at: offset + 16, as: UInt64.self).byteSwapped,
            littleEndian(at: offset + 24, as: UInt64.self).byteSwapped)
    }
}

extension MutableRawSpan {
    /// Writes one little-endian integer; traps when it does not fit.
    package mutating func store<I: FixedWidthInteger & BitwiseCopyable>(
        _ value: I,
        at offset: Int
    ) {
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: I.self)
    }

    /// Writes one digest; traps when it does not fit.
    package mutating func store(_ digest: Digest, at offset: Int) {
        store(digest.word0.byteSwapped, at: offset)
        store(digest.word1.byteSwapped, at: offset + 8)
        store(digest.word2.byteSwapped, at: offset + 16)
        store(digest.word3.byteSwapped, at: offset + 24)
    }
}
