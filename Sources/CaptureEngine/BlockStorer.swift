internal import BlockModel
internal import Crypto
internal import LinuxIO
internal import Repository
internal import RepositoryFormat

/// A changed block in a chunk's buffer.
struct ChangedBlock {
    let slot: Int
    /// Where the block begins in the chunk.
    let byteOffset: Int
    let digest: Digest
    /// The block that was there before; a patch is tried against it.
    let before: BlockNumber
    let beforeDigest: Digest
}

/// Stores the blocks that the repository does not have: one for each worker.
///
/// A block with an earlier version at hand becomes a patch where that pays; the others go into
/// frames, neighbours together.
final class BlockStorer {
    private let context: CaptureContext
    private let packs: any FrameSink
    private let encoder: FrameEncoder
    private let reader: BlockReader
    private let earlier: AlignedBuffer
    private let frameBlockLimit: Int
    private var digests: [Digest] = []

    init(context: CaptureContext, packs: any FrameSink) throws {
        self.context = context
        self.packs = packs
        encoder = try FrameEncoder(blockSize: context.blockSize, level: context.level)
        let cached = max(2, min(8, (4 << 20) / context.blockSize.byteCount))
        reader = try BlockReader(
            repository: context.repository, index: context.index, cachedFrameCount: cached)
        earlier = try AlignedBuffer(byteCount: context.blockSize.byteCount)
        frameBlockLimit = Format.frameBlockLimit(context.blockSize)
    }

    /// Stores what is new among `blocks`, which are in the order of the chunk.
    func store(_ blocks: [ChangedBlock], in chunk: RawSpan) throws {
        let size = context.blockSize.byteCount
        var run: Range<Int> = 0..<0
        for block in blocks {
            let range = block.byteOffset..<block.byteOffset + size
            guard try isNew(block, chunk.extracting(range)) else { continue }
            if try storePatch(block, chunk.extracting(range)) { continue }
            if run.upperBound != range.lowerBound || run.count / size == frameBlockLimit {
                try storeRun(chunk.extracting(run))
                run = range.lowerBound..<range.lowerBound
            }
            run = run.lowerBound..<range.upperBound
            digests.append(block.digest)
        }
        try storeRun(chunk.extracting(run))
    }

    /// Whether the repository lacks the block; claims it then.
    private func isNew(_ block: ChangedBlock, _ bytes: RawSpan) throws -> Bool {
        guard packs.claim(block.digest) else { return false }
        guard let known = try context.index.find(block.digest) else { return true }
        // What another process stored is proved before it is relied upon, and so is a patch where
        // packs were lost: what it is a patch of may be gone.
        let isCertain = context.mindsLoss ? known.isOwnAndPlain : known.isOwn
        guard isCertain || isReadable(known.number, block.digest) else { return true }
        packs.unclaim(block.digest)
        return false
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
            guard let prefix = base.digest == nearest.digest ? earlier : reader.bytes(of: base)
            else { return false }
            let result = try encoder.encodePatch(
                bytes, prefix: prefix.bytes.extracting(0..<context.blockSize.byteCount),
                base: base
            ) { frame, header in
                try packs.append(frame: frame, header: header, digests: [block.digest])
            }
            switch result {
            case .done: return true
            case .tooLarge: return false
            case .chainTooLong: break
            }
            next = base.depth == 0 ? nil : bases.first { $0.depth <= base.depth / 2 }
        }
        return false
    }

    private func storeRun(_ plain: RawSpan) throws {
        guard plain.byteCount > 0 else { return }
        let stored = digests[...]
        try encoder.encode(plain) { frame, header in
            try packs.append(frame: frame, header: header, digests: stored)
        }
        digests.removeAll(keepingCapacity: true)
    }
}

/// Where frames go: the packs of the repository, or nowhere when only their size is asked for.
protocol FrameSink: Sendable {
    func claim(_ digest: Digest) -> Bool
    func unclaim(_ digest: Digest)
    func append(frame: RawSpan, header: FrameHeader, digests: ArraySlice<Digest>) throws
    func finish() throws
    var storedByteCount: UInt64 { get }
}

extension PackWriter: FrameSink {}
