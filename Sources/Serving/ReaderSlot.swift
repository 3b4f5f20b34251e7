internal import BlockModel
internal import LinuxIO
internal import Packs
internal import Repository
internal import RepositoryIndex
internal import Synchronization

/// A reader of blocks that one thread at a time may use.
final class ReaderSlot: Sendable {
    /// What the owner of the slot uses.
    struct Reader {
        fileprivate let reader: BlockReader
        fileprivate let buffer: AlignedBuffer

        /// Reads a block, proved; what is given holds until the next one is read.
        func read(_ number: BlockNumber, _ digest: Digest, lastSlot: UInt8) throws -> AlignedBuffer
        {
            try buffer.withMutableBytes {
                try reader.read(number, digest: digest, lastSlot: lastSlot, into: &$0)
            }
            return buffer
        }
    }

    private let reader: Mutex<Reader>

    init(repository: Repository, index: Index, frameCount: Int, isVerifying: Bool) throws {
        reader = Mutex(
            Reader(
                reader: try BlockReader(
                    repository: repository, index: index, cachedFrameCount: frameCount,
                    isVerifying: isVerifying),
                buffer: try AlignedBuffer(byteCount: repository.blockSize.byteCount)))
    }

    func withReader(_ body: (Reader) throws -> Void) throws {
        try reader.withLock { try body($0) }
    }
}
