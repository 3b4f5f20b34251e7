package import BlockModel
internal import Crypto
internal import LMDB
package import LinuxIO
internal import ObjectStore
internal import RepositoryFormat

/// What a patch may be made against: an earlier version of a block, or blocks like it.
package struct PatchBase: Sendable {
    /// The block; of two, one behind the other.
    package let digests: [Digest]
    package let depth: UInt8
    /// Payloads of the patches that it takes to read it.
    package let chainByteCount: Int
    /// Where a reader keeps its bytes; nil where the caller has them.
    let level: Int?

    init(digest: Digest, depth: UInt8, chainByteCount: Int, level: Int?) {
        digests = [digest]
        self.depth = depth
        self.chainByteCount = chainByteCount
        self.level = level
    }

    /// One or two blocks that are stored in full.
    package init(plain digests: [Digest]) {
        self.digests = digests
        depth = 0
        chainByteCount = 0
        level = nil
    }

    /// Whether the caller has its bytes.
    package var isAtHand: Bool { level == nil }
}

/// A patch cannot be applied because what it is a patch of cannot be read.
struct DamageBelowPatch: Error, CustomStringConvertible {
    let cause: any Error

    var description: String {
        "what it is a patch of cannot be read: \(RepositoryError.cause(of: cause))"
    }
}

