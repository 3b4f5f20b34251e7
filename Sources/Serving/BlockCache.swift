internal import BlockModel
internal import LinuxIO
internal import Repository
internal import RepositoryIndex
internal import Synchronization

/// Blocks of which a part was asked for, proved, for the other parts.
///
/// It is divided into shards, so that threads seldom wait for each other. A block that is not used for
/// longest leaves by second chance: a hand goes round, and takes what was not used since it last came by.
final class BlockCache: Sendable {
    private struct Slot {
        var number: BlockNumber
        let bytes: AlignedBuffer
        var wasUsed: Bool
    }
    private struct Shard {
        var slots: [Slot] = []
        var positions: [BlockNumber: Int] = [:]
        var hand = 0
    }
    /// A mutex has a place of its own and cannot be moved.
    private final class Lock: Sendable {
        let shard = Mutex(Shard())
    }

    private static let shardCount = 16

    private let locks = (0..<shardCount).map { _ in Lock() }
    private let slotLimit: Int
    private let size: Int

    init(byteCount: Int, blockSize: BlockSize) {
        size = blockSize.byteCount
        slotLimit = max(1, byteCount / size / Self.shardCount)
    }

    private func lock(_ number: BlockNumber) -> Lock {
        locks[Int(number % UInt64(Self.shardCount))]
    }

    /// Copies the bytes `range` of the block to `target`; false when it is not here.
    @unsafe
    func copy(
        _ number: BlockNumber,
        bytes range: Range<Int>,
        to target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        lock(number).shard.withLock { shard in
            guard let position = shard.positions[number] else { return false }
            shard.slots[position].wasUsed = true
            let buffer = shard.slots[position].bytes
            let part = buffer.bytes.extracting(range)
            unsafe part.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
            return true
        }
    }

    /// Keeps a block.
    func keep(_ number: BlockNumber, _ bytes: RawSpan) throws {
        try lock(number).shard.withLock { shard in
            guard shard.positions[number] == nil else { return }
            let position: Int
            if shard.slots.count < slotLimit {
                position = shard.slots.count
                shard.slots.append(
                    Slot(number: number, bytes: try AlignedBuffer(byteCount: size), wasUsed: false))
            } else {
                while shard.slots[shard.hand].wasUsed {
                    shard.slots[shard.hand].wasUsed = false
                    shard.hand = (shard.hand + 1) % slotLimit
                }
                position = shard.hand
                shard.hand = (shard.hand + 1) % slotLimit
                shard.positions[shard.slots[position].number] = nil
            }
            shard.slots[position].bytes.copy(bytes, to: 0)
            shard.slots[position].number = number
            shard.slots[position].wasUsed = false
            shard.positions[number] = position
        }
    }
}
