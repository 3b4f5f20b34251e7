internal import BlockModel
internal import ChangeTracking
internal import LinuxIO
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
internal import Synchronization
internal import VolumeAccess

/// Pages under way, shared by the workers.
final class PageBoard: Sendable {
    private let context: CaptureContext
    private let blockCount: UInt64?
    /// Blocks that are going to be compared; nil for all.
    private let blocks: BlockExtents?
    private let pages = Mutex<[UInt64: OpenPage]>([:])

    init(context: CaptureContext, blockCount: UInt64?, blocks: BlockExtents?) {
        self.context = context
        self.blockCount = blockCount
        self.blocks = blocks
    }

    /// The page that holds `block`, opened when it is the first of its blocks.
    func page(ofBlock block: UInt64) throws -> OpenPage {
        let number = Page.index(ofBlock: block)
        return try pages.withLock { pages in
            if let page = pages[number] { return page }
            let count =
                blockCount.map { Page.blockCount(ofPage: number, volumeBlockCount: $0) }
                ?? Page.blockCount
            let first = number * UInt64(Page.blockCount)
            let compared = blocks?.blockCount(in: first..<first + UInt64(count))
            let page = OpenPage(
                number: number, blockCount: count,
                comparedCount: compared.map(Int.init) ?? count, tip: try context.loadTip(number))
            pages[number] = page
            return page
        }
    }

    func close(_ page: OpenPage) { pages.withLock { _ = $0.removeValue(forKey: page.number) } }

    /// The page that a stream of `blockCount` blocks left unfinished.
    func lastPage(ofBlockCount blockCount: UInt64) -> OpenPage? {
        pages.withLock { $0[Page.index(ofBlock: blockCount)] }
    }
}

/// One thread's whole chain: read, compare, digest, look up, compress, append.
final class CaptureWorker {
    private let context: CaptureContext
    private let board: PageBoard
    private let collector: DeltaAssembler
    private let storer: BlockStorer
    private let progress: CaptureProgress
    private let hasher = BlockHasher()
    private let tree: ImageDigestTree
    private var candidates: [Candidate] = []

    init(
        context: CaptureContext,
        board: PageBoard,
        collector: DeltaAssembler,
        packs: any FrameSink,
        similar: SimilarBlocks?,
        progress: CaptureProgress
    ) throws {
        self.context = context
        self.board = board
        self.collector = collector
        self.progress = progress
        storer = try BlockStorer(context: context, packs: packs, similar: similar)
        tree = ImageDigestTree(blockSize: context.blockSize)
    }

    /// Works until the list is empty or another worker failed.
    func run(_ work: WorkList, _ reader: ChunkReader, _ failure: SharedFailure) throws {
        var hasMore = true
        var stretch: Range<UInt64> = 0..<0
        while hasMore || !reader.isIdle {
            try checkForStop(failure)
            guard hasMore, reader.hasFreeSlot else {
                try capture(try reader.waitForNext(), reader)
                continue
            }
            if stretch.isEmpty {
                switch try work.next() {
                case .hole(let blocks):
                    try captureHole(blocks)
                    continue
                case .data(let blocks): stretch = blocks
                case nil:
                    hasMore = false
                    continue
                }
            }
            let end = min(stretch.lowerBound + reader.chunkBlockCount, stretch.upperBound)
            if let chunk = try reader.begin(stretch.lowerBound..<end) {
                try capture(chunk, reader)
            }
            stretch = end..<stretch.upperBound
        }
        try storer.finish()
    }

    /// The same for a stream, which is read in turn.
    func run(_ stream: StreamReader, _ buffer: AlignedBuffer, _ failure: SharedFailure) throws {
        while let chunk = try stream.next(into: buffer) {
            try checkForStop(failure)
            try capture(chunk, buffer)
        }
        try storer.finish()
    }

    private func checkForStop(_ failure: SharedFailure) throws {
        if Interruption.isRequested { throw Interrupted.ofCapture }
        // The first failure is the one that is reported; this one only ends the thread.
        if failure.hasFailed { throw Interrupted.ofCapture }
    }

    private func capture(_ chunk: ChunkReader.Chunk, _ reader: ChunkReader) throws {
        try capture(chunk, reader.buffer)
        reader.release(chunk)
    }

