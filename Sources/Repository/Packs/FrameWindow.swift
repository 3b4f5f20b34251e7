internal import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import RepositoryFormat

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
        try load(place, record, repository)
        let offset = Int(place.byteOffset) - start
        let name = ObjectNames.pack(record.id)
        do {
            let header = try FrameHeader(
                decoding: buffer.bytes.extracting(offset..<byteCount), blockSize: blockSize)
            guard header.kind == place.kind,
                header.byteCount + header.payloadByteCount == place.frameByteCount,
                header.blockCount == Int(place.frameBlockCount)
            else { throw FormatError.badValue("frame header") }
            if checked?.pack != place.pack || checked?.byteOffset != place.byteOffset {
                try buffer.withMutableBytes { bytes throws(FormatError) in
                    var frame = bytes._mutatingExtracting(offset..<offset + place.frameByteCount)
                    try FrameHeader.verifyChecksum(of: &frame, header: header)
                }
                checked = (place.pack, place.byteOffset)
            }
            return header
        } catch let error as FormatError {
            throw RepositoryError.damaged(name, error)
        }
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

    private mutating func load(
        _ place: Place,
        _ record: PackRecord,
        _ repository: Repository
    ) throws {
        let first = Int(place.byteOffset)
        let end = first + place.frameByteCount
        if pack == place.pack, first >= start, end <= start + byteCount { return }
        // Behind the last stretch: somebody reads the pack in order.
        let isSequential =
            pack == place.pack && first >= start && first <= start + byteCount + 65536
        let wanted = max(
            place.frameByteCount, isSequential ? Self.largeByteCount : Self.smallByteCount)
        let count = min(wanted, buffer.byteCount, Int(record.byteCount) - first)
        guard place.frameByteCount <= count else {
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
        guard read >= place.frameByteCount else {
            throw RepositoryError.damaged(
                name, FormatError.truncated(expectedByteCount: end, actualByteCount: first + read))
        }
        pack = place.pack
        start = first
        byteCount = read
    }
}
