internal import BlockModel
internal import LinuxIO
internal import Synchronization
internal import VolumeAccess

/// What one worker does next: read a stretch of blocks, or take it as zeros.
enum WorkItem {
    /// Blocks that must be read: a stretch that ends inside one page, or a part of one.
    case data(Range<UInt64>)
    /// Blocks in a hole of the file, which read as zeros. The range ends inside one page.
    case hole(Range<UInt64>)
}

/// Deals out the blocks of a source that are to be compared, in order, to all workers, from one
/// place.
final class WorkList: Sendable {
    private struct State {
        var nextBlock: UInt64 = 0
        /// The extent of `blocks` in which the next block is.
        var position = 0
        var extent: Range<UInt64> = 0..<0
        var hasNoMoreData = false
    }

    private let source: VolumeSource
    private let blockSize: BlockSize
    private let blocks: BlockExtents
    private let stretchBlockCount: UInt64
    private let state = Mutex(State())

    /// One worker reads `stretchBlockCount` blocks in a row; stretches begin at multiples of it.
    init(
        source: VolumeSource,
        blocks: BlockExtents,
        blockSize: BlockSize,
        stretchBlockCount: Int
    ) {
        self.source = source
        self.blockSize = blockSize
        self.blocks = blocks
        self.stretchBlockCount = UInt64(stretchBlockCount)
    }

    /// The next item; nil when all blocks were dealt out.
    func next() throws -> WorkItem? {
        try state.withLock { state in
            let extents = blocks.ranges
            while state.position < extents.count,
                state.nextBlock >= extents[state.position].upperBound
            {
                state.position += 1
            }
            guard state.position < extents.count else { return nil }
            let extent = extents[state.position]
            let first = max(state.nextBlock, extent.lowerBound)
            let pageEnd = (Page.index(ofBlock: first) + 1) * UInt64(Page.blockCount)
            let limit = min(pageEnd, extent.upperBound)
            let offset = blockSize.byteOffset(ofBlock: first)
            if !state.hasNoMoreData && offset >= state.extent.upperBound {
                try findExtent(&state, from: offset)
            }
            let size = UInt64(blockSize.byteCount)
            let dataStart =
                state.hasNoMoreData ? limit : max(first, state.extent.lowerBound / size)
            if dataStart > first {
                state.nextBlock = min(dataStart, limit)
                return .hole(first..<state.nextBlock)
            }
            let dataEnd = blockSize.blockCount(coveringByteCount: state.extent.upperBound)
            let stretchEnd = (first / stretchBlockCount + 1) * stretchBlockCount
            state.nextBlock = min(stretchEnd, max(dataEnd, first + 1), limit)
            return .data(first..<state.nextBlock)
        }
    }

    private func findExtent(_ state: inout State, from offset: UInt64) throws {
        if let extent = try source.nextData(from: offset) {
            state.extent = extent
        } else {
            state.hasNoMoreData = true
        }
    }
}
