internal import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex

/// A stretch of one pack in memory, moved and widened while frames are asked for in order.
struct FrameWindow {
    private static let smallByteCount = 64 << 10
    private static let largeByteCount = 2 << 20

    private let blockSize: BlockSize
    private let buffer: AlignedBuffer
    private var pack: UInt32 = Place.missingPack
    private var start = 0
    private var byteCount = 0
    private var checked: (pack: UInt32, byteOffset: UInt32)?

    init(blockSize: BlockSize) throws {
        self.blockSize = blockSize
        let frame = FrameHeader.byteLimit + Format.framePlainByteCount(blockSize)
        buffer = try AlignedBuffer(byteCount: max(Self.largeByteCount, frame))
    }

    /// The frame's header; its checksum, which covers the payload, is verified.
    mutating func header(
        of place: Place,
        _ record: PackRecord,
        _ repository: Repository
    ) throws -> FrameHeader {
        try load(place, byteCount: place.frameByteCount, record, repository)
        let header = try decodeHeader(of: place, record)
        guard checked?.pack != place.pack || checked?.byteOffset != place.byteOffset else {
            return header
        }
        let offset = Int(place.byteOffset) - start
        do {
            try buffer.withMutableBytes { bytes throws(FormatError) in
                var frame = bytes._mutatingExtracting(offset..<offset + place.frameByteCount)
                try FrameHeader.verifyChecksum(of: &frame, header: header)
            }
        } catch {
            throw RepositoryError.damaged(ObjectNames.pack(record.id), error)
        }
        checked = (place.pack, place.byteOffset)
        return header
    }

    private func decodeHeader(of place: Place, _ record: PackRecord) throws -> FrameHeader {
        do {
            let header = try FrameHeader(
                decoding: buffer.bytes.extracting(Int(place.byteOffset) - start..<byteCount),
                blockSize: blockSize)
            guard header.kind == place.kind,
                header.byteCount + header.payloadByteCount == place.frameByteCount,
                header.blockCount == Int(place.frameBlockCount)
            else { throw FormatError.badValue("frame header") }
            return header
        } catch let error as FormatError {
            throw RepositoryError.damaged(ObjectNames.pack(record.id), error)
        }
    }

    /// The buffer that holds the first `wanted` bytes of the frame's payload, unverified, and where
    /// in it: enough for a block whose digest is known.
    mutating func startOfPayload(
        of place: Place,
        byteCount wanted: Int,
        _ record: PackRecord,
        _ repository: Repository
    ) throws -> (buffer: AlignedBuffer, range: Range<Int>) {
        let headerByteCount = FrameHeader.byteCount(of: place.kind)
        let count = min(headerByteCount + wanted, place.frameByteCount)
        try load(place, byteCount: count, readsAhead: false, record, repository)
        _ = try decodeHeader(of: place, record)
        let offset = Int(place.byteOffset) - start
        return (buffer, offset + headerByteCount..<offset + count)
    }

    /// The buffer that holds the frame's verified payload, and where in it.
    mutating func payload(
        of place: Place,
        _ record: PackRecord,
        _ repository: Repository
    ) throws -> (buffer: AlignedBuffer, range: Range<Int>) {
        let header = try header(of: place, record, repository)
        let offset = Int(place.byteOffset) - start + header.byteCount
        return (buffer, offset..<offset + header.payloadByteCount)
    }

    /// Has the first `needed` bytes of the frame in the buffer.
    private mutating func load(
        _ place: Place,
        byteCount needed: Int,
        readsAhead: Bool = true,
        _ record: PackRecord,
        _ repository: Repository
    ) throws {
        let first = Int(place.byteOffset)
        let end = first + needed
        if pack == place.pack, first >= start, end <= start + byteCount { return }
        // Behind the last stretch: somebody reads the pack in order.
        let isSequential =
            readsAhead && pack == place.pack && first >= start && first <= start + byteCount + 65536
        let wanted = max(needed, isSequential ? Self.largeByteCount : Self.smallByteCount)
        let count = min(wanted, buffer.byteCount, Int(record.byteCount) - first)
        guard needed <= count else {
            throw RepositoryError.damaged(
                ObjectNames.pack(record.id),
                FormatError.truncated(
                    expectedByteCount: end, actualByteCount: Int(record.byteCount)))
        }
        pack = Place.missingPack
        checked = nil
        let name = ObjectNames.pack(record.id)
        let read = try buffer.withMutableBytes { bytes throws(ObjectStoreError) in
            var target = bytes._mutatingExtracting(0..<count)
            return try repository.store.read(name, at: UInt64(first), into: &target)
        }
        guard read >= needed else {
            throw RepositoryError.damaged(
                name, FormatError.truncated(expectedByteCount: end, actualByteCount: first + read))
        }
        pack = place.pack
        start = first
        byteCount = read
    }
}
