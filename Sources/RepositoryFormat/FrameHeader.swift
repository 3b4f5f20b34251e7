package import BlockModel
internal import Hashing

/// How a frame's payload becomes the plain bytes of its blocks.
package enum FrameKind: UInt8, Hashable, Sendable {
    case stored = 0
    case zstd = 1
    /// zstd with another block as prefix: the block's earlier version, or one like it.
    case patch = 2
    /// zstd with two other blocks, one behind the other, as prefix; both are stored in full.
    case patchOfTwo = 3

    /// Blocks that it takes to read the frame.
    package var prefixCount: Int {
        switch self {
        case .stored, .zstd: 0
        case .patch: 1
        case .patchOfTwo: 2
        }
    }

    /// Whether the frame needs other blocks; it holds a single one then.
    package var isPatch: Bool { prefixCount > 0 }

    /// What the depth of such a frame can be: with two prefixes at every hop, reading would not end
    /// for a long time.
    package var depths: ClosedRange<UInt8> {
        switch self {
        case .stored, .zstd: 0...0
        case .patch: 1...Format.patchDepthLimit
        case .patchOfTwo: 1...1
        }
    }
}

/// Header of a frame inside a pack: enough to salvage the pack without its table.
///
/// | offset | bytes | field                                                        |
/// |-------:|------:|--------------------------------------------------------------|
/// |      0 |     4 | magic                                                        |
/// |      4 |     1 | kind                                                         |
/// |      5 |     1 | depth: hops to a frame that needs no other; 0 unless a patch |
/// |      6 |     2 | block count                                                  |
/// |      8 |     4 | payload length                                               |
/// |     12 |     4 | chain length: payloads of this patch and those below it      |
/// |     16 |     4 | key epoch; zero: not sealed (a sealed payload ends in a tag) |
/// |     20 |     4 | zero                                                         |
/// |     24 |     8 | XXH3-64 of header (this field zero) and payload              |
/// |     32 |    32 | patches only: digest of the prefix's first block             |
/// |     64 |    32 | patches of two only: digest of its second block              |
package struct FrameHeader: Hashable, Sendable {
    package static let byteCount = 32
    /// The longest header.
    package static let byteLimit = byteCount + 2 * Digest.byteCount

    package let kind: FrameKind
    package let depth: UInt8
    package let blockCount: Int
    package let payloadByteCount: Int
    package let chainByteCount: Int
    /// Digests of the blocks that are the prefix, in order.
    package let prefixes: [Digest]

    package init(
        kind: FrameKind,
        depth: UInt8 = 0,
        blockCount: Int,
        payloadByteCount: Int,
        chainByteCount: Int = 0,
        prefixes: [Digest] = []
    ) {
        self.kind = kind
        self.depth = depth
        self.blockCount = blockCount
        self.payloadByteCount = payloadByteCount
        self.chainByteCount = chainByteCount
        self.prefixes = prefixes
    }

    package static func byteCount(of kind: FrameKind) -> Int {
        byteCount + kind.prefixCount * Digest.byteCount
    }

    package var byteCount: Int { Self.byteCount(of: kind) }

    /// Writes the header into the first bytes of `frame`, whose payload is in place behind it.
    package func encode(into frame: inout MutableRawSpan) throws(FormatError) {
        frame.store(Format.frameMagic, at: 0)
        frame.store(kind.rawValue, at: 4)
        frame.store(depth, at: 5)
        frame.store(UInt16(blockCount), at: 6)
        frame.store(UInt32(payloadByteCount), at: 8)
        frame.store(UInt32(chainByteCount), at: 12)
        frame.store(UInt64(0), at: 16)
        frame.store(UInt64(0), at: 24)
        for (index, prefix) in prefixes.enumerated() {
            frame.store(prefix, at: Self.byteCount + index * Digest.byteCount)
        }
        let checksum = XXH3.hash64(frame.bytes.extracting(0..<byteCount + payloadByteCount))
        frame.store(checksum, at: 24)
    }

    /// Reads a header without looking at the payload.
    package init(decoding bytes: RawSpan, blockSize: BlockSize) throws(FormatError) {
        guard bytes.byteCount >= Self.byteCount else {
            throw .truncated(expectedByteCount: Self.byteCount, actualByteCount: bytes.byteCount)
        }
        guard bytes.littleEndian(at: 0, as: UInt32.self) == Format.frameMagic else {
            throw .badMagic
        }
        guard let kind = FrameKind(rawValue: bytes.littleEndian(at: 4, as: UInt8.self)) else {
            throw .badValue("frame kind")
        }
        self.kind = kind
        depth = bytes.littleEndian(at: 5, as: UInt8.self)
        guard kind.depths.contains(depth) else { throw .badValue("patch depth") }
        blockCount = Int(bytes.littleEndian(at: 6, as: UInt16.self))
        let blockLimit = kind.isPatch ? 1 : Format.frameBlockLimit(blockSize)
        guard (1...blockLimit).contains(blockCount) else { throw .badValue("frame block count") }
        let plainByteCount = blockCount * blockSize.byteCount
        payloadByteCount = Int(bytes.littleEndian(at: 8, as: UInt32.self))
        guard (1...plainByteCount).contains(payloadByteCount),
            kind != .stored || payloadByteCount == plainByteCount
        else { throw .badValue("payload length") }
        chainByteCount = Int(bytes.littleEndian(at: 12, as: UInt32.self))
        guard kind.isPatch || chainByteCount == 0 else { throw .badValue("chain length") }
        guard bytes.littleEndian(at: 16, as: UInt64.self) == 0 else { throw .reservedNotZero }
        let byteCount = Self.byteCount(of: kind)
        guard bytes.byteCount >= byteCount else {
            throw .truncated(expectedByteCount: byteCount, actualByteCount: bytes.byteCount)
        }
        prefixes = (0..<kind.prefixCount).map {
            bytes.digest(at: Self.byteCount + $0 * Digest.byteCount)
        }
    }

    /// Refuses a frame whose header or payload is not what was written; `scratch` gets a copy.
    package static func verifyChecksum(
        of frame: inout MutableRawSpan,
        header: FrameHeader
    ) throws(FormatError) {
        let expected = header.byteCount + header.payloadByteCount
        guard frame.byteCount >= expected else {
            throw .truncated(expectedByteCount: expected, actualByteCount: frame.byteCount)
        }
        let checksum = frame.bytes.littleEndian(at: 24, as: UInt64.self)
        frame.store(UInt64(0), at: 24)
        let actual = XXH3.hash64(frame.bytes.extracting(0..<expected))
        frame.store(checksum, at: 24)
        guard checksum == actual else { throw .badChecksum }
    }
}
