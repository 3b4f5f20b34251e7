package import BlockModel
package import LinuxIO
internal import ObjectStore
package import Repository
internal import RepositoryFormat
package import RepositoryIndex

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
package struct DamageBelowPatch: Error, CustomStringConvertible {
    let cause: any Error

    package var description: String {
        "the block that it patches cannot be read: \(RepositoryError.cause(of: cause))"
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
    private let hasher = BlockHasher()
    private var frames: FrameCache
    private var lastSlot: UInt8 = 0
    /// The prefixes of the patches that were decoded last, the nearest first.
    private var scratch: [AlignedBuffer] = []
    /// What lies in `scratch`, the nearest last.
    private var trail: [PatchBase] = []
    /// Places that the block at hand may still try of those whose failure is not remembered.
    private var remainingTries = 0
    private let isVerifying: Bool
    private let failures: FailedPlaces
    private var crowded = CrowdedBlocks()

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
        // What cannot be read whole may do for a reader that takes what it needs.
        let readsWholeFrames = readsWholeFrames || !isVerifying
        failures = readsWholeFrames ? index.failuresOfWholeFrames : index.failures
        frames = try FrameCache(
            repository: repository, index: index, frameCount: cachedFrameCount,
            readsWholeFrames: readsWholeFrames)
    }

    /// Writes the block's plain bytes to the start of `target`, proved by `digest`.
    ///
    /// Places in packs that this index saw being written are tried first, then the shallowest; none that
    /// failed before is tried again. The block is damaged when none of them gives its bytes.
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
        remainingTries = Self.tryLimit
        crowded.keepUp(with: failures)
        let reason: String
        do {
            return try isVerifying
                ? readProved(number, digest, below: .max, into: &target, level: 0)
                : readUnproved(number, into: &target)
        } catch { reason = RepositoryError.cause(of: error) }
        throw RepositoryError(
            .damaged,
            "block \(digest.hexadecimal.prefix(12)) cannot be read: \(reason); 'varve check "
                + "--read-data' lists the affected snapshots, and the next backup stores it again "
                + "if the disk still has it",
            cause: reason)
    }

    private func readUnproved(
        _ number: BlockNumber,
        into target: inout MutableRawSpan
    ) throws -> Place {
        var cause: any Error = RepositoryError(.damaged, "no pack holds it")
        for place in try candidates(for: number, below: .max) {
            do {
                try decodeQuickly(place, into: &target, level: 0)
                return place
            } catch {
                cause = error
                index.noteBadFrame(at: place)
            }
        }
        throw cause
    }

    /// Proves that the place gives the bytes of `digest`, whether it failed before or not.
    ///
    /// - Throws: ``RepositoryError`` of kind `damaged`, or ``DamageBelowPatch``.
    package func prove(_ place: Place, _ digest: Digest, scratch: AlignedBuffer) throws {
        remainingTries = Self.tryLimit
        crowded.keepUp(with: failures)
        try scratch.withMutableBytes { bytes in
            if place.kind.isPatch, (try? decodeQuickly(place, into: &bytes, level: 0)) != nil,
                digestOfBlock(bytes) == digest
            {
                return
            }
            try decodeProved(place, digest, into: &bytes, level: 0)
        }
    }

    /// What a patch is a patch of.
    package func prefixes(of place: Place) throws -> [Digest] {
        try patchHeader(of: place).prefixes
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
        let digest = hasher.digest(of: bytes.bytes.extracting(0..<blockSize.byteCount))
        return [digest] == base.digests ? bytes : nil
    }

    // MARK: Decoding

    /// What is tried for one block, beside places whose failure is remembered.
    private static let tryLimit = 256

    /// A block's places in the order in which they are tried: what is known to be bad last, before it
    /// what this index did not see being written, and the shallowest first.
    private func candidates(for number: BlockNumber, below depth: UInt8) throws -> [Place] {
        if crowded.isHopeless(number, below: depth) { return [] }
        if let place = crowded.proved(number, below: depth) { return [place] }
        let places = try index.allPlaces(of: number).filter { $0.depth < depth }
        guard places.count > 1 else { return places }
        return places.map { place in (place, rank(of: place)) }
            .sorted { ($0.1, $0.0.depth) < ($1.1, $1.0.depth) }.map(\.0)
    }

    private func rank(of place: Place) -> Int {
        guard let pack = index.pack(place.pack), !pack.isBad(place) else { return 2 }
        return pack.isOwn ? 0 : 1
    }

    /// Reads a block from the first of its places that gives it, proved.
    ///
    /// At each hop only blocks that were proved are gone on with, and each place fails once: so what is
    /// tried in vain is bounded by what there is, however places are patches of blocks with many places.
    private func readProved(
        _ number: BlockNumber,
        _ digest: Digest,
        below depth: UInt8,
        into target: inout MutableRawSpan,
        level: Int
    ) throws -> Place {
        let places = try candidates(for: number, below: depth)
        var cause: any Error = RepositoryError(
            .damaged,
            crowded.isHopeless(number, below: depth)
                ? "no copy of it is readable" : "no pack holds it")
        var isHopeless = true
        for (position, place) in places.enumerated() {
            if failures.contains(place) {
                cause = RepositoryError(
                    .damaged, "\(frames.name(of: place)) does not match its table")
                continue
            }
            // What a place needs is as it should be, as a rule: then nothing but the block is proved.
            if position == 0, level == 0, place.kind.isPatch,
                (try? decodeQuickly(place, into: &target, level: 0)) != nil,
                digestOfBlock(target) == digest
            {
                if places.count > CrowdedBlocks.placeCount { crowded.noteProved(number, place) }
                return place
            }
            do {
                try decodeProved(place, digest, into: &target, level: level)
                if places.count > CrowdedBlocks.placeCount { crowded.noteProved(number, place) }
                return place
            } catch {
                index.noteBadFrame(at: place)
                isHopeless = isHopeless && error.isLastingFailure
                cause = error
            }
        }
        if crowded.proved(number, below: depth) != nil {
            crowded.noteProved(number, nil)
            return try readProved(number, digest, below: depth, into: &target, level: level)
        }
        if isHopeless, places.count > CrowdedBlocks.placeCount {
            crowded.noteHopeless(number, below: depth)
        }
        throw cause
    }

    /// Decodes a place, with everything below it proved, and proves the block.
    private func decodeProved(
        _ place: Place,
        _ digest: Digest,
        into target: inout MutableRawSpan,
        level: Int
    ) throws {
        guard remainingTries > 0 else { throw TooManyTries() }
        let trailCount = trail.count
        do {
            if place.kind.isPatch {
                try decodePatch(place, into: &target, level: level) { digest, block in
                    guard let number = try index.numberOf(digest) else {
                        throw RepositoryError(
                            .damaged, "no pack holds block \(digest.hexadecimal.prefix(12))")
                    }
                    return try readProved(
                        number, digest, below: place.depth, into: &block, level: level + 1)
                }
            } else {
                try decodePlain(place, into: &target)
            }
            guard digestOfBlock(target) == digest else {
                throw RepositoryError(
                    .damaged, "\(frames.name(of: place)) holds data that does not match its table")
            }
        } catch {
            trail.removeLast(trail.count - trailCount)
            if !error.isLastingFailure || !failures.insert(place) { remainingTries -= 1 }
            throw error
        }
    }

    /// Decodes a place from the first place of everything below it, and proves nothing.
    private func decodeQuickly(
        _ place: Place,
        into target: inout MutableRawSpan,
        level: Int
    ) throws {
        guard place.kind.isPatch else { return try decodePlain(place, into: &target) }
        let trailCount = trail.count
        do {
            try decodePatch(place, into: &target, level: level) { digest, block in
                guard let number = try index.numberOf(digest) else {
                    throw RepositoryError(
                        .damaged, "no pack holds block \(digest.hexadecimal.prefix(12))")
                }
                let places = try candidates(for: number, below: place.depth)
                // One that has many is proved, and remembered then.
                guard !isVerifying || places.count <= CrowdedBlocks.placeCount,
                    let place = places.first(where: { !failures.contains($0) })
                else {
                    throw RepositoryError(
                        .damaged, "no pack holds block \(digest.hexadecimal.prefix(12))")
                }
                try decodeQuickly(place, into: &block, level: level + 1)
                return place
            }
        } catch {
            trail.removeLast(trail.count - trailCount)
            throw error
        }
    }

    private func decodePlain(_ place: Place, into target: inout MutableRawSpan) throws {
        let start = Int(place.slot) * blockSize.byteCount
        guard place.slot < place.frameBlockCount,
            Int(place.frameBlockCount) <= Format.frameBlockLimit(blockSize)
        else {
            throw RepositoryError(.damaged, "\(frames.name(of: place)) is not the place of a block")
        }
        let frame = try frames.frame(
            at: place, until: start + blockSize.byteCount, lastSlot: lastSlot)
        target.copy(frame.bytes.extracting(start..<start + blockSize.byteCount), to: 0)
    }

    private func patchHeader(of place: Place) throws -> FrameHeader {
        let header = try frames.header(of: place)
        guard header.kind.isPatch, header.depth == place.depth else {
            throw RepositoryError(.damaged, "\(frames.name(of: place)) differs from its table")
        }
        return header
    }

    /// Decodes a patch; `readPrefix` gives the blocks that it is a patch of, from places of strictly
    /// smaller depth: this ends after at most eight hops, whatever the bytes are.
    private func decodePatch(
        _ place: Place,
        into target: inout MutableRawSpan,
        level: Int,
        _ readPrefix: (Digest, inout MutableRawSpan) throws -> Place
    ) throws {
        let header = try patchHeader(of: place)
        while scratch.count <= level {
            scratch.append(try AlignedBuffer(byteCount: 2 * blockSize.byteCount))
        }
        let size = blockSize.byteCount
        let prefix = scratch[level]
        var chosen: [Place] = []
        for (position, digest) in header.prefixes.enumerated() {
            do {
                chosen.append(
                    try prefix.withMutableBytes { bytes in
                        var block = bytes._mutatingExtracting(
                            position * size..<(position + 1) * size)
                        return try readPrefix(digest, &block)
                    })
            } catch { throw DamageBelowPatch(cause: error) }
        }
        let count = try frames.decodePatch(
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

    private func digestOfBlock(_ bytes: borrowing MutableRawSpan) -> Digest {
        hasher.digest(of: bytes.bytes.extracting(0..<blockSize.byteCount))
    }
}
