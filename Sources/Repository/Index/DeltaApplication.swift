internal import BlockModel
internal import LMDB
internal import RepositoryFormat

/// Writes the pages of one delta to a line: numbers, history, leaves; in bounded transactions.
final class DeltaApplication {
    private typealias Change = (slot: Int, number: BlockNumber)

    private let index: Index
    private let line: LineNumber
    private let generation: Generation
    private let blockCount: UInt64
    private let oldBlockCount: UInt64
    /// Whether fingerprints of the changed blocks are staged and follow.
    private let keepsTips: Bool
    private let tree: ImageDigestTree

    private var page: UInt64 = 0
    private var changes: [Change] = []
    private var touchedPages: Set<UInt64> = []
    private var waiting: [(page: UInt64, changes: [Change])] = []
    private var waitingByteCount = 0

    init(
        index: Index,
        line: LineNumber,
        delta: KnownDelta,
        oldByteCount: UInt64,
        keepsTips: Bool
    ) {
        self.index = index
        self.line = line
        self.keepsTips = keepsTips
        generation = delta.name.to
        blockCount = index.blockSize.blockCount(coveringByteCount: delta.head.toByteCount)
        oldBlockCount = index.blockSize.blockCount(coveringByteCount: oldByteCount)
        tree = ImageDigestTree(blockSize: index.blockSize)
    }

    /// Adds a piece of the map; pieces come in block order.
    func add(_ map: DeltaMap) throws {
        let numbers = try resolve(map.digests)
        var data = 0
        for run in map.runs {
            for block in run.firstBlock..<run.endBlock {
                let number: BlockNumber
                switch run.kind {
                case .data:
                    number = numbers[data]
                    data += 1
                case .zero: number = SpecialBlock.zero
                case .free: number = SpecialBlock.free
                }
                if Page.index(ofBlock: block) != page { try endPage() }
                page = Page.index(ofBlock: block)
                changes.append((Page.slot(ofBlock: block), number))
            }
        }
    }

    /// The numbers of digests; one that no pack holds gets a number without a place.
    private func resolve(_ digests: [Digest]) throws -> [BlockNumber] {
        var numbers = [BlockNumber](repeating: 0, count: digests.count)
        let order = digests.indices.sorted { digests[$0] < digests[$1] }
        var missing: [Int] = []
        try index.environment.read { transaction in
            try transaction.withCursor(over: index.tables.digests) { cursor in
                for position in order {
                    let number = try index.number(of: digests[position], cursor, transaction)
                    if let number { numbers[position] = number } else { missing.append(position) }
                }
            }
        }
        guard !missing.isEmpty else { return numbers }
        try index.environment.write { transaction in
            var adder = try Index.Adder(index, transaction)
            var added: [Digest: BlockNumber] = [:]
            for position in missing {
                let digest = digests[position]
                if let number = added[digest] {
                    numbers[position] = number
                } else {
                    numbers[position] = try adder.add(digest, .missing, transaction)
                    added[digest] = numbers[position]
                }
            }
            try adder.flush(transaction)
        }
        return numbers
    }

    private func endPage() throws {
        guard !changes.isEmpty else { return }
        waiting.append((page, changes))
        // A full history page, a leaf, perhaps a page of fingerprints.
        waitingByteCount += 128 << 10
        changes.removeAll(keepingCapacity: true)
        if waitingByteCount >= Index.transactionByteLimit { try flush() }
    }

    private func flush() throws {
        guard !waiting.isEmpty else { return }
        try index.environment.write { transaction in
            for (page, changes) in waiting {
                let count = Page.blockCount(ofPage: page, volumeBlockCount: blockCount)
                try index.putHistory(
                    line, page: page, generation: generation, changes: changes, blockCount: count,
                    transaction)
                if !keepsTips {
                    try index.invalidateTip(
                        line, page: page, slots: changes.lazy.map(\.slot), transaction)
                }
                try putLeaf(page, transaction)
                touchedPages.insert(page)
            }
        }
        waiting.removeAll(keepingCapacity: true)
        waitingByteCount = 0
    }

    func finish() throws {
        try endPage()
        try flush()
        // A new size changes the leaf of the last page even where no block changed.
        guard blockCount != oldBlockCount, blockCount > 0 else { return }
        let last = Page.index(ofBlock: blockCount - 1)
        let oldLast = oldBlockCount == 0 ? last : Page.index(ofBlock: oldBlockCount - 1)
        try index.environment.write { transaction in
            for page in Set([last, min(last, oldLast)]) where !touchedPages.contains(page) {
                try putLeaf(page, transaction)
            }
        }
    }

    private func putLeaf(_ page: UInt64, _ transaction: borrowing Transaction) throws {
        let count = Page.blockCount(ofPage: page, volumeBlockCount: blockCount)
        var numbers = [BlockNumber](repeating: SpecialBlock.zero, count: count)
        try index.loadNumbers(
            line, page: page, generation: generation, into: &numbers, transaction)
        guard numbers.contains(where: { $0 >= SpecialBlock.firstDigest }) else {
            let leaf = tree.zeroLeaf(page: page, blockCount: count)
            return try index.putLeaf(line, page: page, leaf, transaction)
        }
        var digests = [Digest](repeating: tree.zeroBlock, count: count)
        try index.forEachEntry(of: numbers.span, transaction) { slot, digest, _ in
            digests[slot] = digest
        }
        try index.putLeaf(
            line, page: page, tree.leaf(page: page, digests: digests.span), transaction)
    }
}
