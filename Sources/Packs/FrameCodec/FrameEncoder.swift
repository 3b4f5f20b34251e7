package import BlockModel
internal import LinuxIO
package import RepositoryFormat
internal import Zstandard

/// Turns plain blocks into frames; belongs to one thread, whose buffers it reuses.
package final class FrameEncoder {
    private let blockSize: BlockSize
    private let compressor: Compressor
    /// For frames of many blocks.
    private let largeCompressor: Compressor
    private let frame: AlignedBuffer
    private let trial: AlignedBuffer

    /// The level whose hash table is made larger for large frames.
    ///
    /// Twice the entries that zstd would take cost nothing there and save 0.5 % (measured on system
    /// files). Other levels are what the user chose.
    private static let standardLevel = 3
    private static let largeHashLog = 18
    private static let largeFrameByteCount = 512 << 10

    package init(blockSize: BlockSize, level: Int) throws {
        self.blockSize = blockSize
        compressor = try Compressor(level: level)
        let hashLog = level == Self.standardLevel ? Self.largeHashLog : nil
        largeCompressor = try Compressor(level: level, hashLog: hashLog)
        let plain = Format.framePlainByteCount(blockSize)
        frame = try AlignedBuffer(byteCount: FrameHeader.byteLimit + plain)
        trial = try AlignedBuffer(byteCount: blockSize.byteCount)
    }

    /// Lends the frame of consecutive blocks: compressed, or stored where that saves less than a
    /// thirty-second.
    package func encode(
        _ plain: RawSpan,
        _ body: (RawSpan, FrameHeader) throws -> Void
    ) throws {
        let blockCount = plain.byteCount / blockSize.byteCount
        let limit = plain.byteCount - plain.byteCount / 32
        let compressed = try frame.withMutableBytes { bytes throws(ZstandardError) -> Int? in
            let start = FrameHeader.byteCount
            var payload = bytes._mutatingExtracting(start..<start + limit)
            let isLarge = plain.byteCount >= Self.largeFrameByteCount
            return try (isLarge ? largeCompressor : compressor).compress(plain, into: &payload)
        }
        let header = FrameHeader(
            kind: compressed == nil ? .stored : .zstd, blockCount: blockCount,
            payloadByteCount: compressed ?? plain.byteCount)
        if compressed == nil { frame.copy(plain, to: FrameHeader.byteCount) }
        try seal(header, body)
    }

    package enum PatchResult: Hashable, Sendable {
        case done
        /// The chain below is too long to go on; one from an earlier version may do.
        case chainTooLong
        /// A patch saves too little.
        case tooLarge
    }

    /// Lends the frame of one block as a patch of `prefix`, which is `base`, where that pays.
    ///
    /// It pays while it is well below the block's own compressed size, and the patches of the
    /// chain together are a small multiple of that size.
    package func encodePatch(
        _ plain: RawSpan,
        prefix: RawSpan,
        base: PatchBase,
        _ body: (RawSpan, FrameHeader) throws -> Void
    ) throws -> PatchResult {
        guard base.depth < Format.patchDepthLimit else { return .chainTooLong }
        let kind = base.digests.count == 2 ? FrameKind.patchOfTwo : .patch
        let limit = plain.byteCount / 4 * 3
        let patch = try frame.withMutableBytes { bytes throws(ZstandardError) -> Int? in
            let start = FrameHeader.byteCount(of: kind)
            var payload = bytes._mutatingExtracting(start..<start + limit)
            return try compressor.compress(plain, prefix: prefix, into: &payload)
        }
        guard let patch else { return .tooLarge }
        let chain = base.chainByteCount + patch
        // Below a thirty-second of the block no compression of the whole could compete.
        if chain > plain.byteCount / 32 {
            let whole = try trial.withMutableBytes { bytes throws(ZstandardError) -> Int? in
                try compressor.compress(plain, into: &bytes)
            }
            let full = whole ?? plain.byteCount
            guard patch <= full / 4 * 3 else { return .tooLarge }
            guard chain <= full * Format.patchChainFactor else { return .chainTooLong }
        }
        let header = FrameHeader(
            kind: kind, depth: base.depth + 1, blockCount: 1, payloadByteCount: patch,
            chainByteCount: chain, prefixes: base.digests)
        try seal(header, body)
        return .done
    }

    private func seal(_ header: FrameHeader, _ body: (RawSpan, FrameHeader) throws -> Void) throws {
        try frame.withMutableBytes { bytes throws(FormatError) in
            try header.encode(into: &bytes)
            guard try FrameHeader(decoding: bytes.bytes, blockSize: blockSize) == header else {
                throw .notReproducible
            }
        }
        let frame = frame
        try body(frame.bytes.extracting(0..<header.byteCount + header.payloadByteCount), header)
    }
}
