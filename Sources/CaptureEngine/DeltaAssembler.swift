internal import BlockModel
internal import ChangeTracking
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
internal import Synchronization

/// Puts finished pages in order: their runs go to the delta, their fingerprints are staged, and
/// their leaves are kept for the image digest.
final class DeltaAssembler: Sendable {
    struct Counts {
        var blocksChanged: UInt64 = 0
        var dataBlockCount: UInt64 = 0
    }

    private struct State {
        /// Pages that went to the delta.
        var doneCount = 0
        var waiting: [UInt64: (page: FinishedPage, leaf: PageLeaf?)] = [:]
        var staged: [(page: UInt64, tip: TipPage)] = []
        var stagedByteCount = 0
        var hasSpilled = false
        var leaves: [UInt64: PageLeaf] = [:]
        var counts = Counts()
        var delta: DeltaWriter
    }

    /// Fingerprints that are kept in memory; those of a large capture wait in the index.
    private static let stagedByteLimit = 8 << 20

    private let context: CaptureContext
    /// The pages that come, in order; nil for every page there is.
    private let pages: [UInt64]?
    private let state: Mutex<State>

    init(context: CaptureContext, pages: [UInt64]?, delta: sending DeltaWriter) {
        self.context = context
        self.pages = pages
        state = Mutex(State(delta: delta))
    }

    /// Takes a page whose chunks are all in; pages may come out of order.
    func add(_ page: FinishedPage, tree: ImageDigestTree) throws {
        let leaf = try leaf(of: page, tree)
        var tip = newTip(of: page)
        tip?.leaf = (leaf ?? context.leaf(ofPage: page.number))?.digest
        let newTip = tip
        try state.withLock { state in
            if let newTip {
                state.staged.append((page.number, newTip))
                state.stagedByteCount += page.blockCount * (Fingerprint.byteCount + 1)
            }
            state.waiting[page.number] = (page, leaf)
            while let number = self.page(at: state.doneCount),
                let (next, leaf) = state.waiting.removeValue(forKey: number)
            {
                try append(next, leaf, &state)
                state.doneCount += 1
            }
            if state.stagedByteCount > Self.stagedByteLimit { try spill(&state) }
        }
    }

    private func page(at position: Int) -> UInt64? {
        guard let pages else { return UInt64(position) }
        return position < pages.count ? pages[position] : nil
    }

    private func append(_ page: FinishedPage, _ leaf: PageLeaf?, _ state: inout State) throws {
        if let leaf { state.leaves[page.number] = leaf }
        let first = page.number * UInt64(Page.blockCount)
        for run in page.outcomes {
            let block = first + UInt64(run.slots.lowerBound)
            let count = UInt64(run.slots.count)
            switch run.outcome {
            case .data(let digest):
                state.counts.blocksChanged += 1
                state.counts.dataBlockCount += 1
                if !context.isDryRun {
                    try state.delta.append(dataBlock: block, digest: digest)
                }
            case .zero:
                // A new block of zeros is named, but nothing that reads otherwise changed.
                if block < context.parent.blockCount {
                    state.counts.blocksChanged += min(count, context.parent.blockCount - block)
                }
                if !context.isDryRun {
                    try state.delta.append(.zero, firstBlock: block, blockCount: count)
                }
            }
        }
    }

    /// The page's new leaf; nil when it is as it was.
    private func leaf(of page: FinishedPage, _ tree: ImageDigestTree) throws -> PageLeaf? {
        let oldCount = Page.blockCount(
            ofPage: page.number, volumeBlockCount: context.parent.blockCount)
        guard !page.outcomes.isEmpty || oldCount != page.blockCount else { return nil }
        if oldCount == 0, page.outcomes.allSatisfy({ $0.outcome == .zero }) {
            return PageLeaf(
                tree.zeroLeaf(page: page.number, blockCount: page.blockCount), isZero: true)
        }
        let before = try page.before ?? context.loadBefore(page.number, tree)
        var digests = [Digest](repeating: tree.zeroBlock, count: page.blockCount)
        for slot in 0..<min(before.digests.count, page.blockCount) {
            digests[slot] = before.digests[slot]
        }
        for run in page.outcomes {
            switch run.outcome {
            case .data(let digest): digests[run.slots.lowerBound] = digest
            case .zero: for slot in run.slots { digests[slot] = tree.zeroBlock }
            }
        }
        return PageLeaf(
            tree.leaf(page: page.number, digests: digests.span),
            isZero: digests.allSatisfy { $0 == tree.zeroBlock })
    }

    /// The page's fingerprints when they are not those of the index; nothing for zeros alone.
    private func newTip(of page: FinishedPage) -> TipPage? {
        let sizeChanged = page.tip.map { $0.blockCount != page.blockCount } ?? false
        guard !page.fingerprints.isEmpty || sizeChanged else { return nil }
        let zero = context.fingerprinter.zero
        if page.tip == nil, page.fingerprints.allSatisfy({ $0.fingerprint == zero }) {
            return nil
        }
        var tip = page.tip ?? TipPage(blockCount: page.blockCount)
        tip.resize(to: page.blockCount)
        for run in page.outcomes where run.outcome == .zero {
            for slot in run.slots { tip[slot] = zero }
        }
        for (slot, fingerprint) in page.fingerprints { tip[slot] = fingerprint }
        return tip
    }

    private func spill(_ state: inout State) throws {
        state.hasSpilled = true
        if !context.isDryRun {
            try context.index.stage(
                state.staged, history: context.history.number, attempt: context.attempt)
        }
        state.staged.removeAll()
        state.stagedByteCount = 0
    }

    /// Ends the map, and gives the image's leaves.
    func finish(byteCount: UInt64) throws -> (leaves: [Digest], counts: Counts) {
        let pageCount = Page.count(
            forBlockCount: context.blockSize.blockCount(coveringByteCount: byteCount))
        return try state.withLock { state in
            precondition(
                state.doneCount == pages?.count ?? Int(pageCount) && state.waiting.isEmpty)
            if !context.isDryRun { try state.delta.finishMap() }
            let leaves = (0..<pageCount).map { page in
                // A page without a new leaf is as it was in the snapshot before.
                guard let leaf = state.leaves[page] ?? context.leaf(ofPage: page) else {
                    preconditionFailure("a page has no leaf")
                }
                return leaf.digest
            }
            return (leaves, state.counts)
        }
    }

    /// Commits the delta.
    func commit(
        _ name: DeltaName,
        head: DeltaHead,
        memory: CaptureMemory
    ) throws -> (delta: KnownDelta, findings: CaptureFindings) {
        try state.withLock { state in
            let (delta, byteCount) = try state.delta.commit(name, head: head)
            let findings = CaptureFindings(
                tips: state.staged, attempt: state.hasSpilled ? context.attempt : nil,
                leaves: state.leaves, deltaByteCount: byteCount, memory: memory)
            return (delta, findings)
        }
    }

    var partByteCount: UInt64 { state.withLock { $0.delta.partByteCount } }
    var progress: Counts { state.withLock { $0.counts } }
}
