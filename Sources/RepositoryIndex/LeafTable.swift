internal import BlockModel
internal import RepositoryFormat

/// The leaves of an image's pages as far as they are known: memory is taken for those, and not for all that
/// a size claims.
struct LeafTable {
    private static let chunkPageCount: UInt64 = 1024

    private(set) var pageCount: UInt64
    private var chunks: [UInt64: [PageLeaf?]] = [:]
    private var knownCount: UInt64 = 0

    init(pageCount: UInt64) { self.pageCount = pageCount }

    /// Pages for which memory is taken.
    var heldPageCount: UInt64 { UInt64(chunks.count) * Self.chunkPageCount }

    /// Whether all leaves are known.
    var isWhole: Bool { knownCount == pageCount }

    /// Those that are known, in page order.
    var digests: [Digest] {
        var digests: [Digest] = []
        digests.reserveCapacity(Int(knownCount))
        for chunk in chunks.keys.sorted() {
            for leaf in chunks[chunk] ?? [] { if let leaf { digests.append(leaf.digest) } }
        }
        return digests
    }

    subscript(page: UInt64) -> PageLeaf? {
        get {
            chunks[page / Self.chunkPageCount]?[Int(page % Self.chunkPageCount)]
        }
        set {
            precondition(page < pageCount)
            let (chunk, slot) = (page / Self.chunkPageCount, Int(page % Self.chunkPageCount))
            if newValue == nil, chunks[chunk] == nil { return }
            var leaves =
                chunks.removeValue(forKey: chunk)
                ?? [PageLeaf?](repeating: nil, count: Int(Self.chunkPageCount))
            if leaves[slot] != nil { knownCount -= 1 }
            if newValue != nil { knownCount += 1 }
            leaves[slot] = newValue
            chunks[chunk] = leaves
        }
    }

    /// Forgets the leaves behind the new end; of new pages none is known.
    mutating func resize(to pageCount: UInt64) {
        let oldCount = self.pageCount
        self.pageCount = pageCount
        guard pageCount < oldCount else { return }
        for chunk in chunks.keys where (chunk + 1) * Self.chunkPageCount > pageCount {
            let first = chunk * Self.chunkPageCount
            for slot in 0..<Self.chunkPageCount
            where first + slot >= pageCount && chunks[chunk]?[Int(slot)] != nil {
                chunks[chunk]?[Int(slot)] = nil
                knownCount -= 1
            }
            if first >= pageCount { chunks[chunk] = nil }
        }
    }
}
