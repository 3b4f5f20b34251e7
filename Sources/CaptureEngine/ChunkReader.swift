internal import BlockModel
internal import LinuxIO
internal import Synchronization
internal import VolumeAccess

/// Reads chunks of a source into a fixed pool of aligned buffers; belongs to one thread.
///
/// What the page cache holds is copied from there; the rest is read past it, many chunks in flight
/// at once where the kernel allows io_uring, and handed out in the order in which they were asked
/// for.
final class ChunkReader {
    private let source: VolumeSource
    private let byteCount: UInt64
    private let blockSize: BlockSize
    private let chunkByteCount: Int
    let buffer: AlignedBuffer
    /// Made when the first chunk is not in the page cache: its buffers are pinned then.
    private var ring: Ring?
    private var hasTriedRing = false
    private var freeSlots: [Int]
    /// Chunks that the kernel has, in the order in which they were asked for.
    private var inFlight: [(slot: Int, blocks: Range<UInt64>)] = []
    /// Results that came before their turn, by slot.
    private var early: [Int: Int] = [:]

    init(
        source: VolumeSource,
        byteCount: UInt64,
        blockSize: BlockSize,
        chunkByteCount: Int,
        chunkCount: Int
    ) throws {
        self.source = source
        self.byteCount = byteCount
        self.blockSize = blockSize
        self.chunkByteCount = chunkByteCount
        buffer = try AlignedBuffer(byteCount: chunkByteCount * chunkCount)
        freeSlots = Array((0..<chunkCount).reversed())
    }

    /// The buffer goes with the reader; nothing may be read into it any more.
    deinit { ring?.drain() }

    var hasFreeSlot: Bool { !freeSlots.isEmpty }
    var isIdle: Bool { inFlight.isEmpty }
    var chunkBlockCount: UInt64 { UInt64(chunkByteCount / blockSize.byteCount) }

    /// A chunk in memory: its blocks, padded with zeros to whole blocks, lie in `range`.
    struct Chunk {
        let blocks: Range<UInt64>
        let slot: Int
        let range: Range<Int>
    }

    /// Begins to read `blocks`; gives them at once when they were in memory or cannot be queued.
    func begin(_ blocks: Range<UInt64>) throws -> Chunk? {
        let slot = freeSlots.removeLast()
        let start = slot * chunkByteCount
        let offset = blockSize.byteOffset(ofBlock: blocks.lowerBound)
        let wanted = wantedByteCount(blocks)
        let cached = source.readCached(
            into: buffer, range: start..<start + wanted, at: offset)
        if let cached {
            return try finish(blocks, slot: slot, received: cached)
        }
        guard source.hasDirect else { return try finish(blocks, slot: slot, received: 0) }
        // Direct reads end on a boundary; behind the end of the source they come back short.
        let aligned = (wanted + AlignedBuffer.alignment - 1) & ~(AlignedBuffer.alignment - 1)
        guard let ring = openRing() else {
            // What fails there is read through the page cache.
            let received = try? source.readDirect(
                into: buffer, range: start..<start + aligned, at: offset)
            return try finish(blocks, slot: slot, received: min(received ?? 0, wanted))
        }
        try source.begin(
            on: ring, into: buffer, range: start..<start + aligned, at: offset,
            tag: UInt64(slot))
        inFlight.append((slot, blocks))
        return nil
    }

    private func openRing() -> Ring? {
        if !hasTriedRing {
            hasTriedRing = true
            let count = buffer.byteCount / chunkByteCount
            ring = Ring(entryCount: count)
            ring?.register(buffer, partByteCount: chunkByteCount, count: count)
        }
        return ring
    }

    /// Waits for the chunk that was asked for first among those in flight.
    func waitForNext() throws -> Chunk {
        guard let ring, !inFlight.isEmpty else { preconditionFailure("nothing is in flight") }
        let (slot, blocks) = inFlight.removeFirst()
        while early[slot] == nil {
            let (tag, result) = try ring.wait()
            early[Int(tag)] = result
        }
        let result = early.removeValue(forKey: slot) ?? 0
        // Some file systems refuse what they accepted at opening, and a medium may fail anywhere in a
        // chunk: reading through the page cache works, or says where it does not.
        return try finish(
            blocks, slot: slot, received: min(max(result, 0), wantedByteCount(blocks)))
    }

    /// Gives a chunk's buffer back.
    func release(_ chunk: Chunk) { freeSlots.append(chunk.slot) }

    private func wantedByteCount(_ blocks: Range<UInt64>) -> Int {
        let start = blockSize.byteOffset(ofBlock: blocks.lowerBound)
        let end = min(blockSize.byteOffset(ofBlock: blocks.upperBound), byteCount)
        return Int(end - start)
    }

    /// Reads what is still missing, and pads the last block of the source with zeros.
    private func finish(_ blocks: Range<UInt64>, slot: Int, received: Int) throws -> Chunk {
        let start = slot * chunkByteCount
        let wanted = wantedByteCount(blocks)
        if received < wanted {
            let offset = blockSize.byteOffset(ofBlock: blocks.lowerBound) + UInt64(received)
            let more = try source.read(
                into: buffer, range: start + received..<start + wanted, at: offset)
            guard received + more == wanted else {
                throw VolumeError(
                    .changed,
                    "\(source.path) shrank below \(byteCount) bytes while it was read; "
                        + "nothing was committed: run the backup again when it is idle")
            }
        }
        let whole = blocks.count * blockSize.byteCount
        if wanted < whole { buffer.zero(start + wanted..<start + whole) }
        return Chunk(blocks: blocks, slot: slot, range: start..<start + whole)
    }
}

/// Deals out a stream in order: reading and numbering happen under one lock.
final class StreamReader: Sendable {
    private struct State {
        var nextBlock: UInt64 = 0
        var byteCount: UInt64 = 0
        var hasEnded = false
    }

    private let source: VolumeSource
    private let blockSize: BlockSize
    private let chunkByteCount: Int
    private let state = Mutex(State())

    init(source: VolumeSource, blockSize: BlockSize, chunkByteCount: Int) {
        self.source = source
        self.blockSize = blockSize
        self.chunkByteCount = chunkByteCount
    }

    /// Bytes of the whole stream, once it has ended.
    var byteCount: UInt64 { state.withLock { $0.byteCount } }

    /// Reads the next chunk into the start of `buffer`; nil at the end.
    func next(into buffer: AlignedBuffer) throws -> ChunkReader.Chunk? {
        try state.withLock { state in
            guard !state.hasEnded else { return nil }
            let pageEnd =
                (Page.index(ofBlock: state.nextBlock) + 1) * UInt64(Page.blockCount)
            let room = Int(
                min(UInt64(chunkByteCount / blockSize.byteCount), pageEnd - state.nextBlock))
            let count = try source.readStream(
                into: buffer, range: 0..<room * blockSize.byteCount)
            if count < room * blockSize.byteCount { state.hasEnded = true }
            guard count > 0 else { return nil }
            state.byteCount += UInt64(count)
            let blocks = Int(blockSize.blockCount(coveringByteCount: UInt64(count)))
            buffer.zero(count..<blocks * blockSize.byteCount)
            let first = state.nextBlock
            state.nextBlock += UInt64(blocks)
            return ChunkReader.Chunk(
                blocks: first..<state.nextBlock, slot: 0,
                range: 0..<blocks * blockSize.byteCount)
        }
    }
}
