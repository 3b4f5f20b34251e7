package import BlockModel
internal import LinuxIO
internal import ObjectStore
package import Repository
internal import RepositoryFormat
package import RepositoryIndex

/// Brings blocks that a pack has into new packs: whole frames as they are, or single blocks in frames of
/// their own; belongs to one thread.
package final class FrameCopier {
    private let blockSize: BlockSize
    private let packs: PackWriter
    private let encoder: FrameEncoder
    /// A frame that is copied as it is.
    private let whole: AlignedBuffer
    /// Blocks of the next frame.
    private let staged: AlignedBuffer
    private var digests: [Digest] = []

    /// The level at which blocks are compressed again.
    private static let level = 3

    package init(blockSize: BlockSize, packs: PackWriter) throws {
        self.blockSize = blockSize
        self.packs = packs
        encoder = try FrameEncoder(blockSize: blockSize, level: Self.level)
        let plainByteCount = Format.framePlainByteCount(blockSize)
        whole = try AlignedBuffer(byteCount: FrameHeader.byteLimit + plainByteCount)
        staged = try AlignedBuffer(byteCount: plainByteCount)
    }

    /// Bytes of the packs that were written.
    package var storedByteCount: UInt64 { packs.storedByteCount }

    /// Puts a proved block into the next frame.
    package func add(_ block: RawSpan, _ digest: Digest) throws {
        if digests.count == Format.frameBlockLimit(blockSize) { try flush() }
        staged.copy(block, to: digests.count * blockSize.byteCount)
        digests.append(digest)
    }

    /// Copies the frame at `place`, of a pack of `source`, whose blocks were proved.
    ///
    /// - Returns: its depth; nil, with nothing done, for a patch of a block whose pack a crash may take.
    /// - Throws: ``RepositoryError`` of kind `damaged` when the frame is not what it was.
    package func copyFrame(
        at place: Place,
        of pack: ObjectID,
        in source: Repository,
        _ digests: ArraySlice<Digest>
    ) throws -> UInt8? {
        let name = ObjectNames.pack(pack)
        let count = place.frameByteCount
        let header: FrameHeader
        do {
            header = try whole.withMutableBytes { bytes in
                var frame = bytes._mutatingExtracting(0..<count)
                let read = try source.store.read(
                    name, at: UInt64(place.byteOffset), into: &frame)
                guard read == count else {
                    throw FormatError.truncated(
                        expectedByteCount: count, actualByteCount: read)
                }
                let header = try FrameHeader(decoding: frame.bytes, blockSize: blockSize)
                guard header.blockCount == digests.count,
                    header.byteCount + header.payloadByteCount == count
                else { throw FormatError.badValue("frame") }
                try FrameHeader.verifyChecksum(of: &frame, header: header)
                return header
            }
        } catch let error as FormatError {
            throw RepositoryError.damaged(name, error)
        }
        let whole = whole
        let isAppended = try packs.append(
            frame: whole.bytes.extracting(0..<count), header: header, digests: digests)
        return isAppended ? header.depth : nil
    }

    /// Writes what waits for its frame to fill.
    package func flush() throws {
        guard !digests.isEmpty else { return }
        let count = digests.count * blockSize.byteCount
        let together = digests[...]
        let staged = staged
        try encoder.encode(staged.bytes.extracting(0..<count)) { frame, header in
            _ = try packs.append(frame: frame, header: header, digests: together)
        }
        digests.removeAll(keepingCapacity: true)
    }

    /// Makes all that was copied durable, and known to the index.
    package func finish() throws {
        try flush()
        try packs.finish()
    }
}
