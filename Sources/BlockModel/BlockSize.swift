/// Size of one block in bytes: a power of two, 4 KiB to 4 MiB.
package struct BlockSize: Hashable, Sendable, BitwiseCopyable {
    package static let minimumByteCount = 4096
    package static let maximumByteCount = 4 << 20
    package static let minimum = BlockSize(unchecked: minimumByteCount)
    /// 64 KiB: hashing is as fast as with larger blocks and the index costs 17 bytes a block.
    package static let standard = BlockSize(unchecked: 64 << 10)

    package let byteCount: Int

    package init?(byteCount: Int) {
        guard (Self.minimumByteCount...Self.maximumByteCount).contains(byteCount),
            byteCount.nonzeroBitCount == 1
        else { return nil }
        self.byteCount = byteCount
    }

    private init(unchecked byteCount: Int) { self.byteCount = byteCount }

    /// Number of blocks that cover `byteCount` bytes, the last of them perhaps in part.
    package func blockCount(coveringByteCount byteCount: UInt64) -> UInt64 {
        let size = UInt64(self.byteCount)
        return byteCount / size + (byteCount % size == 0 ? 0 : 1)
    }

    package func byteOffset(ofBlock index: UInt64) -> UInt64 { index * UInt64(byteCount) }
}

/// A page: the 4,096 blocks that the index and the image digest treat together.
package enum Page {
    package static let blockCount = 4096

    package static func index(ofBlock block: UInt64) -> UInt64 { block / UInt64(blockCount) }
    package static func slot(ofBlock block: UInt64) -> Int { Int(block % UInt64(blockCount)) }

    /// Number of pages that hold `blockCount` blocks.
    package static func count(forBlockCount blocks: UInt64) -> UInt64 {
        (blocks + UInt64(blockCount) - 1) / UInt64(blockCount)
    }

    /// Blocks in page `page` of a volume of `volumeBlockCount` blocks: 0 to 4,096.
    package static func blockCount(ofPage page: UInt64, volumeBlockCount: UInt64) -> Int {
        let first = page * UInt64(blockCount)
        guard first < volumeBlockCount else { return 0 }
        return Int(min(UInt64(blockCount), volumeBlockCount - first))
    }
}
