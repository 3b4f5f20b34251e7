package import BlockModel
internal import Crypto
internal import LMDB
package import LinuxIO
internal import ObjectStore
internal import RepositoryFormat
internal import Zstandard

/// A version of a block that a patch may be made against.
package struct PatchBase: Sendable {
    package let digest: Digest
    package let depth: UInt8
    /// Payloads of the patches that it takes to read it.
    package let chainByteCount: Int
    /// Where a reader keeps its bytes; nil for the block that was asked for.
    let level: Int?
}

/// Reads blocks by their number in the index; belongs to one thread.
///
/// Keeps the last few decompressed frames, and reads ahead where frames are asked for in the order
/// of their pack. Every block is proved by its digest before it is handed out,
/// unless the reader was told not to.
package final class BlockReader {
    private struct FrameKey: Hashable {
        let pack: UInt32
        let byteOffset: UInt32
    }
    private struct CachedFrame {
        var key: FrameKey?
        let bytes: AlignedBuffer
        var lastUse: UInt64 = 0
    }

    private let repository: Repository
    private let index: Index
    private let blockSize: BlockSize
    private let decompressor: Decompressor
    private let hash = SHA256()
    private var cache: [CachedFrame] = []
    private let cacheCount: Int
    private var clock: UInt64 = 0
    /// The prefixes of the patches that were decoded last, the nearest first.
    private var scratch: [AlignedBuffer] = []
    /// What lies in `scratch`, the nearest last.
    private var trail: [PatchBase] = []
    private var window: FrameWindow
    private let isVerifying: Bool

    package init(
        repository: Repository,
        index: Index,
        cachedFrameCount: Int = 8,
        isVerifying: Bool = true
    ) throws {
        self.isVerifying = isVerifying
        self.repository = repository
        self.index = index
        blockSize = repository.blockSize
        decompressor = try Decompressor()
        cacheCount = cachedFrameCount
        window = try FrameWindow(blockSize: repository.blockSize)
    }

    /// Writes the block's plain bytes to the start of `target`, proved by `digest`.
    ///
    /// Places are tried shallowest first; the block is damaged when none of them gives its bytes.
    ///
    /// - Throws: ``RepositoryError`` of kind `damaged`.
    package func read(
        _ number: BlockNumber,
        digest: Digest,
        into target: inout MutableRawSpan
    ) throws {
        _ = try readPlace(number, digest: digest, into: &target)
    }

    /// The same; gives the place that held the bytes.
    private func readPlace(
        _ number: BlockNumber,
        digest: Digest,
        into target: inout MutableRawSpan
    ) throws -> Place {
        let places = try index.environment.read { try index.places(of: number, $0) }
        var cause: any Error = RepositoryError(.damaged, "no pack holds it")
        for place in places {
            do {
                try decode(place, into: &target, level: 0)
                guard isVerifying else { return place }
                let block = target.bytes.extracting(0..<blockSize.byteCount)
                hash.update(block)
                if Digest(hash.finish()) == digest { return place }
                cause = RepositoryError(.damaged, "\(name(of: place)) holds other bytes")
            } catch {
                cause = error
            }
        }
        throw RepositoryError(
            .damaged,
            "block \(digest.hexadecimal.prefix(12)) cannot be read: \(cause); 'varve check' says "
                + "which snapshots need it")
    }

    /// Proves that the place gives the bytes of `digest`.
    ///
    /// - Throws: ``RepositoryError`` of kind `damaged`.
    func prove(_ place: Place, _ digest: Digest, scratch: AlignedBuffer) throws {
        try scratch.withMutableBytes { try decode(place, into: &$0, level: 0) }
        let scratch = scratch
        hash.update(scratch.bytes.extracting(0..<blockSize.byteCount))
        guard Digest(hash.finish()) == digest else {
            throw RepositoryError(
                .damaged, "\(name(of: place)) holds other bytes than its table says")
        }
    }

    /// What a patch is a patch of.
    func prefix(of place: Place) throws -> Digest? {
        try window.header(of: place, try pack(of: place), repository).prefix
    }

    /// The same as ``read(_:digest:into:)``; gives what a patch may be made against: the block
    /// itself, then the earlier versions that it is patched from, nearest first.
    package func readForPatch(
        _ number: BlockNumber,
        digest: Digest,
        into target: inout MutableRawSpan
    ) throws -> [PatchBase] {
        trail.removeAll(keepingCapacity: true)
        let place = try readPlace(number, digest: digest, into: &target)
        var chainByteCount = 0
        if place.kind == .patch {
            let header = try window.header(of: place, try pack(of: place), repository)
            chainByteCount = header.chainByteCount
        }
        let block = PatchBase(
            digest: digest, depth: place.depth, chainByteCount: chainByteCount, level: nil)
        return [block] + trail.reversed()
    }

    /// The bytes of an earlier version that the last ``readForPatch(_:digest:into:)`` gave, proved
    /// by their digest; nil for the block itself, and where the proof fails.
    package func bytes(of base: PatchBase) -> AlignedBuffer? {
        guard let level = base.level, level < scratch.count else { return nil }
        let bytes = scratch[level]
        hash.update(bytes.bytes.extracting(0..<blockSize.byteCount))
        return Digest(hash.finish()) == base.digest ? bytes : nil
    }

    private func pack(of place: Place) throws -> PackRecord {
        guard let pack = index.pack(place.pack) else {
            throw RepositoryError(.damaged, "its pack is missing")
        }
        return pack
    }

    private func name(of place: Place) -> String {
        index.pack(place.pack).map { ObjectNames.pack($0.id) } ?? "a missing pack"
    }

    // MARK: Decoding

    private func decode(
        _ place: Place,
        into target: inout MutableRawSpan,
        level: Int
    ) throws {
        if place.kind == .patch { return try decodePatch(place, into: &target, level: level) }
        let frame = try frame(at: place)
        let start = Int(place.slot) * blockSize.byteCount
        guard start + blockSize.byteCount <= frame.byteCount else {
            throw RepositoryError(.damaged, "\(name(of: place)) has a frame too short")
        }
        target.copy(frame.bytes.extracting(start..<start + blockSize.byteCount), to: 0)
    }

    /// A patch and the block below it, whose places are of strictly smaller depth: the recursion
    /// ends after at most eight hops, whatever the bytes are.
    private func decodePatch(
        _ place: Place,
        into target: inout MutableRawSpan,
        level: Int
    ) throws {
        let record = try pack(of: place)
        let header = try window.header(of: place, record, repository)
        guard let prefixDigest = header.prefix, header.kind == .patch, header.depth == place.depth
        else { throw RepositoryError(.damaged, "\(name(of: place)) is not what its table says") }
        let candidates = try index.environment.read { transaction -> [Place] in
            guard let number = try index.number(of: prefixDigest, transaction) else { return [] }
            return try index.places(of: number, transaction).filter { $0.depth < place.depth }
        }
        while scratch.count <= level {
            scratch.append(try AlignedBuffer(byteCount: blockSize.byteCount))
        }
        let prefix = scratch[level]
        let trailCount = trail.count
        var cause: any Error = RepositoryError(
            .damaged,
            "the block \(prefixDigest.hexadecimal.prefix(12)) below a patch in "
                + "\(name(of: place)) is missing")
        for candidate in candidates {
            do {
                try prefix.withMutableBytes { try decode(candidate, into: &$0, level: level + 1) }
                // The window may have moved on to another frame meanwhile.
                let payload = try window.payload(of: place, record, repository)
                let count = try decompressor.decompress(
                    payload.buffer.bytes.extracting(payload.range), prefix: prefix.bytes,
                    into: &target)
                guard count == blockSize.byteCount else {
                    throw RepositoryError(.damaged, "a patch in \(name(of: place)) is too short")
                }
                trail.append(
                    PatchBase(
                        digest: prefixDigest, depth: candidate.depth,
                        chainByteCount: max(0, header.chainByteCount - header.payloadByteCount),
                        level: level))
                return
            } catch {
                trail.removeLast(trail.count - trailCount)
                cause = error
            }
        }
        throw cause
    }

    /// The plain bytes of a whole frame that is no patch.
    private func frame(at place: Place) throws -> AlignedBuffer {
        let key = FrameKey(pack: place.pack, byteOffset: place.byteOffset)
        clock += 1
        if let hit = cache.firstIndex(where: { $0.key == key }) {
            cache[hit].lastUse = clock
            return cache[hit].bytes
        }
        let slot = try cacheSlot()
        cache[slot].key = nil
        let record = try pack(of: place)
        let payload = try window.payload(of: place, record, repository)
        let plainByteCount = Int(place.frameBlockCount) * blockSize.byteCount
        let target = cache[slot].bytes
        guard plainByteCount <= target.byteCount else {
            throw RepositoryError(.damaged, "\(name(of: place)) has a frame too large")
        }
        let source = payload.buffer.bytes.extracting(payload.range)
        if place.kind == .stored {
            guard source.byteCount == plainByteCount else {
                throw RepositoryError(.damaged, "\(name(of: place)) has a frame too short")
            }
            target.copy(source, to: 0)
        } else {
            let count = try target.withMutableBytes {
                try decompressor.decompress(source, into: &$0)
            }
            guard count == plainByteCount else {
                throw RepositoryError(.damaged, "\(name(of: place)) has a frame too short")
            }
        }
        cache[slot].key = key
        cache[slot].lastUse = clock
        return target
    }

    private func cacheSlot() throws -> Int {
        if cache.count < cacheCount {
            let byteCount = max(Format.framePlainByteLimit, blockSize.byteCount)
            cache.append(CachedFrame(bytes: try AlignedBuffer(byteCount: byteCount)))
            return cache.count - 1
        }
        return cache.indices.min { cache[$0].lastUse < cache[$1].lastUse } ?? 0
    }
}
