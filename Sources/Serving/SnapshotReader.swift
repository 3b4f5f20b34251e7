internal import BlockModel
internal import LinuxIO
internal import Packs
package import Repository
internal import RepositoryFormat
package import RepositoryIndex
package import RepositoryModel

/// Reads any range of one snapshot, from any number of threads at once.
package final class SnapshotReader: Sendable {
    /// What a reader may use, and must do.
    package struct Options: Sendable {
        /// Bytes that are kept: half of them blocks, half decompressed frames.
        package var cacheByteCount = Self.standardCacheByteCount
        /// Readers that work at the same time.
        package var slotCount = 2 * Workers.standardCount
        /// Whether each block is proved by its digest.
        package var isVerifying = true

        package init() {}

        /// A sixteenth of the machine's memory, but 256 MiB at least and 1 GiB at most.
        package static var standardCacheByteCount: Int {
            min(1 << 30, max(256 << 20, Workers.memoryByteCount / 16))
        }
    }

    /// Bytes in a row that are all zeros, or not known to be.
    package struct Extent: Hashable, Sendable {
        package let byteCount: UInt64
        package let isZero: Bool
    }

    /// Bytes of a pack whose blocks meet in one lane.
    private static let slotStretchByteCount: UInt32 = 4 << 20

    /// Size of the volume.
    package let byteCount: UInt64
    /// Bytes of a block.
    package let blockByteCount: Int
    /// Bytes of a sector of the disk that it was.
    package let sectorByteCount: Int
    private let index: Index
    private let pages: PageCache
    private let blocks: BlockCache
    private let lanes: [ReaderSlot]

    /// Makes a reader of a snapshot whose map is `map`.
    ///
    /// - Throws: ``SystemError`` when there is no memory for it.
    package init(
        _ snapshot: Snapshot,
        _ map: SnapshotMap,
        repository: Repository,
        options: Options = Options()
    ) throws {
        byteCount = map.byteCount
        sectorByteCount = Int(snapshot.facts.source.sectorByteCount)
        blockByteCount = repository.blockSize.byteCount
        index = map.index
        pages = PageCache(map)
        blocks = BlockCache(
            byteCount: options.cacheByteCount / 2, blockSize: repository.blockSize)
        let frameByteCount = Format.framePlainByteCount(repository.blockSize)
        let slotCount = max(1, options.slotCount)
        let frameCount = max(2, options.cacheByteCount / 2 / slotCount / frameByteCount)
        lanes = try (0..<slotCount).map { _ in
            try ReaderSlot(
                repository: repository, index: map.index, frameCount: frameCount,
                isVerifying: options.isVerifying)
        }
    }

    /// Makes a reader of another snapshot of the same repository, with the caches of this one.
    package init(
        _ snapshot: Snapshot,
        _ map: SnapshotMap,
        sharing other: SnapshotReader
    ) {
        byteCount = map.byteCount
        sectorByteCount = Int(snapshot.facts.source.sectorByteCount)
        blockByteCount = other.blockByteCount
        index = other.index
        pages = PageCache(map)
        blocks = other.blocks
        lanes = other.lanes
    }

    // MARK: Reading

    /// The number of what a block holds: equal numbers, of any snapshot, are equal bytes.
    package func number(ofBlock block: UInt64) throws -> BlockNumber {
        try pages.numbers(Page.index(ofBlock: block))[Page.slot(ofBlock: block)]
    }

    /// Fills `target` with the bytes at `offset`.
    ///
    /// - Throws: ``RepositoryError`` of kind `damaged` when a block cannot be read; the target's
    ///   content is not to be used then.
    @unsafe
    package func read(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        let end = offset.addingReportingOverflow(UInt64(target.count))
        guard !end.overflow, end.partialValue <= byteCount else {
            throw RepositoryError(
                .failed, "the snapshot has \(byteCount) bytes, so nothing can be read at \(offset)")
        }
        var done = 0
        while done < target.count {
            let position = offset + UInt64(done)
            let block = position / UInt64(blockByteCount)
            let numbers = try pages.numbers(Page.index(ofBlock: block))
            let first = Page.slot(ofBlock: block)
            let skipped = Int(position % UInt64(blockByteCount))
            let count = min(
                target.count - done, (numbers.count - first) * blockByteCount - skipped)
            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: target[done..<done + count])
            unsafe try read(numbers[first...], skipped, into: part)
            done += count
        }
    }

    /// A part of a block that is wanted, and where it goes.
    private struct Part {
        let number: BlockNumber
        /// Bytes of the block.
        let source: Range<Int>
        /// Bytes of the target.
        let target: Range<Int>
    }

    /// Reads of blocks in a row, from the byte `skipped` of the first on.
    @unsafe
    private func read(
        _ numbers: ArraySlice<BlockNumber>,
        _ skipped: Int,
        into target: UnsafeMutableRawBufferPointer
    ) throws {
        var missing: [Part] = []
        var start = -skipped
        for number in numbers {
            guard start < target.count else { break }
            let lower = max(0, start)
            let upper = min(target.count, start + blockByteCount)
            let part = Part(
                number: number, source: lower - start..<upper - start, target: lower..<upper)
            let place = unsafe UnsafeMutableRawBufferPointer(rebasing: target[part.target])
            if number < SpecialBlock.firstDigest {
                unsafe place.initializeMemory(as: UInt8.self, repeating: 0)
            } else if unsafe !blocks.copy(number, bytes: part.source, to: place) {
                missing.append(part)
            }
            start += blockByteCount
        }
        if !missing.isEmpty { unsafe try fetch(missing, into: target) }
    }

    @unsafe
    private func fetch(_ parts: [Part], into target: UnsafeMutableRawBufferPointer) throws {
        let (digests, places) = try index.whereabouts(of: parts.map(\.number))
        var shares: [[Int]] = Array(repeating: [], count: lanes.count)
        for position in parts.indices { shares[lane(of: places[position])].append(position) }
        for (lane, share) in shares.enumerated() where !share.isEmpty {
            try lanes[lane].withReader { reader in
                for element in ReadOrder(share, places: places) {
                    let part = parts[element.slot]
                    let isWhole = part.source.count == blockByteCount
                    let place = unsafe UnsafeMutableRawBufferPointer(rebasing: target[part.target])
                    // Somebody may have fetched it while this waited for the lane.
                    if !isWhole, unsafe blocks.copy(part.number, bytes: part.source, to: place) {
                        continue
                    }
                    let block = try reader.read(
                        part.number, digests[element.slot], lastSlot: element.lastSlotOfFrame)
                    let bytes = block.bytes.extracting(part.source)
                    unsafe bytes.withUnsafeBytes { unsafe place.copyMemory(from: $0) }
                    if !isWhole { try blocks.keep(part.number, block.bytes) }
                }
            }
        }
    }

    private func lane(of place: Place?) -> Int {
        guard let place else { return 0 }
        return (Int(place.pack) &* 31 &+ Int(place.byteOffset / Self.slotStretchByteCount))
            % lanes.count
    }

    // MARK: Extents

    /// What of the range is known to be zeros: at least one extent, and of a large range perhaps only
    /// its beginning.
    package func extents(from offset: UInt64, byteCount wanted: UInt64) throws -> [Extent] {
        guard offset < byteCount, wanted > 0 else { return [] }
        let size = UInt64(blockByteCount)
        let end = offset + min(wanted, byteCount - offset)
        let pageByteCount = UInt64(Page.blockCount) * size
        var extents: [Extent] = []
        var position = offset
        var loadedCount = 0
        while position < end, loadedCount < Self.extentPageLimit {
            let page = position / pageByteCount
            let pageEnd = min(end, (page + 1) * pageByteCount)
            guard try pages.hasHistory(page) else {
                Self.add(pageEnd - position, isZero: true, to: &extents)
                position = pageEnd
                continue
            }
            loadedCount += 1
            let numbers = try pages.numbers(page)
            while position < pageEnd {
                let block = position / size
                let next = min(pageEnd, (block + 1) * size)
                Self.add(
                    next - position,
                    isZero: numbers[Page.slot(ofBlock: block)] < SpecialBlock.firstDigest,
                    to: &extents)
                position = next
            }
        }
        return extents
    }

    /// Who asks for a large range does not want to wait for all of it.
    private static let extentPageLimit = 16

    private static func add(_ byteCount: UInt64, isZero: Bool, to extents: inout [Extent]) {
        guard let last = extents.last, last.isZero == isZero else {
            extents.append(Extent(byteCount: byteCount, isZero: isZero))
            return
        }
        extents[extents.count - 1] = Extent(
            byteCount: last.byteCount + byteCount, isZero: isZero)
    }
}
