internal import BlockModel
internal import LMDB
internal import Repository
internal import RepositoryFormat

/// Brings a history forward: the pages that deltas change go in, a bounded number to a transaction.
///
/// Each transaction leaves the history in a state that it can name: at the end of a delta, or with one
/// *pending* that is applied again from its start. Small deltas share a transaction.
final class HistoryWriter {
    /// A page as one delta changes it.
    private struct PageChange {
        let page: UInt64
        let generation: Generation
        /// Blocks of the page in the volume after the delta.
        let blockCount: Int
        var slots: [UInt16] = []
        /// One for each of `slots`.
        var digests: [Digest] = []
        var fills: [PageFill] = []

        var isEmpty: Bool { slots.isEmpty && fills.isEmpty }

        /// Whether all of the page reads as zeros after the change.
        var isAllZero: Bool {
            slots.isEmpty && fills.count == 1 && fills[0].slots == 0..<blockCount
        }
    }

    private let index: Index
    private let history: HistoryNumber
    private let tree: ImageDigestTree
    private let findings: CaptureFindings?
    /// The history after the deltas that ended.
    private(set) var state: HistoryState
    /// Whether the history had no rows at all when the writer was made.
    private let isNew: Bool
    /// Whether fingerprints of blocks that did not change are kept.
    private let keepsTips: Bool

    /// Proves each delta; nil where a capture's findings are applied, which were computed with the tree.
    private var proof: HistoryProof?

    private var open: KnownDelta?
    private var blockCount: UInt64 = 0
    private var current: PageChange?
    /// Whether pages of the open delta are in the index already.
    private var hasOpenPages = false

    private var waiting: [PageChange] = []
    private var ended: [KnownDelta] = []
    private var waitingByteCount = 0

    /// `findings` are those of the capture that made the only delta to be added; `tipDigest` is the image
    /// digest of the snapshot at which the history is.
    init(
        index: Index,
        history: HistoryNumber,
        state: HistoryState,
        findings: CaptureFindings? = nil,
        tipDigest: Digest? = nil
    ) throws {
        self.index = index
        self.history = history
        self.state = state
        self.findings = findings
        isNew = state.tip == .nothing && state.pending == nil
        self.state.pending = nil
        tree = ImageDigestTree(blockSize: index.blockSize)
        let proof =
            try findings == nil
            ? HistoryProof(index, history, state, tree, tipDigest: tipDigest) : nil
        self.proof = proof
        // The leaves of the history were proved.
        keepsTips = !isNew && proof?.isBound == true
    }

    // MARK: Taking a delta

    /// Begins a delta that starts where the history is.
    func begin(_ delta: KnownDelta) {
        precondition(open == nil && delta.head.from == state.tip)
        open = delta
        hasOpenPages = false
        blockCount = index.blockSize.blockCount(coveringByteCount: delta.head.toByteCount)
        proof?.begin(delta)
    }

    /// Adds a piece of the delta's map; pieces come in block order.
    func add(_ map: DeltaMap) throws {
        proof?.count(map)
        var data = 0
        for run in map.runs {
            var first = run.firstBlock
            while first < run.endBlock {
                let page = Page.index(ofBlock: first)
                let end = min(run.endBlock, (page + 1) * UInt64(Page.blockCount))
                if current?.page != page { try beginPage(page) }
                let slot = Page.slot(ofBlock: first)
                let slots = slot..<slot + Int(end - first)
                switch run.kind {
                case .data:
                    current?.slots.append(contentsOf: slots.lazy.map(UInt16.init))
                    current?.digests.append(contentsOf: map.digests[data..<data + slots.count])
                    data += slots.count
                case .zero:
                    current?.fills.append(PageFill(slots: slots, number: SpecialBlock.zero))
                case .free:
                    current?.fills.append(PageFill(slots: slots, number: SpecialBlock.free))
                }
                first = end
            }
        }
    }

