internal import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex

/// Frames of packs, read ahead where they are asked for in the order of their pack; the last few that
/// are no patches are kept decompressed.
///
/// A frame that is touched for the first time is decompressed up to the block that is wanted, the
/// second time to its end.
struct FrameCache {
    private struct Key: Hashable {
        let pack: UInt32
        let byteOffset: UInt32
    }
    private struct Frame {
        var key: Key?
        let bytes: AlignedBuffer
        /// Plain bytes at the start of the frame that are there.
        var byteCount = 0
        var lastUse: UInt64 = 0
    }

    private let repository: Repository
    private let index: Index
    private let blockSize: BlockSize
    private let decoder: FrameDecoder
    private let readsWholeFrames: Bool
    private let frameCount: Int
    private var frames: [Frame] = []
    private var window: FrameWindow
    private var clock: UInt64 = 0

    init(
        repository: Repository,
        index: Index,
        frameCount: Int,
        readsWholeFrames: Bool
    ) throws {
        self.repository = repository
        self.index = index
        self.frameCount = frameCount
        self.readsWholeFrames = readsWholeFrames
        blockSize = repository.blockSize
        decoder = try FrameDecoder()
        window = try FrameWindow(blockSize: repository.blockSize)
    }

    private func pack(of place: Place) throws -> PackRecord {
        guard let pack = index.pack(place.pack) else {
            throw RepositoryError(.damaged, "its pack is missing")
        }
        return pack
    }

    func name(of place: Place) -> String {
        index.pack(place.pack).map { ObjectNames.pack($0.id) } ?? "a missing pack"
    }

    /// What stands at the start of the frame.
    mutating func header(of place: Place) throws -> FrameHeader {
        try window.header(of: place, try pack(of: place), repository)
    }

    /// Applies a patch to the blocks that it depends on; gives the number of bytes written.
    mutating func decodePatch(
        _ place: Place,
        prefix: RawSpan,
        into target: inout MutableRawSpan
    ) throws -> Int {
        let payload = try window.payload(of: place, try pack(of: place), repository)
        return try decoder.decode(
            payload.buffer.bytes.extracting(payload.range), place.kind, prefix: prefix,
            into: &target)
    }

    /// The plain bytes of a frame that is no patch, at least the first `wanted` of them.
    ///
    /// `lastSlot` is the last of its blocks that is going to be asked for, where that is known.
    mutating func frame(
        at place: Place,
        until wanted: Int,
        lastSlot: UInt8
    ) throws -> AlignedBuffer {
        let key = Key(pack: place.pack, byteOffset: place.byteOffset)
        clock += 1
        let hit = frames.firstIndex { $0.key == key }
        if let hit, frames[hit].byteCount >= wanted {
            frames[hit].lastUse = clock
            return frames[hit].bytes
        }
        let slot = try hit ?? freeSlot()
        frames[slot].key = nil
        let target = frames[slot].bytes
        let whole = Int(place.frameBlockCount) * blockSize.byteCount
        let hinted = (Int(min(lastSlot, place.frameBlockCount - 1)) + 1) * blockSize.byteCount
        do {
            frames[slot].byteCount = try decode(
                place, into: target, atLeast: hit == nil ? max(wanted, hinted) : whole)
        } catch {
            // The rot may lie behind what is wanted.
            index.noteBadFrame(at: place)
            guard !readsWholeFrames, place.kind == .zstd else { throw error }
            let count = try decodeStart(
                of: place, into: target, atLeast: wanted, of: whole,
                payloadByteCount: Int(place.payloadByteCount))
            guard count >= wanted else { throw error }
            frames[slot].byteCount = count
        }
        frames[slot].key = key
        frames[slot].lastUse = clock
        return target
    }

    /// Gives the number of plain bytes that were written.
    private mutating func decode(
        _ place: Place,
        into target: AlignedBuffer,
        atLeast wanted: Int
    ) throws -> Int {
        let whole = Int(place.frameBlockCount) * blockSize.byteCount
        // What is left after three quarters is not worth the slower way.
        if !readsWholeFrames, place.kind == .zstd, wanted <= whole / 4 * 3 {
            let count = try decodeStart(of: place, into: target, atLeast: wanted, of: whole)
            if count >= wanted { return count }
        }
        let payload = try window.payload(of: place, try pack(of: place), repository)
        let source = payload.buffer.bytes.extracting(payload.range)
        let count = try target.withMutableBytes { bytes in
            var plain = bytes._mutatingExtracting(0..<whole)
            return try decoder.decode(source, place.kind, into: &plain)
        }
        guard count == whole else {
            throw RepositoryError(.damaged, "\(name(of: place)) has a frame too short")
        }
        return count
    }

    /// Reads what the first `wanted` bytes should take and a little more; may give fewer of them,
    /// where they compressed worse than the rest of the frame.
    private mutating func decodeStart(
        of place: Place,
        into target: AlignedBuffer,
        atLeast wanted: Int,
        of whole: Int,
        payloadByteCount: Int? = nil
    ) throws -> Int {
        let share = Int(place.payloadByteCount) / Int(place.frameBlockCount)
        let estimate = share * (wanted / blockSize.byteCount) * 5 / 4 + Self.spareByteCount
        let payload = try window.startOfPayload(
            of: place, byteCount: payloadByteCount ?? estimate, try pack(of: place), repository)
        return try target.withMutableBytes { bytes in
            var plain = bytes._mutatingExtracting(0..<whole)
            return try decoder.decodeStart(
                of: payload.buffer.bytes.extracting(payload.range), atLeast: wanted, into: &plain)
        }
    }

    /// zstd decodes blocks of up to 128 KiB, of which one may not have compressed at all.
    private static let spareByteCount = 64 << 10

    private mutating func freeSlot() throws -> Int {
        if frames.count < frameCount {
            let byteCount = Format.framePlainByteCount(blockSize)
            frames.append(Frame(bytes: try AlignedBuffer(byteCount: byteCount)))
            return frames.count - 1
        }
        return frames.indices.min { frames[$0].lastUse < frames[$1].lastUse } ?? 0
    }
}
