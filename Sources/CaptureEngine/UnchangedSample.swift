internal import BlockModel
internal import ChangeTracking
internal import LinuxIO
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
internal import VolumeAccess

/// Compares a part of what evidence calls unchanged with the snapshot before.
///
/// Units of the volume are taken in a secret order that goes on where the last capture stopped, so
/// that every block is compared once a cycle and nobody knows when.
struct UnchangedSample {
    struct Result: Hashable, Sendable {
        var comparedByteCount: UInt64 = 0
        /// Where the next sample begins.
        var nextPosition: UInt64 = 0
        /// Captures like this one that it takes to compare every block once.
        var cycleLength: UInt64 = 0
        /// A block that is not what it was although the evidence calls it unchanged.
        var lie: UInt64?
    }

    /// Many small units find a region of lies sooner than few large ones.
    private static let unitByteCount = 256 << 10
    /// Holes cost little, but a nearly empty volume has very many.
    private static let emptyUnitLimit = 4096
    private static let flightByteCount = 8 << 20

    private let context: CaptureContext
    private let source: VolumeSource
    private let candidates: BlockExtents
    private let blockCount: UInt64
    private let unitBlockCount: UInt64
    private let reader: ChunkReader
    private let hasher = BlockHasher()
    private let tree: ImageDigestTree
    private var page: (number: UInt64, tip: TipPage?, before: PageBlocks?)?
    private var emptyUnitCount = 0
    /// Compared, or asked for.
    private var takenByteCount: UInt64 = 0
    private var result = Result()

    /// Prepares a sample of all blocks of `source` but the candidates.
    init(
        context: CaptureContext,
        source: VolumeSource,
        byteCount: UInt64,
        candidates: BlockExtents
    ) throws {
        self.context = context
        self.source = source
        self.candidates = candidates
        tree = ImageDigestTree(blockSize: context.blockSize)
        let size = context.blockSize.byteCount
        blockCount = context.blockSize.blockCount(coveringByteCount: byteCount)
        let unitByteCount = max(size, Self.unitByteCount)
        unitBlockCount = UInt64(unitByteCount / size)
        reader = try ChunkReader(
            source: source, byteCount: byteCount, blockSize: context.blockSize,
            chunkByteCount: unitByteCount, chunkCount: max(2, Self.flightByteCount / unitByteCount))
    }

    /// Compares units from `position` on: a quarter as much as there are candidates, or
    /// `byteTarget` if that is more.
    mutating func run(
        from position: UInt64,
        byteTarget: UInt64,
        secret: (low: UInt64, high: UInt64),
        progress: CaptureProgress,
        idle: () -> Void
    ) throws -> Result {
        let unitCount = (blockCount + unitBlockCount - 1) / unitBlockCount
        guard unitCount > 0 else { return result }
        let order = SampleOrder(unitCount: unitCount, secret: secret)
        let size = UInt64(context.blockSize.byteCount)
        let limit = max(byteTarget, candidates.blockCount * size / 4)
        let first = position % unitCount
        var taken: UInt64 = 0
        while taken < unitCount, emptyUnitCount < Self.emptyUnitLimit,
            takenByteCount < limit, result.lie == nil
        {
            if Interruption.isRequested { throw Interrupted.ofCapture }
            try take(order[(first + taken) % unitCount], progress)
            taken += 1
            if taken % 64 == 0 { idle() }
        }
        while !reader.isIdle { try compare(try reader.waitForNext(), progress) }
        result.nextPosition = (first + taken) % unitCount
        result.cycleLength = (unitCount + taken - 1) / max(taken, 1)
        return result
    }

    private mutating func take(_ unit: UInt64, _ progress: CaptureProgress) throws {
        let start = unit * unitBlockCount
        let blocks = start..<min(start + unitBlockCount, blockCount)
        let unnamedCount = UInt64(blocks.count) - candidates.blockCount(in: blocks)
        guard unnamedCount > 0 else { return }
        if try isEmptyAsBefore(blocks) {
            emptyUnitCount += 1
            return
        }
        takenByteCount += unnamedCount * UInt64(context.blockSize.byteCount)
        while !reader.hasFreeSlot { try compare(try reader.waitForNext(), progress) }
        if let chunk = try reader.begin(blocks) { try compare(chunk, progress) }
    }

    /// Whether the blocks lie in a hole of the file, on a page that held nothing but zeros.
    private func isEmptyAsBefore(_ blocks: Range<UInt64>) throws -> Bool {
        let offset = context.blockSize.byteOffset(ofBlock: blocks.lowerBound)
        let end = context.blockSize.byteOffset(ofBlock: blocks.upperBound)
        if let data = try source.nextData(from: offset), data.lowerBound < end { return false }
        return context.wasEmpty(Page.index(ofBlock: blocks.lowerBound), tree)
    }

    private mutating func compare(
        _ chunk: ChunkReader.Chunk,
        _ progress: CaptureProgress
    ) throws {
        let size = context.blockSize.byteCount
        let buffer = reader.buffer
        for (position, block) in chunk.blocks.enumerated() where !candidates.contains(block) {
            let start = chunk.range.lowerBound + position * size
            let bytes = buffer.bytes.extracting(start..<start + size)
            if try !isAsBefore(block, bytes) { result.lie = block }
            result.comparedByteCount += UInt64(size)
        }
        progress.add(readByteCount: chunk.range.count)
        reader.release(chunk)
    }

    private mutating func isAsBefore(_ block: UInt64, _ bytes: RawSpan) throws -> Bool {
        let number = Page.index(ofBlock: block)
        let slot = Page.slot(ofBlock: block)
        if page?.number != number { page = (number, try context.loadTip(number), nil) }
        if let tip = page?.tip, slot < tip.blockCount,
            tip[slot] == context.fingerprinter.fingerprint(of: bytes)
        {
            return true
        }
        let before = try page?.before ?? context.loadBefore(number, tree)
        page?.before = before
        guard slot < before.blockCount, before.isData(slot) else { return bytes.isAllZero }
        return hasher.digest(of: bytes) == before.digests[slot]
    }
}
