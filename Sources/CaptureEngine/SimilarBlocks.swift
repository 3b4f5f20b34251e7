internal import BlockModel
internal import ChangeTracking
internal import LinuxIO
internal import RepositoryFormat
internal import Synchronization
internal import VolumeAccess

/// Remembers the pages of blocks that this capture stored in full, and where in the source they
/// are; shared by its workers.
///
/// File systems lay files down on pages, so that a file that is there twice has other blocks each
/// time. What this says is a guess, which the caller proves.
final class SimilarBlocks: Sendable {
    private static let pageByteCount = 4096
    /// 16 MiB: every page of 8 GiB; of larger volumes every second, fourth and so on.
    private static let entryCountLimit: UInt64 = 1 << 21
    private static let bucketEntryCount = 8

    private struct Table {
        /// Entries of 24 bits that tell pages apart and a block's number, 40 bits; 0 is empty.
        let entries: AlignedBuffer
        let bucketCount: UInt64
    }

    private let source: VolumeSource
    private let byteCount: UInt64
    private let blockSize: BlockSize
    private let fingerprinter: BlockFingerprinter
    private let zeroPage: Fingerprint
    /// Pages are remembered where so many bits of their fingerprint are zero.
    private let sampleShift: Int
    private let table = Mutex<Table?>(nil)

    /// Nil where blocks are pages, and for a stream, which cannot be read again.
    init?(source: VolumeSource, fingerprinter: BlockFingerprinter, blockSize: BlockSize) {
        guard let byteCount = source.byteCount, blockSize.byteCount > Self.pageByteCount else {
            return nil
        }
        self.source = source
        self.byteCount = byteCount
        self.blockSize = blockSize
        self.fingerprinter = fingerprinter
        let zeros = [UInt8](repeating: 0, count: Self.pageByteCount)
        zeroPage = fingerprinter.fingerprint(of: zeros.rawSpan)
        var shift = 0
        while (byteCount / UInt64(Self.pageByteCount)) >> shift > Self.entryCountLimit {
            shift += 1
        }
        sampleShift = shift
    }

    /// Remembers the pages of block `number`.
    func add(_ block: RawSpan, of number: UInt64) {
        let pages = sample(block)
        guard !pages.isEmpty else { return }
        table.withLock { table in
            if table == nil { table = makeTable() }
            guard let table else { return }
            for page in pages { Self.put(page, number, in: table) }
        }
    }

    /// Reads into `target` the blocks of the source that seem to have most pages in common with
    /// `block`, one or two that are neighbours; gives their number, 0 where not even a quarter of
    /// the pages were found.
    func findBlocks(like block: RawSpan, into target: AlignedBuffer) -> Int {
        let pages = sample(block)
        let wanted = max(1, (blockSize.byteCount / Self.pageByteCount / 4) >> sampleShift)
        guard pages.count >= wanted else { return 0 }
        let found = table.withLock { table -> [UInt64] in
            guard let table else { return [] }
            return pages.compactMap { Self.find($0, in: table) }
        }
        guard found.count >= wanted, let range = Self.bestRange(of: found, atLeast: wanted),
            read(range, into: target)
        else { return 0 }
        return range.count
    }

    /// The most frequent number, with the more frequent of its neighbours.
    private static func bestRange(of numbers: [UInt64], atLeast wanted: Int) -> Range<UInt64>? {
        let counts = numbers.reduce(into: [UInt64: Int]()) { $0[$1, default: 0] += 1 }
        guard let best = counts.max(by: { ($0.value, $1.key) < ($1.value, $0.key) })?.key else {
            return nil
        }
        let below = best > 0 ? counts[best - 1] ?? 0 : 0
        let above = counts[best + 1] ?? 0
        guard counts[best, default: 0] + max(below, above) >= wanted else { return nil }
        if below == 0, above == 0 { return best..<best + 1 }
        return below > above ? best - 1..<best + 1 : best..<best + 2
    }

    /// False where they cannot be read: what failed once is not worth a failed capture.
    private func read(_ blocks: Range<UInt64>, into target: AlignedBuffer) -> Bool {
        let offset = blockSize.byteOffset(ofBlock: blocks.lowerBound)
        guard offset < byteCount else { return false }
        let whole = blocks.count * blockSize.byteCount
        let size = Int(min(UInt64(whole), byteCount - offset))
        let count = try? source.read(into: target, range: 0..<size, at: offset)
        guard count == size else { return false }
        target.zero(size..<whole)
        return true
    }

    /// What the table knows pages by; those of zeros, and those that are not sampled, left out.
    private func sample(_ block: RawSpan) -> [UInt64] {
        var pages: [UInt64] = []
        let mask = (UInt64(1) << UInt64(sampleShift)) - 1
        for start in stride(from: 0, to: block.byteCount, by: Self.pageByteCount) {
            let page = fingerprinter.fingerprint(
                of: block.extracting(start..<start + Self.pageByteCount))
            if page != zeroPage, page.high & mask == 0 { pages.append(page.low) }
        }
        return pages
    }

    // MARK: The table

    private func makeTable() -> Table? {
        var count: UInt64 = 1 << 10
        let pageCount = byteCount / UInt64(Self.pageByteCount)
        while count < min(Self.entryCountLimit, pageCount) { count *= 2 }
        // Without memory for it a capture is larger, and no worse.
        guard let entries = try? AlignedBuffer(byteCount: Int(count) * 8, isSparse: true) else {
            return nil
        }
        return Table(entries: entries, bucketCount: count / UInt64(Self.bucketEntryCount))
    }

    private static func put(_ page: UInt64, _ number: UInt64, in table: Table) {
        let start = firstOffset(of: page, in: table)
        let bytes = table.entries.bytes
        var offset = start + Int(tag(page) % UInt64(bucketEntryCount)) * 8
        for candidate in stride(from: start, to: start + bucketEntryCount * 8, by: 8) {
            let entry = bytes.littleEndian(at: candidate, as: UInt64.self)
            if entry == 0 || entry >> 40 == tag(page) {
                offset = candidate
                break
            }
        }
        table.entries.withMutableBytes { $0.store(tag(page) << 40 | number, at: offset) }
    }

    private static func find(_ page: UInt64, in table: Table) -> UInt64? {
        let start = firstOffset(of: page, in: table)
        for offset in stride(from: start, to: start + bucketEntryCount * 8, by: 8) {
            let entry = table.entries.bytes.littleEndian(at: offset, as: UInt64.self)
            if entry != 0, entry >> 40 == tag(page) { return entry & (1 << 40 - 1) }
        }
        return nil
    }

    private static func firstOffset(of page: UInt64, in table: Table) -> Int {
        Int(page & (table.bucketCount - 1)) * bucketEntryCount * 8
    }

    private static func tag(_ page: UInt64) -> UInt64 { page >> 40 }
}
