internal import BlockModel
internal import LinuxIO
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
internal import Synchronization

/// A page that is being restored, shared by the workers that write its stretches.
final class RestorePage: Sendable {
    let number: UInt64
    let blocks: PageBlocks
    let places: [Place?]
    private let remaining: Mutex<Int>

    init(number: UInt64, blocks: PageBlocks, places: [Place?]) {
        self.number = number
        self.blocks = blocks
        self.places = places
        remaining = Mutex(blocks.blockCount)
    }

    /// Says that blocks are done; true when they were the last of the page.
    func finish(_ count: Int) -> Bool {
        remaining.withLock { remaining in
            remaining -= count
            return remaining == 0
        }
    }
}

/// Deals out the image in stretches of some MiB, and collects the leaves of its digest.
final class RestorePlan: Sendable {
    struct Stretch: Sendable {
        let ticket: UInt64
        let page: RestorePage
        let slots: Range<Int>

        var firstBlock: UInt64 {
            page.number * UInt64(Page.blockCount) + UInt64(slots.lowerBound)
        }
    }

    private struct State {
        var nextBlock: UInt64 = 0
        var nextTicket: UInt64 = 0
        var page: RestorePage?
        var leaves: [UInt64: Digest] = [:]
    }

    let repository: Repository
    let map: SnapshotMap
    private let state = Mutex(State())

    init(_ restore: Restore) {
        repository = restore.repository
        map = restore.map
    }

    var blockSize: BlockSize { repository.blockSize }
    var byteCount: UInt64 { map.byteCount }

    /// Those that captures work by, of blocks that are not too large.
    static func stretchBlockCount(_ blockSize: BlockSize) -> Int {
        min(Format.stretchBlockCount(blockSize), max(1, stretchByteLimit / blockSize.byteCount))
    }

    private static let stretchByteLimit = 8 << 20

    /// The next stretch, in order; nil when all were dealt out.
    func next() throws -> Stretch? {
        try state.withLock { state in
            guard state.nextBlock < map.blockCount else { return nil }
            let number = Page.index(ofBlock: state.nextBlock)
            let page: RestorePage
            if let current = state.page, current.number == number {
                page = current
            } else {
                page = try load(number)
                state.page = page
            }
            let first = Page.slot(ofBlock: state.nextBlock)
            let end = min(
                first + Self.stretchBlockCount(blockSize), page.blocks.blockCount)
            defer {
                state.nextBlock += UInt64(end - first)
                state.nextTicket += 1
            }
            return Stretch(ticket: state.nextTicket, page: page, slots: first..<end)
        }
    }

    private func load(_ number: UInt64) throws -> RestorePage {
        let blocks = try map.page(number)
        return RestorePage(
            number: number, blocks: blocks, places: try map.index.firstPlaces(of: blocks))
    }

    /// Takes note that a stretch is written; computes the leaf after the last one of a page.
    func finish(_ stretch: Stretch, tree: ImageDigestTree) {
        guard stretch.page.finish(stretch.slots.count) else { return }
        let page = stretch.page
        let digests = page.blocks.digests
        let leaf = tree.leaf(page: page.number, digests: digests.span)
        state.withLock { $0.leaves[page.number] = leaf }
    }

    /// The leaves of all pages, in order; complete when all stretches are finished.
    func leaves() -> [Digest] {
        state.withLock { state in
            state.leaves.keys.sorted().compactMap { state.leaves[$0] }
        }
    }
}