    /// Ends the delta; what it says is written with the next ``flush()`` at the latest.
    ///
    /// - Throws: ``FalseDelta`` where it does not give the image digest of its snapshot, ``HistoryMismatch``
    ///   where that may be the fault of what the index has.
    func end() throws {
        guard let delta = open else { preconditionFailure("no delta was begun") }
        let oldBlockCount = index.blockSize.blockCount(coveringByteCount: state.tipByteCount)
        try endPage()
        // A new size changes the leaf of the last page even where no block changed.
        if blockCount != oldBlockCount, blockCount > 0 {
            let last = Page.index(ofBlock: blockCount - 1)
            let oldLast = oldBlockCount == 0 ? last : Page.index(ofBlock: oldBlockCount - 1)
            for page in Set([last, min(last, oldLast)]) {
                try beginPage(page)
                try endPage()
            }
        }
        if let proof, !proof.isTrue(delta) {
            throw proof.isBound ? FalseDelta(delta) as any Error : HistoryMismatch()
        }
        open = nil
        hasOpenPages = false
        state.tip = delta.head.to
        state.tipGeneration = delta.name.to
        state.tipByteCount = delta.head.toByteCount
        // What another index captured may need blocks that this one knows to be lost.
        if let findings { state.memory = findings.memory } else { state.memory.lossesSeen = 0 }
        ended.append(delta)
        waitingByteCount += 512
    }

    /// Writes all that was added of the open delta, and that it is pending: staged fingerprints may
    /// be moved then.
    func suspend() throws {
        try endPage()
        hasOpenPages = true
        try flush()
    }

    /// Gives up a delta that cannot be read to its end, and writes those before it.
    func abandon() throws {
        current = nil
        // It has what is given up; leaves are computed from what is written.
        proof = nil
        guard let delta = open, !hasOpenPages else { return }
        waiting.removeAll { $0.generation == delta.name.to }
        open = nil
        try flush()
    }

    private func beginPage(_ page: UInt64) throws {
        guard let open else { preconditionFailure("no delta was begun") }
        try endPage()
        current = PageChange(
            page: page, generation: open.name.to,
            blockCount: Page.blockCount(ofPage: page, volumeBlockCount: blockCount))
    }

    private func endPage() throws {
        guard let page = current else { return }
        current = nil
        try note(page)
        waiting.append(page)
        // Zeros on a page without rows leave a leaf; else there may be a full page of history, a
        // leaf and a page of fingerprints.
        let leavesNoRow =
            isNew && open?.head.from == .nothing && page.slots.isEmpty
            && page.fills.allSatisfy { $0.number == SpecialBlock.zero }
        waitingByteCount += leavesNoRow ? 512 : 128 << 10
        waitingByteCount += page.fills.count * MemoryLayout<PageFill>.stride
        if waitingByteCount >= Index.transactionByteLimit { try flush() }
    }

    /// Takes the page into the proof as it is after the change.
    private func note(_ change: PageChange) throws {
        guard proof != nil else { return }
        if change.isAllZero {
            proof?.clear(change.page, blockCount: change.blockCount)
            return
        }
        // What is waiting cannot be read from the index.
        if proof?.needsLoading(change.page, change.blockCount) == true,
            waiting.contains(where: { $0.page == change.page })
        {
            try flush()
        }
        try proof?.change(
            change.page, blockCount: change.blockCount, slots: change.slots,
            digests: change.digests, fills: change.fills,
            // One that has a new size, and nothing else that is new, may be in the index already.
            generation: change.isEmpty ? change.generation : state.tipGeneration)
    }

    // MARK: Writing

