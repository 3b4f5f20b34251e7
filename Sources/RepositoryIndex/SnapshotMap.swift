package import BlockModel
internal import RepositoryFormat
package import RepositoryModel

/// Which blocks one snapshot has, page by page: what everything that reads a snapshot works from.
///
/// It names the index, the history in there that leads to the snapshot, its generation there, and its
/// size. It reads nothing until it is asked, and stays valid while the index does.
package struct SnapshotMap: Sendable {
    package let index: Index
    /// A history that leads to the snapshot.
    package let history: History
    /// The generation of the snapshot in that history.
    package let generation: Generation
    /// Bytes of the volume in the snapshot.
    package let byteCount: UInt64

    /// The map of the tip of `history`, or of an earlier snapshot of it.
    ///
    /// - Parameters:
    ///   - index: the index that has the history.
    ///   - history: a history that leads to the snapshot.
    ///   - generation: the snapshot's generation in it; the tip's if not given.
    ///   - byteCount: bytes of the volume in the snapshot; the tip's if not given.
    package init(
        _ index: Index,
        _ history: History,
        generation: Generation? = nil,
        byteCount: UInt64? = nil
    ) {
        self.index = index
        self.history = history
        self.generation = generation ?? history.tipGeneration
        self.byteCount = byteCount ?? history.tipByteCount
    }

    package var blockSize: BlockSize { index.blockSize }
    package var blockCount: UInt64 { blockSize.blockCount(coveringByteCount: byteCount) }
    package var pageCount: UInt64 { Page.count(forBlockCount: blockCount) }

    /// Blocks of a page; fewer in the last one, none behind it.
    package func blockCount(ofPage page: UInt64) -> Int {
        Page.blockCount(ofPage: page, volumeBlockCount: blockCount)
    }

    /// Numbers and digests of a page; empty behind the last one.
    package func page(_ page: UInt64) throws -> PageBlocks {
        try index.blocks(
            of: history.number, page: page, generation: generation,
            blockCount: blockCount(ofPage: page), zeroDigest: index.zeroDigest)
    }

    /// Numbers of a page's blocks, without their digests.
    package func numbers(ofPage page: UInt64) throws -> [BlockNumber] {
        try index.numbers(
            of: history.number, page: page, generation: generation,
            blockCount: blockCount(ofPage: page))
    }

    /// Whether the page ever held anything but zeros; cheaper than reading it.
    package func hasHistory(ofPage page: UInt64) throws -> Bool {
        try index.hasHistory(of: history.number, page: page)
    }

    /// Blocks of a page whose bytes may be lost; see ``Index/doubtfulSlots(of:page:generation:blockCount:)``.
    package func doubtfulSlots(ofPage page: UInt64) throws -> [Int] {
        try index.doubtfulSlots(
            of: history.number, page: page, generation: generation,
            blockCount: blockCount(ofPage: page))
    }

    /// Bytes of the blocks that are not known to be zeros.
    package func dataByteCount() throws -> UInt64 {
        var found: UInt64 = 0
        for page in 0..<pageCount where try hasHistory(ofPage: page) {
            found += UInt64(try numbers(ofPage: page).count { $0 >= SpecialBlock.firstDigest })
        }
        return min(found * UInt64(blockSize.byteCount), byteCount)
    }

    /// Calls `body` with everything that changed since another snapshot of the repository, in order.
    ///
    /// What only the longer of the two has counts as changed from zeros, or to zeros.
    package func changes(since older: SnapshotMap, _ body: (ChangedExtent) throws -> Void) throws {
        let end = max(byteCount, older.byteCount)
        let size = UInt64(blockSize.byteCount)
        var run: (first: UInt64, end: UInt64, isZero: Bool)?
        func emit(_ run: (first: UInt64, end: UInt64, isZero: Bool)?) throws {
            guard let run else { return }
            let offset = run.first * size
            try body(
                ChangedExtent(
                    byteOffset: offset, byteCount: min(run.end * size, end) - offset,
                    isZero: run.isZero))
        }
        for page in 0..<max(pageCount, older.pageCount) {
            let before = try older.numbers(ofPage: page)
            let after = try numbers(ofPage: page)
            guard before != after else { continue }
            for slot in 0..<max(before.count, after.count) {
                let old = slot < before.count ? before[slot] : SpecialBlock.zero
                let new = slot < after.count ? after[slot] : SpecialBlock.zero
                let bothZero = old < SpecialBlock.firstDigest && new < SpecialBlock.firstDigest
                if old == new || bothZero { continue }
                let block = page * UInt64(Page.blockCount) + UInt64(slot)
                let isZero = new < SpecialBlock.firstDigest
                if let open = run, open.end == block, open.isZero == isZero {
                    run?.end = block + 1
                } else {
                    try emit(run)
                    run = (block, block + 1, isZero)
                }
            }
        }
        try emit(run)
    }
}
