import BlockModel
import TestKit
import Testing

struct BlockExtentsTests {
    @Test("Joined ranges are those of a set", arguments: 0..<40 as Range<UInt64>)
    func joining(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var parts: [Range<UInt64>] = []
        var model: Set<UInt64> = []
        for _ in 0..<generator.next() % 30 {
            let start = generator.next() % 20_000
            let part = start..<start + generator.next() % 300
            parts.append(part)
            model.formUnion(part)
        }
        let extents = BlockExtents(joining: parts)
        #expect(extents.blockCount == UInt64(model.count))
        #expect(Set(extents.ranges.joined()) == model)
        for (left, right) in zip(extents.ranges, extents.ranges.dropFirst()) {
            #expect(left.upperBound < right.lowerBound)
        }
        #expect(extents.pages == Set(model.map(Page.index(ofBlock:))).sorted())
        for _ in 0..<50 {
            let block = generator.next() % 21_000
            #expect(extents.contains(block) == model.contains(block))
            let window = block..<block + generator.next() % 5000
            #expect(extents.blockCount(in: window) == UInt64(model.count { window.contains($0) }))
        }
    }

    @Test("Bytes are covered by the blocks that they touch")
    func covering() throws {
        let size = try #require(BlockSize(byteCount: 4096))
        let bytes: [Range<UInt64>] = [0..<1, 4095..<4097, 8192..<8192, 40_960..<45_056]
        #expect(BlockExtents(covering: bytes, blockSize: size).ranges == [0..<2, 10..<11])
        #expect(BlockExtents(0..<0).ranges.isEmpty)
    }
}
