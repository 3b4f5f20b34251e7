package import BlockModel
internal import Hashing

/// One frame as the table at the end of a pack lists it.
///
/// | offset | bytes | field          |
/// |-------:|------:|----------------|
/// |      0 |     4 | offset in pack |
/// |      4 |     4 | payload length |
/// |      8 |     1 | kind           |
/// |      9 |     1 | depth          |
/// |     10 |     2 | block count    |
/// |     12 |     4 | chain length   |
package struct FrameEntry: Hashable, Sendable {
    package static let byteCount = 16

    package let byteOffset: UInt32
    package let header: FrameHeader

    package init(byteOffset: UInt32, header: FrameHeader) {
        self.byteOffset = byteOffset
        self.header = header
    }
}

/// The frames of a pack, and the digests of their blocks in the same order.
///
/// The table is the frame entries, then the digests. A prefix's digest is in the frame alone.
package struct PackTable: Hashable, Sendable {
    package var frames: [FrameEntry] = []
    package var digests: [Digest] = []

    package init() {}

    package var byteCount: Int {
        frames.count * FrameEntry.byteCount + digests.count * Digest.byteCount
    }

    package mutating func append(_ frame: FrameEntry, digests: ArraySlice<Digest>) {
        frames.append(frame)
        self.digests.append(contentsOf: digests)
    }

    package func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: byteCount)
        for frame in frames {
            writer.append(frame.byteOffset)
            writer.append(UInt32(frame.header.payloadByteCount))
            writer.append(frame.header.kind.rawValue)
            writer.append(frame.header.depth)
            writer.append(UInt16(frame.header.blockCount))
            writer.append(UInt32(frame.header.chainByteCount))
        }
        for digest in digests { writer.append(digest) }
        return writer.bytes
    }

    /// Reads a table whose frames lie one behind the other between `framesStart` and `framesEnd`.
    package init(
        decoding bytes: RawSpan,
        footer: PackFooter,
        framesStart: Int,
        blockSize: BlockSize
    ) throws(FormatError) {
        guard bytes.byteCount == footer.tableByteCount else {
            throw .truncated(
                expectedByteCount: footer.tableByteCount, actualByteCount: bytes.byteCount)
        }
        guard XXH3.hash64(bytes) == footer.tableChecksum else { throw .badChecksum }
        frames.reserveCapacity(footer.frameCount)
        var end = framesStart
        var blockCount = 0
        for index in 0..<footer.frameCount {
            let at = index * FrameEntry.byteCount
            let header = try Self.header(at: at, in: bytes, blockSize: blockSize)
            guard bytes.littleEndian(at: at, as: UInt32.self) == end else {
                throw .badValue("frame offset")
            }
            frames.append(FrameEntry(byteOffset: UInt32(end), header: header))
            end += header.byteCount + header.payloadByteCount
            blockCount += header.blockCount
            guard end <= footer.tableByteOffset else { throw .badValue("frame length") }
        }
        guard end == footer.tableByteOffset else { throw .badValue("frames' length") }
        guard blockCount == footer.blockCount else { throw .badValue("block count") }
        let start = footer.frameCount * FrameEntry.byteCount
        digests.reserveCapacity(blockCount)
        for index in 0..<blockCount {
            digests.append(bytes.digest(at: start + index * Digest.byteCount))
        }
    }

    private static func header(
        at offset: Int,
        in bytes: RawSpan,
        blockSize: BlockSize
    ) throws(FormatError) -> FrameHeader {
        guard let kind = FrameKind(rawValue: bytes.littleEndian(at: offset + 8, as: UInt8.self))
        else { throw .badValue("frame kind") }
        let blockCount = Int(bytes.littleEndian(at: offset + 10, as: UInt16.self))
        let payload = Int(bytes.littleEndian(at: offset + 4, as: UInt32.self))
        let limit = kind.isPatch ? 1 : Format.frameBlockLimit(blockSize)
        guard (1...limit).contains(blockCount) else { throw .badValue("frame block count") }
        let plain = blockCount * blockSize.byteCount
        guard (1...plain).contains(payload), kind != .stored || payload == plain else {
            throw .badValue("payload length")
        }
        let chain = bytes.littleEndian(at: offset + 12, as: UInt32.self)
        guard kind.isPatch || chain == 0 else { throw .badValue("chain length") }
        let depth = bytes.littleEndian(at: offset + 9, as: UInt8.self)
        guard kind.depths.contains(depth) else { throw .badValue("patch depth") }
        return FrameHeader(
            kind: kind, depth: depth, blockCount: blockCount, payloadByteCount: payload,
            chainByteCount: Int(chain))
    }
}

/// The last 64 bytes of a pack: where its table is.
///
/// | offset | bytes | field                       |
/// |-------:|------:|-----------------------------|
/// |      0 |     8 | magic                       |
/// |      8 |     8 | table offset                |
/// |     16 |     8 | table length                |
/// |     24 |     4 | frame count                 |
/// |     28 |     4 | block count                 |
/// |     32 |     8 | XXH3-64 of the table        |
/// |     40 |    16 | zero                        |
/// |     56 |     8 | XXH3-64 of the bytes before |
package struct PackFooter: Hashable, Sendable {
    package static let byteCount = 64

    package let tableByteOffset: Int
    package let tableByteCount: Int
    package let frameCount: Int
    package let blockCount: Int
    package let tableChecksum: UInt64

    package init(table: PackTable, encodedTable: [UInt8], at offset: Int) {
        tableByteOffset = offset
        tableByteCount = encodedTable.count
        frameCount = table.frames.count
        blockCount = table.digests.count
        tableChecksum = XXH3.hash64(encodedTable.rawSpan)
    }

    package func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: Self.byteCount)
        writer.append(Format.packFooterMagic)
        writer.append(UInt64(tableByteOffset))
        writer.append(UInt64(tableByteCount))
        writer.append(UInt32(frameCount))
        writer.append(UInt32(blockCount))
        writer.append(tableChecksum)
        writer.appendZeros(16)
        writer.append(XXH3.hash64(writer.bytes.rawSpan))
        return writer.bytes
    }

    /// Reads the footer of a pack of `packByteCount` bytes.
    package init(decoding bytes: ArraySlice<UInt8>, packByteCount: Int) throws(FormatError) {
        guard bytes.count == Self.byteCount else {
            throw .truncated(expectedByteCount: Self.byteCount, actualByteCount: bytes.count)
        }
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt64.self) == Format.packFooterMagic else { throw .badMagic }
        let offset = try reader.integer(UInt64.self)
        let count = try reader.integer(UInt64.self)
        frameCount = Int(try reader.integer(UInt32.self))
        blockCount = Int(try reader.integer(UInt32.self))
        tableChecksum = try reader.integer(UInt64.self)
        try reader.zeros(16)
        let covered = Array(bytes.dropLast(8))
        guard try reader.integer(UInt64.self) == XXH3.hash64(covered.rawSpan) else {
            throw .badChecksum
        }
        guard packByteCount <= Format.packByteLimit, frameCount <= blockCount,
            blockCount <= Format.packBlockLimit,
            count == UInt64(frameCount * FrameEntry.byteCount + blockCount * Digest.byteCount),
            offset <= UInt64(packByteCount),
            offset + count + UInt64(Self.byteCount) == UInt64(packByteCount)
        else { throw .badValue("pack footer") }
        tableByteOffset = Int(offset)
        tableByteCount = Int(count)
    }
}
