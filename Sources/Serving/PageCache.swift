internal import BlockModel
internal import Repository
internal import RepositoryFormat
internal import Synchronization

/// Which blocks the pages of one snapshot have; those that were asked for last are kept.
final class PageCache: Sendable {
    private struct State {
        var pages: [UInt64: (numbers: [BlockNumber], lastUse: UInt64)] = [:]
        var clock: UInt64 = 0
    }

    /// Pages of 32 KiB each.
    private static let pageLimit = 512

    private let index: Index
    private let line: LineNumber
    private let generation: Generation
    private let blockCount: UInt64
    private let state = Mutex(State())

    init(repository: Repository, index: Index, line: Line, snapshot: Timeline.Snapshot) {
        self.index = index
        self.line = line.number
        generation = snapshot.generation
        blockCount = repository.blockSize.blockCount(coveringByteCount: snapshot.facts.byteCount)
    }

    /// Whether the page ever held anything but zeros.
    func hasHistory(_ page: UInt64) throws -> Bool {
        try index.hasHistory(of: line, page: page)
    }

    /// Numbers of the page's blocks.
    func numbers(_ page: UInt64) throws -> [BlockNumber] {
        let known = state.withLock { state -> [BlockNumber]? in
            state.clock += 1
            state.pages[page]?.lastUse = state.clock
            return state.pages[page]?.numbers
        }
        if let known { return known }
        // Two threads may load it: that is no harm.
        let numbers = try index.numbers(
            of: line, page: page, generation: generation,
            blockCount: Page.blockCount(ofPage: page, volumeBlockCount: blockCount))
        state.withLock { state in
            if state.pages.count >= Self.pageLimit { Self.dropOldest(&state) }
            state.pages[page] = (numbers, state.clock)
        }
        return numbers
    }

    /// Drops a quarter of them, so that it is seldom looked for.
    private static func dropOldest(_ state: inout State) {
        let uses = state.pages.values.map(\.lastUse).sorted()
        let limit = uses[uses.count / 4]
        state.pages = state.pages.filter { $0.value.lastUse > limit }
    }
}
