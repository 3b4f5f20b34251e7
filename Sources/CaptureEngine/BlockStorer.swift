internal import BlockModel
internal import LinuxIO
internal import Packs
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex

/// A changed block in a chunk's buffer.
struct ChangedBlock {
    /// Its number in the volume.
    let number: UInt64
    /// Where the block begins in the chunk.
    let byteOffset: Int
    let digest: Digest
    /// The block that was there before; a patch is tried against it.
    let before: BlockNumber
    let beforeDigest: Digest
}

/// Stores the blocks that the repository does not have: one for each worker.
///
/// A block with an earlier version at hand becomes a patch where that pays, and so does one that
/// shares pages with another block of this capture. The others are collected into frames.
final class BlockStorer {
    private let context: CaptureContext
    private let packs: any FrameSink
    private let similar: SimilarBlocks?
    private let encoder: FrameEncoder
    private let reader: BlockReader
    private let hasher = BlockHasher()
    private let earlier: AlignedBuffer
    /// Blocks that share pages with the one at hand.
    private let likes: AlignedBuffer
    /// Blocks of the next frame.
    private let staged: AlignedBuffer
    private var digests: [Digest] = []
    private var stagedStretch: UInt64 = 0
    private let frameBlockLimit: Int

    init(context: CaptureContext, packs: any FrameSink, similar: SimilarBlocks?) throws {
        self.context = context
        self.packs = packs
        self.similar = similar
        encoder = try FrameEncoder(blockSize: context.blockSize, level: context.level)
        reader = try BlockReader(repository: context.repository, index: context.index)
        earlier = try AlignedBuffer(byteCount: context.blockSize.byteCount)
        likes = try AlignedBuffer(byteCount: 2 * context.blockSize.byteCount)
        staged = try AlignedBuffer(byteCount: Format.framePlainByteCount(context.blockSize))
        frameBlockLimit = Format.frameBlockLimit(context.blockSize)
    }

    /// Stores what is new among `blocks`, which are in the order of the chunk.
    func store(_ blocks: [ChangedBlock], in chunk: RawSpan) throws {
        let size = context.blockSize.byteCount
        for block in blocks {
            let bytes = chunk.extracting(block.byteOffset..<block.byteOffset + size)
            switch try novelty(of: block) {
            case .known: continue
            case .lost: break
            case .new:
                if try storePatch(block, bytes) { continue }
                if try storeSimilar(block, bytes) { continue }
            }
            try stage(block, bytes)
        }
    }

    /// Stores what is still waiting for its frame to fill.
    func finish() throws {
        guard !digests.isEmpty else { return }
        let count = digests.count * context.blockSize.byteCount
        let stored = digests[...]
        let staged = staged
        try encoder.encode(staged.bytes.extracting(0..<count)) { frame, header in
            _ = try packs.append(frame: frame, header: header, digests: stored)
        }
        digests.removeAll(keepingCapacity: true)
    }

    /// Puts the block into the next frame.
    ///
    /// A frame that is half full ends with its stretch of the volume, so that a restore, which goes
    /// by stretches as well, reads few frames twice.
    private func stage(_ block: ChangedBlock, _ bytes: RawSpan) throws {
        let stretch = block.number / UInt64(Format.stretchBlockCount(context.blockSize))
        let isHalfFull = digests.count * 2 >= frameBlockLimit
        if digests.count == frameBlockLimit || isHalfFull && stretch != stagedStretch {
            try finish()
        }
        stagedStretch = stretch
        staged.copy(bytes, to: digests.count * context.blockSize.byteCount)
        digests.append(block.digest)
        similar?.add(bytes, of: block.number)
    }

    private enum Novelty {
        case known
        case new
        /// The repository had it once. Patches of any depth may build on it, which needs it in full.
        case lost
    }

    /// Whether the repository lacks the block; claims it then.
    private func novelty(of block: ChangedBlock) throws -> Novelty {
        guard packs.claim(block.digest) else { return .known }
        guard let known = try context.index.find(block.digest) else {
            return try context.mindsLoss && context.index.hasNumber(block.digest) ? .lost : .new
        }
        // What another process stored is proved before it is relied upon, and so is a patch: what it is
        // a patch of may be pruned or lost.
        if let place = known.plainPlace {
            try context.reliance.add(block.digest, at: place)
        } else if !isReadable(known.number, block.digest) {
            return .lost
        }
        packs.unclaim(block.digest)
        return .known
    }

    private func isReadable(_ number: BlockNumber, _ digest: Digest) -> Bool {
        (try? earlier.withMutableBytes { try reader.read(number, digest: digest, into: &$0) })
            != nil
    }

    /// Stores the block as a patch of the version before; where the chain of patches below that is
    /// too long, of one half as deep, or of the one at the chain's end.
    private func storePatch(_ block: ChangedBlock, _ bytes: RawSpan) throws -> Bool {
        guard block.before >= SpecialBlock.firstDigest,
            let bases = try? earlier.withMutableBytes({
                try reader.readForPatch(block.before, digest: block.beforeDigest, into: &$0)
            }), let nearest = bases.first
        else { return false }
        var next: PatchBase? = nearest
        while let base = next {
            guard let prefix = base.isAtHand ? earlier : reader.bytes(of: base)
            else { return false }
            var isStored = false
            let result = try encoder.encodePatch(
                bytes, prefix: prefix.bytes.extracting(0..<context.blockSize.byteCount),
                base: base
            ) { frame, header in
                isStored = try packs.append(
                    frame: frame, header: header, digests: [block.digest])
            }
            switch result {
            case .done: return isStored
            case .tooLarge: return false
            case .chainTooLong: break
            }
            next = base.depth == 0 ? nil : bases.first { $0.depth <= base.depth / 2 }
        }
        return false
    }

    /// Stores the block as a patch of one or two others that this capture stored, when they share
    /// pages: what a file system laid down twice seldom has the same alignment to blocks.
    private func storeSimilar(_ block: ChangedBlock, _ bytes: RawSpan) throws -> Bool {
        guard let similar else { return false }
        let size = context.blockSize.byteCount
        let likes = likes
        var digests: [Digest] = []
        for position in 0..<similar.findBlocks(like: bytes, into: likes) {
            let like = likes.bytes.extracting(position * size..<(position + 1) * size)
            let digest = hasher.digest(of: like)
            guard try isStoredInFull(digest) else { break }
            digests.append(digest)
        }
        guard !digests.isEmpty else { return false }
        var isStored = false
        let result = try encoder.encodePatch(
            bytes, prefix: likes.bytes.extracting(0..<digests.count * size),
            base: PatchBase(plain: digests)
        ) { frame, header in
            isStored = try packs.append(frame: frame, header: header, digests: [block.digest])
        }
        return result == .done && isStored
    }

    private func isStoredInFull(_ digest: Digest) throws -> Bool {
        if packs.holdsInFull(digest) { return true }
        guard let place = try context.index.find(digest)?.plainPlace else { return false }
        try context.reliance.add(digest, at: place)
        return true
    }
}

/// Where frames go: the packs of the repository, or nowhere when only their size is asked for.
protocol FrameSink: Sendable {
    func claim(_ digest: Digest) -> Bool
    func unclaim(_ digest: Digest)
    func holdsInFull(_ digest: Digest) -> Bool
    func append(
        frame: RawSpan, header: FrameHeader, digests: ArraySlice<Digest>
    ) throws -> Bool
    func finish() throws
    var storedByteCount: UInt64 { get }
}

extension PackWriter: FrameSink {}
