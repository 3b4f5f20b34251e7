internal import BlockModel
internal import LMDB
internal import Repository
internal import RepositoryFormat
internal import RepositoryModel

/// What the index has of a history is not what its snapshot's image digest was computed of.
struct HistoryMismatch: Error {}

/// The image digest of a history, kept up while deltas are applied: the id of a snapshot fixes it, so that
/// every delta either gives it or is false.
struct HistoryProof {
    private let index: Index
    private let history: HistoryNumber
    private let tree: ImageDigestTree
    /// Of all pages as they are now.
    private var leaves: LeafTable
    /// Digests of blocks of the pages that changed last.
    private var pages: [UInt64: [Digest]] = [:]
    /// So many are kept, 128 KiB each.
    private static let pageLimit = 64
    private let isNew: Bool
    /// Whether all that the index gave so far is what the image digest of the history's tip was made of: only
    /// then it is the delta that is false.
    private(set) var isBound: Bool
    private var byteCount: UInt64
    private var startBlockCount: UInt64 = 0
    private var dataBlockCount: UInt64 = 0
    private var zeroBlockCount: UInt64 = 0
    private var freeBlockCount: UInt64 = 0
    private var startByteCount: UInt64 = 0

    /// Begins where the history is; `tipDigest` is the image digest of the snapshot there, if that is known.
    init(
        _ index: Index,
        _ history: HistoryNumber,
        _ state: HistoryState,
        _ tree: ImageDigestTree,
        tipDigest: Digest?
    ) throws {
        self.index = index
        self.history = history
        self.tree = tree
        isNew = state.tip == .nothing
        byteCount = state.tipByteCount
        let blockCount = index.blockSize.blockCount(coveringByteCount: state.tipByteCount)
        let pageCount = Page.count(forBlockCount: blockCount)
        leaves = try index.environment.read { transaction in
            var leaves = LeafTable(pageCount: pageCount)
            for page in 0..<pageCount {
                leaves[page] = try index.leaf(history, page: page, transaction)
            }
            return leaves
        }
        isBound =
            isNew
            || state.pending == nil && tipDigest != nil
                && Self.root(leaves, byteCount, tree, index.blockSize) == tipDigest
    }

    mutating func begin(_ delta: KnownDelta) {
        startByteCount = byteCount
        startBlockCount = index.blockSize.blockCount(coveringByteCount: byteCount)
        byteCount = delta.head.toByteCount
        (dataBlockCount, zeroBlockCount, freeBlockCount) = (0, 0, 0)
        let blockCount = index.blockSize.blockCount(coveringByteCount: byteCount)
        leaves.resize(to: Page.count(forBlockCount: blockCount))
    }

    mutating func count(_ map: DeltaMap) {
        for run in map.runs {
            switch run.kind {
            case .data: dataBlockCount += run.blockCount
            case .zero: zeroBlockCount += run.blockCount
            case .free: freeBlockCount += run.blockCount
            }
        }
    }

    /// Whether the page, of so many blocks, would be read from the index.
    func needsLoading(_ page: UInt64, _ blockCount: Int) -> Bool {
        pages[page]?.count != blockCount
    }

    /// Changes blocks of a page that the index has at `generation`, unless it changed lately.
    mutating func change(
        _ page: UInt64,
        blockCount: Int,
        slots: [UInt16],
        digests: [Digest],
        fills: [PageFill],
        generation: Generation
    ) throws {
        var blocks = pages.removeValue(forKey: page) ?? []
        if blocks.count != blockCount { blocks = try load(page, blockCount, generation) }
        for (slot, digest) in zip(slots, digests) { blocks[Int(slot)] = digest }
        for fill in fills { for slot in fill.slots { blocks[slot] = tree.zeroBlock } }
        leaves[page] = PageLeaf(
            tree.leaf(page: page, digests: blocks.span),
            isZero: blocks.allSatisfy { $0 == tree.zeroBlock })
        pages[page] = blocks
        trim(to: Self.pageLimit * 4)
    }

    /// Makes all blocks of a page zero.
    mutating func clear(_ page: UInt64, blockCount: Int) {
        pages[page] = nil
        leaves[page] = PageLeaf(tree.zeroLeaf(page: page, blockCount: blockCount), isZero: true)
    }

    private mutating func load(
        _ page: UInt64,
        _ blockCount: Int,
        _ generation: Generation
    ) throws -> [Digest] {
        if isNew && generation == 0 {
            return [Digest](repeating: tree.zeroBlock, count: blockCount)
        }
        let oldCount =
            page < Page.count(forBlockCount: startBlockCount)
            ? Page.blockCount(ofPage: page, volumeBlockCount: startBlockCount) : 0
        let blocks = try index.blocks(
            of: history, page: page, generation: generation, blockCount: max(blockCount, oldCount),
            zeroDigest: tree.zeroBlock
        ).digests
        if let known = leaves[page], isBound, !isNew {
            let digest = tree.leaf(page: page, digests: blocks.span.extracting(0..<oldCount))
            isBound = digest == known.digest
        }
        return blocks.count == blockCount ? blocks : Array(blocks[..<blockCount])
    }

    func leaf(of page: UInt64) -> PageLeaf? { leaves[page] }

    /// Forgets pages where there are many; all that changed is in the index.
    mutating func trim() { trim(to: Self.pageLimit) }

    private mutating func trim(to limit: Int) {
        if pages.count > limit { pages.removeAll() }
    }

    /// Whether the delta that ends here says what is so.
    func isTrue(_ delta: KnownDelta) -> Bool {
        let head = delta.head
        guard head.fromByteCount == startByteCount, head.dataBlockCount == dataBlockCount,
            head.zeroBlockCount == zeroBlockCount, head.freeBlockCount == freeBlockCount
        else { return false }
        return Self.root(leaves, head.toByteCount, tree, index.blockSize) == head.facts.imageDigest
    }

    private static func root(
        _ leaves: LeafTable,
        _ byteCount: UInt64,
        _ tree: ImageDigestTree,
        _ blockSize: BlockSize
    ) -> Digest? {
        // A head may claim any size: leaves that nothing gave are not looked for.
        guard leaves.isWhole else { return nil }
        return tree.root(leaves: leaves.digests, byteCount: byteCount, blockSize: blockSize)
    }
}