/// Reads blocks by their number in the index; belongs to one thread.
///
/// Every block is proved by its digest before it is handed out,
/// unless the reader was told not to.
package final class BlockReader {
    private let repository: Repository
    private let index: Index
    private let blockSize: BlockSize
    private let hash = SHA256()
    private var frames: FrameCache
    private var lastSlot: UInt8 = 0
    /// The prefixes of the patches that were decoded last, the nearest first.
    private var scratch: [AlignedBuffer] = []
    /// What lies in `scratch`, the nearest last.
    private var trail: [PatchBase] = []
    /// Patches that the block at hand may still try: many places, each of a patch of a block with
    /// many places, must not keep a reader for ever.
    private var remainingHops = 0
    /// Whether what a patch is a patch of is proved too: a place that gave other bytes without an
    /// error must not hide one that gives the right ones.
    private var provesPrefixes = false
    private let isVerifying: Bool

    /// Makes a reader that proves blocks by their digests, if `isVerifying`.
    ///
    /// With `readsWholeFrames` every frame that is touched is read to its end and compared with its
    /// checksum; otherwise a block that is proved may do without.
    package init(
        repository: Repository,
        index: Index,
        cachedFrameCount: Int = 3,
        isVerifying: Bool = true,
        readsWholeFrames: Bool = false
    ) throws {
        self.isVerifying = isVerifying
        self.repository = repository
        self.index = index
        blockSize = repository.blockSize
        frames = try FrameCache(
            repository: repository, index: index, frameCount: cachedFrameCount,
            readsWholeFrames: readsWholeFrames || !isVerifying)
    }

    /// Writes the block's plain bytes to the start of `target`, proved by `digest`.
    ///
    /// Places are tried shallowest first; the block is damaged when none of them gives its bytes.
    ///
    /// `lastSlot` is the last slot of the block's frame that is going to be asked for, where the
    /// caller knows; it saves decompressing the frame twice.
    ///
    /// - Throws: ``RepositoryError`` of kind `damaged`.
    package func read(
        _ number: BlockNumber,
        digest: Digest,
        lastSlot: UInt8 = 0,
        into target: inout MutableRawSpan
    ) throws {
        self.lastSlot = lastSlot
        defer { self.lastSlot = 0 }
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
        remainingHops = Self.hopLimit
        defer { provesPrefixes = false }
        for attempt in 0..<2 * places.count {
            let place = places[attempt / 2]
            provesPrefixes = attempt % 2 == 1
            if provesPrefixes && !(place.kind.isPatch && isVerifying) { continue }
            do {
                try decode(place, into: &target, level: 0)
                guard isVerifying else { return place }
                let block = target.bytes.extracting(0..<blockSize.byteCount)
                hash.update(block)
                if Digest(hash.finish()) == digest { return place }
                cause = RepositoryError(.damaged, "\(frames.name(of: place)) holds other bytes")
            } catch {
                cause = error
            }
            index.noteRot(at: place)
        }
        let reason = RepositoryError.cause(of: cause)
        throw RepositoryError(
            .damaged,
            "block \(digest.hexadecimal.prefix(12)) cannot be read: \(reason); 'varve check "
                + "--read-data' says which snapshots lack it, and the next backup stores it again "
                + "if the disk still has it",
            cause: reason)
    }

    /// Proves that the place gives the bytes of `digest`.
    ///
    /// - Throws: ``RepositoryError`` of kind `damaged`.
    func prove(_ place: Place, _ digest: Digest, scratch: AlignedBuffer) throws {
        remainingHops = Self.hopLimit
        try scratch.withMutableBytes { try decode(place, into: &$0, level: 0) }
        let scratch = scratch
        hash.update(scratch.bytes.extracting(0..<blockSize.byteCount))
        guard Digest(hash.finish()) == digest else {
            throw RepositoryError(
                .damaged, "\(frames.name(of: place)) holds other bytes than its table says")
        }
    }

    /// What a patch is a patch of.
    func prefixes(of place: Place) throws -> [Digest] {
        try frames.header(of: place).prefixes
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
        if place.kind.isPatch {
            let header = try frames.header(of: place)
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
        return [Digest(hash.finish())] == base.digests ? bytes : nil
    }

    // MARK: Decoding

    /// Room for a few places at each of eight hops.
    private static let hopLimit = 256

    private func decode(
        _ place: Place,
        into target: inout MutableRawSpan,
        level: Int
    ) throws {
        if place.kind.isPatch { return try decodePatch(place, into: &target, level: level) }
        let start = Int(place.slot) * blockSize.byteCount
        guard place.slot < place.frameBlockCount,
            Int(place.frameBlockCount) <= Format.frameBlockLimit(blockSize)
        else {
            throw RepositoryError(.damaged, "\(frames.name(of: place)) is not a place of a block")
        }
        let frame = try frames.frame(
            at: place, until: start + blockSize.byteCount, lastSlot: lastSlot)
        target.copy(frame.bytes.extracting(start..<start + blockSize.byteCount), to: 0)
    }

    /// A patch and the block below it, whose places are of strictly smaller depth: the recursion
    /// ends after at most eight hops, whatever the bytes are.
    private func decodePatch(
        _ place: Place,
        into target: inout MutableRawSpan,
        level: Int
    ) throws {
        remainingHops -= 1
        guard remainingHops > 0 else {
            throw RepositoryError(.damaged, "too many patches were tried")
        }
        let header = try frames.header(of: place)
        guard header.kind.isPatch, header.depth == place.depth else {
            throw RepositoryError(.damaged, "\(frames.name(of: place)) is not what its table says")
        }
        while scratch.count <= level {
            scratch.append(try AlignedBuffer(byteCount: 2 * blockSize.byteCount))
        }
        let candidates = try header.prefixes.map { digest in
            let places = try places(of: digest, below: place.depth)
            guard !places.isEmpty else {
                throw DamageBelowPatch(
                    cause: RepositoryError(
                        .damaged, "no pack holds block \(digest.hexadecimal.prefix(12))"))
            }
            return places
        }
        let trailCount = trail.count
        var cause: (any Error)?
        for attempt in 0..<(candidates.map(\.count).max() ?? 0) {
            let chosen = candidates.map { $0[min(attempt, $0.count - 1)] }
            do {
                try decode(place, header, of: chosen, into: &target, level: level)
                return
            } catch {
                trail.removeLast(trail.count - trailCount)
                cause = error
            }
        }
        if let cause { throw cause }
    }

    private func places(of digest: Digest, below depth: UInt8) throws -> [Place] {
        try index.environment.read { transaction in
            guard let number = try index.number(of: digest, transaction) else { return [] }
            return try index.places(of: number, transaction).filter { $0.depth < depth }
        }
    }

    /// Decodes the blocks below a patch from the places that were chosen for them, and the patch.
    private func decode(
        _ place: Place,
        _ header: FrameHeader,
        of chosen: [Place],
        into target: inout MutableRawSpan,
        level: Int
    ) throws {
        let size = blockSize.byteCount
        let prefix = scratch[level]
        for (position, place) in chosen.enumerated() {
            try prefix.withMutableBytes { bytes in
                var block = bytes._mutatingExtracting(position * size..<(position + 1) * size)
                do {
                    try decode(place, into: &block, level: level + 1)
                    if provesPrefixes {
                        hash.update(block.bytes)
                        guard Digest(hash.finish()) == header.prefixes[position] else {
                            throw RepositoryError(
                                .damaged, "\(frames.name(of: place)) holds other bytes")
                        }
                    }
                } catch {
                    index.noteRot(at: place)
                    throw DamageBelowPatch(cause: error)
                }
            }
        }
        let count = try frames.decompressPatch(
            place, prefix: prefix.bytes.extracting(0..<chosen.count * size), into: &target)
        guard count == size else {
            throw RepositoryError(.damaged, "a patch in \(frames.name(of: place)) is too short")
        }
        // Two blocks together are no earlier version of this one.
        guard let digest = header.prefixes.first, chosen.count == 1 else { return }
        trail.append(
            PatchBase(
                digest: digest, depth: chosen[0].depth,
                chainByteCount: max(0, header.chainByteCount - header.payloadByteCount),
                level: level))
    }
}
