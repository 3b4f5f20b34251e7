internal import BlockModel
internal import ChangeTracking
internal import Repository
internal import RepositoryFormat

/// What all workers of a capture share and none of them changes.
final class CaptureContext: Sendable {
    let repository: Repository
    let index: Index
    let line: Line
    let attempt: UInt64
    let level: Int
    let isDryRun: Bool
    let blockSize: BlockSize
    /// Whether the repository ever lost blocks, so that those found there are to be proved.
    let mindsLoss: Bool
    /// Whether it lost some since this volume was last looked through, so that unchanged blocks may
    /// have to be stored again.
    let looksForLoss: Bool
    private let lossCount: UInt64
    /// Blocks of the snapshot before; 0 for a base.
    let oldBlockCount: UInt64
    let fingerprinter: BlockFingerprinter
    let zeroDigest: Digest

    init(
        repository: Repository,
        index: Index,
        line: Line,
        attempt: UInt64,
        level: Int,
        isDryRun: Bool
    ) throws {
        self.repository = repository
        self.index = index
        self.line = line
        self.attempt = attempt
        self.level = level
        self.isDryRun = isDryRun
        blockSize = repository.blockSize
        oldBlockCount = repository.blockSize.blockCount(coveringByteCount: line.tipByteCount)
        fingerprinter = BlockFingerprinter(hash: index.fingerprints, blockSize: blockSize)
        zeroDigest = ImageDigestTree(blockSize: blockSize).zeroBlock
        lossCount = try index.lossCount()
        mindsLoss = lossCount > 0
        looksForLoss = lossCount > line.memory.lossesSeen
    }

    /// What the next capture is to know; `samplePosition` where this one took a sample.
    func memory(samplePosition: UInt64?) -> CaptureMemory {
        var memory = line.memory
        memory.lossesSeen = lossCount
        if let samplePosition { memory.samplePosition = samplePosition }
        return memory
    }

    /// The page of fingerprints that the index has for the snapshot before.
    func loadTip(_ page: UInt64) throws -> TipPage? {
        // Behind the old end nothing is known: what an earlier, longer state had there is history.
        let count = Page.blockCount(ofPage: page, volumeBlockCount: oldBlockCount)
        guard count > 0 else { return nil }
        var tip = try index.tipPage(of: line.number, page: page)
        tip?.resize(to: count)
        if looksForLoss, tip != nil {
            // Read and digested, such blocks are stored again where nothing gives them any more.
            for slot in try index.doubtfulSlots(
                of: line.number, page: page, generation: line.tipGeneration, blockCount: count)
            {
                tip?[slot] = nil
            }
        }
        return tip
    }

    /// Whether the page was all zeros for as long as there is a history of it.
    func isUntouched(_ page: UInt64) throws -> Bool {
        try !index.hasHistory(of: line.number, page: page)
    }

    /// Numbers and digests of the page in the snapshot before.
    func loadBefore(_ page: UInt64) throws -> PageBlocks {
        try index.blocks(
            of: line.number, page: page, generation: line.tipGeneration,
            blockCount: Page.blockCount(ofPage: page, volumeBlockCount: oldBlockCount),
            zeroDigest: zeroDigest)
    }
}
