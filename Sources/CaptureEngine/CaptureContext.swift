internal import BlockModel
internal import ChangeTracking
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
internal import RepositoryModel

/// What all workers of a capture share and none of them changes.
final class CaptureContext: Sendable {
    let repository: Repository
    let index: Index
    let history: History
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
    /// The snapshot before; nothing is in it for a base.
    let parent: SnapshotMap
    let fingerprinter: BlockFingerprinter
    /// Leaves of the snapshot before, proved by its image digest; none for a base.
    let leaves: [PageLeaf]
    /// Blocks that are not stored because the index knows where they are.
    let reliance: RelianceProof

    init(
        repository: Repository,
        index: Index,
        history: History,
        parent: Snapshot?,
        attempt: UInt64,
        level: Int,
        isDryRun: Bool
    ) throws {
        self.repository = repository
        self.index = index
        self.history = history
        self.attempt = attempt
        self.level = level
        self.isDryRun = isDryRun
        blockSize = repository.blockSize
        self.parent = SnapshotMap(index, history)
        fingerprinter = BlockFingerprinter(hash: index.fingerprints, blockSize: blockSize)
        let tree = ImageDigestTree(blockSize: blockSize)
        leaves = try parent.map { try index.provedLeaves(of: history, at: $0, tree) } ?? []
        reliance = RelianceProof(repository: repository, index: index)
        lossCount = try index.lossCount()
        guard history.memory.lossesSeen <= lossCount else {
            throw index.wrong("a volume has seen more losses than there were")
        }
        mindsLoss = lossCount > 0
        looksForLoss = lossCount > history.memory.lossesSeen
    }

    /// What the next capture is to know; `samplePosition` where this one took a sample.
    func memory(samplePosition: UInt64?) -> CaptureMemory {
        var memory = history.memory
        memory.lossesSeen = lossCount
        if let samplePosition { memory.samplePosition = samplePosition }
        return memory
    }

    /// The page of fingerprints that the index has for the snapshot before.
    func loadTip(_ page: UInt64) throws -> TipPage? {
        // Behind the old end nothing is known: what an earlier, longer state had there is history.
        let count = parent.blockCount(ofPage: page)
        guard count > 0 else { return nil }
        var tip = try index.tipPage(of: history.number, page: page)
        // Fingerprints of another state of the page say nothing of this one.
        if let known = tip, known.leaf != leaf(ofPage: page)?.digest {
            tip = TipPage(blockCount: 0)
        }
        tip?.resize(to: count)
        if looksForLoss, tip != nil {
            // Read and digested, such blocks are stored again where nothing gives them any more.
            for slot in try parent.doubtfulSlots(ofPage: page) { tip?[slot] = nil }
        }
        return tip
    }

    /// The leaf of the page in the snapshot before; nil behind its end.
    func leaf(ofPage page: UInt64) -> PageLeaf? {
        page < UInt64(leaves.count) ? leaves[Int(page)] : nil
    }

    /// Whether the page was all zeros in the snapshot before, as far as that had it.
    func wasEmpty(_ page: UInt64, _ tree: ImageDigestTree) -> Bool {
        guard let leaf = leaf(ofPage: page) else { return true }
        if let isZero = leaf.isZero { return isZero }
        let count = parent.blockCount(ofPage: page)
        return leaf.digest == tree.zeroLeaf(page: page, blockCount: count)
    }

    /// Numbers and digests of the page in the snapshot before, proved by its leaf.
    func loadBefore(_ page: UInt64, _ tree: ImageDigestTree) throws -> PageBlocks {
        let blocks = try parent.page(page)
        guard let leaf = leaf(ofPage: page) else { return blocks }
        guard tree.leaf(page: page, digests: blocks.digests.span) == leaf.digest else {
            throw index.wrong("the history of a page does not give its leaf of the image digest")
        }
        return blocks
    }
}