    private func capture(_ chunk: ChunkReader.Chunk, _ buffer: AlignedBuffer) throws {
        let bytes = buffer.bytes.extracting(chunk.range)
        let page = try board.page(ofBlock: chunk.blocks.lowerBound)
        let firstSlot = Page.slot(ofBlock: chunk.blocks.lowerBound)
        candidates.removeAll(keepingCapacity: true)
        context.fingerprinter.appendCandidates(
            in: bytes,
            known: { position in
                guard let tip = page.tip, firstSlot + position < tip.blockCount else { return nil }
                return tip[firstSlot + position]
            },
            to: &candidates)
        var result = ChunkResult(blockCount: chunk.blocks.count)
        if !candidates.isEmpty {
            try prove(chunk, bytes, page, firstSlot, &result)
        }
        progress.add(readByteCount: chunk.range.count)
        try finish(page, result)
    }

    /// Finds out what the candidates are, and stores those that are new.
    private func prove(
        _ chunk: ChunkReader.Chunk,
        _ bytes: RawSpan,
        _ page: OpenPage,
        _ firstSlot: Int,
        _ result: inout ChunkResult
    ) throws {
        let size = context.blockSize.byteCount
        let before = try page.before { try context.loadBefore(page.number, tree) }
        var changed: [ChangedBlock] = []
        for candidate in candidates {
            let slot = firstSlot + candidate.position
            let isNewBlock = slot >= before.blockCount
            let block = bytes.extracting(
                candidate.position * size..<(candidate.position + 1) * size)
            result.fingerprints.append((slot, candidate.fingerprint))
            if candidate.fingerprint == context.fingerprinter.zero, block.isAllZero {
                if isNewBlock || before.isData(slot) {
                    result.outcomes.append(OutcomeRun(slot, .zero))
                }
                continue
            }
            let digest = hasher.digest(of: block)
            let isKept = !isNewBlock && before.isData(slot) && before.digests[slot] == digest
            // What did not change is stored again only where its pack was lost.
            if isKept && !context.looksForLoss { continue }
            if !isKept { result.outcomes.append(OutcomeRun(slot, .data(digest))) }
            let hasBefore = !isNewBlock && !isKept
            changed.append(
                ChangedBlock(
                    number: chunk.blocks.lowerBound + UInt64(candidate.position),
                    byteOffset: candidate.position * size, digest: digest,
                    before: hasBefore ? before.numbers[slot] : SpecialBlock.zero,
                    beforeDigest: hasBefore ? before.digests[slot] : .zero))
        }
        if !changed.isEmpty { try storer.store(changed, in: bytes) }
    }

    /// A hole reads as zeros: nothing is read, but what was there before may have changed.
    private func captureHole(_ blocks: Range<UInt64>) throws {
        let page = try board.page(ofBlock: blocks.lowerBound)
        let firstSlot = Page.slot(ofBlock: blocks.lowerBound)
        let slots = firstSlot..<firstSlot + blocks.count
        var result = ChunkResult(blockCount: blocks.count)
        let oldCount = Page.blockCount(
            ofPage: page.number, volumeBlockCount: context.parent.blockCount)
        if page.tip == nil, context.wasEmpty(page.number, tree) {
            // All zeros before as well, as far as the volume went.
            let new = max(slots.lowerBound, oldCount)..<max(slots.upperBound, oldCount)
            if !new.isEmpty { result.outcomes.append(OutcomeRun(new, .zero)) }
        } else {
            try compareHole(slots, page, &result)
        }
        progress.add(skippedByteCount: blocks.count * context.blockSize.byteCount)
        try finish(page, result)
    }

    private func compareHole(
        _ slots: Range<Int>,
        _ page: OpenPage,
        _ result: inout ChunkResult
    ) throws {
        let zero = context.fingerprinter.zero
        var before: PageBlocks?
        for slot in slots {
            if let tip = page.tip, slot < tip.blockCount, tip[slot] == zero { continue }
            let known = try before ?? page.before { try context.loadBefore(page.number, tree) }
            before = known
            result.fingerprints.append((slot, zero))
            if slot >= known.blockCount || known.isData(slot) {
                result.outcomes.append(OutcomeRun(slot, .zero))
            }
        }
    }

    private func finish(_ page: OpenPage, _ result: ChunkResult) throws {
        guard page.add(result) else { return }
        board.close(page)
        try collector.add(page.finished(), tree: tree)
    }

    /// Ends the last page of a stream, whose size is known now.
    func endStream(blockCount: UInt64) throws {
        guard let page = board.lastPage(ofBlockCount: blockCount) else { return }
        guard page.cut(to: Page.slot(ofBlock: blockCount)) else {
            preconditionFailure("a stream's last page is not complete")
        }
        board.close(page)
        try collector.add(page.finished(), tree: tree)
    }
}