    /// Writes what is waiting, and with it the state that the history is in then.
    func flush() throws {
        guard !waiting.isEmpty || !ended.isEmpty || hasOpenPages else { return }
        try index.environment.write { transaction in
            try putPages(transaction)
            for delta in ended {
                try index.putSnapshot(
                    history, delta.name.to, delta.head.to, byteCount: delta.head.toByteCount,
                    transaction)
                try index.putVerdict(.proved, on: delta, transaction)
            }
            if open == nil, let findings {
                for (page, tip) in findings.tips {
                    try index.putTip(tip, history, page: page, transaction)
                }
                for delta in ended {
                    try index.putHead(delta, byteCount: findings.deltaByteCount, transaction)
                }
            }
            if let open, let last = waiting.last {
                hasOpenPages = hasOpenPages || last.generation == open.name.to
            }
            var written = state
            written.pending = hasOpenPages ? open.map(HistoryState.Pending.init(of:)) : nil
            try index.putHistory(history, written, transaction)
        }
        waiting.removeAll(keepingCapacity: true)
        ended.removeAll(keepingCapacity: true)
        waitingByteCount = 0
        proof?.trim()
    }

    private func putPages(_ transaction: borrowing Transaction) throws {
        let numbers = try resolve(transaction)
        var next = 0
        var last: [UInt64: PageChange] = [:]
        var changed: [UInt64: Set<Int>] = [:]
        for change in waiting {
            let data = change.slots.indices.map {
                PageEntry(slot: Int(change.slots[$0]), number: numbers[next + $0])
            }
            next += change.slots.count
            if !change.isEmpty {
                try index.putHistory(
                    history, page: change.page, generation: change.generation, data: data,
                    fills: change.fills, blockCount: change.blockCount, transaction)
            }
            last[change.page] = change
            guard keepsTips else { continue }
            for entry in data { changed[change.page, default: []].insert(entry.slot) }
            for fill in change.fills { changed[change.page, default: []].formUnion(fill.slots) }
        }
        for (page, change) in last {
            let leaf =
                try findings?.leaves[page] ?? proof?.leaf(of: page)
                ?? leaf(after: change, transaction)
            // Fingerprints count for the leaf that they are of: those that a capture did not make for
            // this one are of blocks that are still there, or count no longer.
            if keepsTips {
                let old = try index.leaf(history, page: page, transaction)?.digest
                try index.carryTip(
                    history, page: page, from: old, to: leaf.digest, without: changed[page] ?? [],
                    transaction)
            }
            try index.putLeaf(history, page: page, leaf, transaction)
        }
    }

    /// The numbers of all waiting digests; one that no pack holds gets a number without a place.
    private func resolve(_ transaction: borrowing Transaction) throws -> [BlockNumber] {
        let digests = waiting.flatMap(\.digests)
        var numbers = [BlockNumber](repeating: 0, count: digests.count)
        let order = index.rowOrder(of: digests)
        var missing: [Int] = []
        try transaction.withCursor(over: index.tables.digests) { cursor in
            for position in order {
                let number = try index.number(of: digests[position], cursor, transaction)
                if let number { numbers[position] = number } else { missing.append(position) }
            }
        }
        guard !missing.isEmpty else { return numbers }
        var adder = try Index.Adder(index, transaction)
        var added: [Digest: BlockNumber] = [:]
        for position in missing {
            let digest = digests[position]
            let number = try added[digest] ?? adder.add(digest, .missing, transaction)
            added[digest] = number
            numbers[position] = number
        }
        try adder.flush(transaction)
        try index.noteLoss(transaction)
        return numbers
    }

    private func leaf(
        after change: PageChange,
        _ transaction: borrowing Transaction
    ) throws -> PageLeaf {
        let count = change.blockCount
        var numbers = [BlockNumber](repeating: SpecialBlock.zero, count: count)
        try index.loadNumbers(
            history, page: change.page, generation: change.generation, into: &numbers, transaction)
        guard numbers.contains(where: { $0 >= SpecialBlock.firstDigest }) else {
            return PageLeaf(tree.zeroLeaf(page: change.page, blockCount: count), isZero: true)
        }
        var digests = [Digest](repeating: tree.zeroBlock, count: count)
        try index.forEachEntry(of: numbers.span, transaction) { slot, digest, _ in
            digests[slot] = digest
        }
        return PageLeaf(
            tree.leaf(page: change.page, digests: digests.span),
            isZero: digests.allSatisfy { $0 == tree.zeroBlock })
    }
}
