internal import BlockModel
internal import LMDB
package import Repository
internal import RepositoryFormat

extension Index {
    /// Whether a delta says what the volume's own history has of the snapshots at its ends; nil when the history
    /// lacks one of them.
    ///
    /// Every page that changed between them is compared, and every page that the delta names.
    package func confirms(_ delta: KnownDelta, of repository: Repository) throws -> Bool? {
        try confirms(delta, of: repository, forkTarget: .nothing)
    }

    /// The same by the history of a side target.
    func confirms(
        _ delta: KnownDelta,
        of repository: Repository,
        forkTarget: SnapshotID
    ) throws -> Bool? {
        guard let history = try history(withEndsOf: delta, forkTarget) else { return nil }
        let blockCount = blockSize.blockCount(coveringByteCount: delta.head.toByteCount)
        var proof = MergeProof(
            index: self, history: history, delta: delta, blockCount: blockCount,
            pageCount: (blockCount + UInt64(Page.blockCount) - 1) / UInt64(Page.blockCount))
        try repository.forEachMap(of: delta.name) { map, _ in try proof.add(map) }
        return try proof.finish() && hasTrueStart(delta, history)
    }

    private func hasTrueStart(_ delta: KnownDelta, _ history: HistoryNumber) throws -> Bool {
        if delta.head.from == .nothing { return delta.head.fromByteCount == 0 }
        return try environment.read { try snapshotRow(history, delta.name.from, $0) }?.byteCount
            == delta.head.fromByteCount
    }

    private func history(
        withEndsOf delta: KnownDelta,
        _ forkTarget: SnapshotID
    ) throws -> HistoryNumber? {
        try environment.read { transaction in
            for (number, state) in try histories(transaction)
            where state.volume == delta.name.volume && state.forkTarget == forkTarget {
                let to = try snapshotRow(number, delta.name.to, transaction)
                guard to?.id == delta.head.to else { return nil }
                if delta.head.from == .nothing { return number }
                let from = try snapshotRow(number, delta.name.from, transaction)
                return from?.id == delta.head.from ? number : nil
            }
            return nil
        }
    }

    /// Whether the page has a row of one of these generations.
    func hasHistory(
        _ history: HistoryNumber,
        page: UInt64,
        in generations: ClosedRange<Generation>
    ) throws -> Bool {
        try environment.read { transaction in
            try transaction.withCursor(over: tables.history) { cursor in
                try cursor.seek(
                    atLeast: Self.historyKey(history, page, generations.lowerBound)
                ) { key, _ in
                    key.byteCount == 16
                        && key.littleEndian(at: 0, as: UInt32.self).byteSwapped == history
                        && key.littleEndian(at: 4, as: UInt32.self).byteSwapped
                            == UInt32(truncatingIfNeeded: page)
                        && key.littleEndian(at: 8, as: UInt64.self).byteSwapped
                            <= generations.upperBound
                } ?? false
            }
        }
    }
}

/// Compares a delta with the pages of a history, in order.
private struct MergeProof {
    let index: Index
    let history: HistoryNumber
    let delta: KnownDelta
    let blockCount: UInt64
    let pageCount: UInt64
    private var isConfirmed = true
    /// Blocks of data, zeros and free ones that the head tells of and that did not come yet.
    private var missing: (data: UInt64, zero: UInt64, free: UInt64)
    private var nextPage: UInt64 = 0
    private var page: UInt64?
    private var expected: PageImage?

    init(
        index: Index,
        history: HistoryNumber,
        delta: KnownDelta,
        blockCount: UInt64,
        pageCount: UInt64
    ) {
        self.index = index
        self.history = history
        self.delta = delta
        self.blockCount = blockCount
        self.pageCount = pageCount
        missing = (
            delta.head.dataBlockCount, delta.head.zeroBlockCount, delta.head.freeBlockCount
        )
    }

    /// What each block of a page is: a digest, or a number that stands for zeros.
    private struct PageImage: Equatable {
        var digests: [Digest]
        var numbers: [BlockNumber]

        init(_ blocks: PageBlocks) {
            digests = blocks.digests
            // Whatever the index calls it: the digest tells.
            numbers = blocks.numbers.map { min($0, SpecialBlock.firstDigest) }
        }
    }

    mutating func add(_ map: DeltaMap) throws {
        var digest = 0
        for run in map.runs {
            switch run.kind {
            case .data: missing.data &-= run.blockCount
            case .zero: missing.zero &-= run.blockCount
            case .free: missing.free &-= run.blockCount
            }
            for block in run.firstBlock..<run.endBlock {
                try open(Page.index(ofBlock: block))
                let slot = Page.slot(ofBlock: block)
                guard slot < expected?.numbers.count ?? 0 else {
                    isConfirmed = false
                    return
                }
                switch run.kind {
                case .data:
                    expected?.digests[slot] = map.digests[digest]
                    expected?.numbers[slot] = SpecialBlock.firstDigest
                    digest += 1
                case .zero, .free:
                    expected?.digests[slot] = .zero
                    expected?.numbers[slot] =
                        run.kind == .zero ? SpecialBlock.zero : SpecialBlock.free
                }
            }
        }
    }

    mutating func finish() throws -> Bool {
        try close()
        try skip(to: pageCount)
        return isConfirmed && missing == (0, 0, 0)
    }

    private mutating func open(_ next: UInt64) throws {
        guard page != next else { return }
        try close()
        try skip(to: next)
        page = next
        expected = try image(next, delta.name.from)
    }

    private mutating func close() throws {
        guard let page else { return }
        if try image(page, delta.name.to) != expected { isConfirmed = false }
        nextPage = page + 1
        self.page = nil
    }

    /// Pages that the delta does not name must not have changed.
    private mutating func skip(to end: UInt64) throws {
        while nextPage < end {
            defer { nextPage += 1 }
            guard
                try index.hasHistory(
                    history, page: nextPage, in: delta.name.from + 1...delta.name.to)
            else { continue }
            if try image(nextPage, delta.name.from) != image(nextPage, delta.name.to) {
                isConfirmed = false
            }
        }
    }

    private func image(_ page: UInt64, _ generation: Generation) throws -> PageImage {
        PageImage(
            try index.blocks(
                of: history, page: page, generation: generation,
                blockCount: Page.blockCount(ofPage: page, volumeBlockCount: blockCount),
                zeroDigest: .zero))
    }
}
