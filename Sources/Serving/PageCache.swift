internal import BlockModel
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
internal import Synchronization

/// Which blocks the pages of one snapshot have; those that were asked for last are kept.
final class PageCache: Sendable {
    private struct State {
        var pages: [UInt64: (numbers: [BlockNumber], lastUse: UInt64)] = [:]
        var clock: UInt64 = 0
    }

    /// Pages of 32 KiB each.
    private static let pageLimit = 512

    private let map: SnapshotMap
    private let state = Mutex(State())

    init(_ map: SnapshotMap) { self.map = map }

    /// Whether the page ever held anything but zeros.
    func hasHistory(_ page: UInt64) throws -> Bool {
        try map.hasHistory(ofPage: page)
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
        let numbers = try map.numbers(ofPage: page)
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
