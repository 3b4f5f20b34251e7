package import BlockModel

/// Extents of a volume in order, none touching the next: what was written, to the chunk.
package struct WrittenExtents: Hashable, Sendable {
    /// Lists with more extents are not kept: 64 MiB of memory, and as much of text.
    static let extentLimit = 4 << 20

    /// In units of ``unit``.
    private(set) var extents: BlockExtents

    /// Bytes of one unit: the smallest block that there is.
    private static let unit = BlockSize.minimum

    init() { extents = BlockExtents() }

    init(_ extents: BlockExtents) { self.extents = extents }

    var byteCount: UInt64 { extents.blockCount * UInt64(Self.unit.byteCount) }

    /// Both together; nil when they are too many to be kept.
    func union(_ other: WrittenExtents) -> WrittenExtents? {
        let joined = BlockExtents(joining: extents.ranges + other.extents.ranges)
        return joined.ranges.count <= Self.extentLimit ? WrittenExtents(joined) : nil
    }

    /// The blocks in which they lie.
    package func blocks(of size: BlockSize) -> BlockExtents {
        let unit = UInt64(Self.unit.byteCount)
        return BlockExtents(
            covering: extents.ranges.lazy.map { $0.lowerBound * unit..<$0.upperBound * unit },
            blockSize: size)
    }

    /// Lines `FIRST COUNT` in units, and a line `end`.
    var text: String {
        extents.ranges.map { "\($0.lowerBound) \($0.count)\n" }.joined() + "end\n"
    }

    /// Reads what ``text`` gave; nil for anything else.
    init?(text: String) {
        var ranges: [Range<UInt64>] = []
        var hasEnd = false
        for line in text.split(separator: "\n") {
            guard !hasEnd else { return nil }
            if line == "end" {
                hasEnd = true
                continue
            }
            let numbers = line.split(separator: " ").compactMap { UInt64($0) }
            guard numbers.count == 2, numbers[1] > 0,
                ranges.last.map({ $0.upperBound < numbers[0] }) ?? true,
                case (let end, let overflows) = numbers[0].addingReportingOverflow(numbers[1]),
                !overflows
            else { return nil }
            ranges.append(numbers[0]..<end)
        }
        guard hasEnd, ranges.count <= Self.extentLimit else { return nil }
        extents = BlockExtents(joining: ranges)
    }
}
