package import BlockModel
internal import Hashing

/// The hash tree whose root names a whole image.
///
/// | node  | hash over                                                                      |
/// |-------|--------------------------------------------------------------------------------|
/// | leaf  | `00`, page number (8 bytes), digests of the page's blocks (up to 4,096)        |
/// | inner | `01`, up to 256 children                                                       |
/// | root  | `02`, image size in bytes (8), block size (8), the top node (nothing if empty) |
///
/// Zero and free blocks count by the digest of a block of zeros, so that the tree depends on what
/// a reader sees and on nothing else.
package struct ImageDigestTree {
    private static let fanout = 256

    private let hash = SHA256()
    package let zeroBlock: Digest
    /// The digests of a page of zeros, as they are hashed.
    private let zeroPage: [UInt8]

    package init(blockSize: BlockSize) {
        let zeros = [UInt8](repeating: 0, count: blockSize.byteCount)
        hash.update(zeros.rawSpan)
        zeroBlock = Digest(hash.finish())
        var writer = ByteWriter(reserving: Page.blockCount * Digest.byteCount)
        for _ in 0..<Page.blockCount { writer.append(zeroBlock) }
        zeroPage = writer.bytes
    }

    /// The leaf of a page of `blockCount` blocks of zeros.
    package func zeroLeaf(page: UInt64, blockCount: Int) -> Digest {
        var head = ByteWriter(reserving: 9)
        head.append(UInt8(0))
        head.append(page)
        hash.update(head.bytes.rawSpan)
        hash.update(zeroPage.rawSpan.extracting(0..<blockCount * Digest.byteCount))
        return Digest(hash.finish())
    }

    /// The leaf of page `page`, whose blocks have `digests`.
    package func leaf(page: UInt64, digests: Span<Digest>) -> Digest {
        var head = ByteWriter(reserving: 9)
        head.append(UInt8(0))
        head.append(page)
        hash.update(head.bytes.rawSpan)
        var batch = ByteWriter(reserving: 256 * Digest.byteCount)
        for index in digests.indices {
            batch.append(digests[index])
            if batch.bytes.count == 256 * Digest.byteCount {
                hash.update(batch.bytes.rawSpan)
                batch.removeAll()
            }
        }
        hash.update(batch.bytes.rawSpan)
        return Digest(hash.finish())
    }

    /// The root over all leaves, in page order.
    package func root(leaves: [Digest], byteCount: UInt64, blockSize: BlockSize) -> Digest {
        var level = leaves
        while level.count > 1 {
            level = stride(from: 0, to: level.count, by: Self.fanout).map { start in
                inner(level[start..<min(start + Self.fanout, level.count)])
            }
        }
        var writer = ByteWriter()
        writer.append(UInt8(2))
        writer.append(byteCount)
        writer.append(UInt64(blockSize.byteCount))
        if let top = level.first { writer.append(top) }
        hash.update(writer.bytes.rawSpan)
        return Digest(hash.finish())
    }

    private func inner(_ children: ArraySlice<Digest>) -> Digest {
        var writer = ByteWriter(reserving: 1 + children.count * Digest.byteCount)
        writer.append(UInt8(1))
        for child in children { writer.append(child) }
        hash.update(writer.bytes.rawSpan)
        return Digest(hash.finish())
    }
}
