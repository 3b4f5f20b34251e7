/// Extents of blocks: in order, none empty, none touching the next.
package struct BlockExtents: Hashable, Sendable {
    package private(set) var ranges: [Range<UInt64>] = []

    package init() {}

    package init(_ range: Range<UInt64>) {
        if !range.isEmpty { ranges = [range] }
    }

    /// Joins ranges that come in any order and may overlap.
    package init(joining parts: some Sequence<Range<UInt64>>) {
        for part in parts.sorted(by: { $0.lowerBound < $1.lowerBound }) where !part.isEmpty {
            if let last = ranges.last, part.lowerBound <= last.upperBound {
                let end = max(last.upperBound, part.upperBound)
                ranges[ranges.count - 1] = last.lowerBound..<end
            } else {
                ranges.append(part)
            }
        }
    }

    /// The blocks in which `byteRanges` lie.
    package init(covering byteRanges: some Sequence<Range<UInt64>>, blockSize: BlockSize) {
        let size = UInt64(blockSize.byteCount)
        self.init(
            joining: byteRanges.lazy.filter { !$0.isEmpty }.map {
                $0.lowerBound / size..<($0.upperBound - 1) / size + 1
            })
    }

    package var blockCount: UInt64 { ranges.reduce(0) { $0 + UInt64($1.count) } }

    package func contains(_ block: UInt64) -> Bool {
        let index = firstIndex(endingAfter: block)
        return index < ranges.count && ranges[index].contains(block)
    }

    /// Number of blocks that are in `blocks` too.
    package func blockCount(in blocks: Range<UInt64>) -> UInt64 {
        var count: UInt64 = 0
        var index = firstIndex(endingAfter: blocks.lowerBound)
        while index < ranges.count, ranges[index].lowerBound < blocks.upperBound {
            count += UInt64(ranges[index].clamped(to: blocks).count)
            index += 1
        }
        return count
    }

    /// The pages that have a block here, in order.
    package var pages: [UInt64] {
        var pages: [UInt64] = []
        for range in ranges {
            let first = Page.index(ofBlock: range.lowerBound)
            let last = Page.index(ofBlock: range.upperBound - 1)
            for page in first...last where pages.last != page { pages.append(page) }
        }
        return pages
    }

    private func firstIndex(endingAfter block: UInt64) -> Int {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound > block { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// Collects ranges of blocks that come in any order, in bounded memory.
package struct BlockExtentsBuilder {
    /// Extents apart from one another that are kept: 64 MiB of memory.
    package static let standardLimit = 4 << 20

    private var parts: [Range<UInt64>] = []
    private let limit: Int

    package init(limit: Int = standardLimit) { self.limit = limit }

    /// Adds a range; false when there are more extents than are kept.
    package mutating func add(_ range: Range<UInt64>) -> Bool {
        guard !range.isEmpty else { return true }
        if let last = parts.last, last.upperBound == range.lowerBound {
            parts[parts.count - 1] = last.lowerBound..<range.upperBound
            return true
        }
        parts.append(range)
        guard parts.count > 2 * limit else { return true }
        parts = BlockExtents(joining: parts).ranges
        return parts.count <= limit
    }

    package func finished() -> BlockExtents { BlockExtents(joining: parts) }
}
