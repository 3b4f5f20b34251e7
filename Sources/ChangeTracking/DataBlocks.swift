internal import BlockModel

/// Extents of a volume that are told in data blocks of a target's own size.
struct DataBlocks {
    private let byteCount: UInt64
    private let volumeByteCount: UInt64
    private let blockSize: BlockSize
    private var extents = BlockExtentsBuilder()

    /// Data blocks of `byteCount` bytes, to be told in blocks of `blockSize`.
    init(byteCount: UInt64, volumeByteCount: UInt64, blockSize: BlockSize) {
        self.byteCount = byteCount
        self.volumeByteCount = volumeByteCount
        self.blockSize = blockSize
    }

    /// Adds data blocks, as far as the volume has them; false when there are too many extents.
    mutating func add(first: UInt64, end: UInt64) -> Bool {
        let count =
            volumeByteCount / byteCount + (volumeByteCount % byteCount == 0 ? 0 : 1)
        guard first < min(end, count) else { return true }
        let size = UInt64(blockSize.byteCount)
        let lastByte = min(
            (min(end, count) - 1) * byteCount + (byteCount - 1), volumeByteCount - 1)
        return extents.add(first * byteCount / size..<lastByte / size + 1)
    }

    func finished() -> BlockExtents { extents.finished() }
}
