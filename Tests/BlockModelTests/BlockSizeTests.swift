import BlockModel
import Testing

struct BlockSizeTests {
    @Test("Powers of two from 4 KiB to 4 MiB are block sizes", arguments: 12...22)
    func allowed(shift: Int) {
        #expect(BlockSize(byteCount: 1 << shift)?.byteCount == 1 << shift)
    }

    @Test(
        "Other numbers are no block sizes",
        arguments: [.min, -4096, -1, 0, 1, 2048, 4095, 4097, 12288, 65535, 65537, 8 << 20, .max]
    )
    func refused(byteCount: Int) {
        #expect(BlockSize(byteCount: byteCount) == nil)
    }

    @Test("The standard block has 64 KiB")
    func standard() {
        #expect(BlockSize.standard == BlockSize(byteCount: 65_536))
    }

    @Test(
        "A block that is covered in part counts",
        arguments: [
            (0, 0), (1, 1), (65_535, 1), (65_536, 1), (65_537, 2), (1 << 40, 1 << 24),
            (.max, 1 << 48),
        ] as [(UInt64, UInt64)]
    )
    func blockCount(byteCount: UInt64, blocks: UInt64) {
        #expect(BlockSize.standard.blockCount(coveringByteCount: byteCount) == blocks)
    }

    @Test("A block begins where those before it end")
    func byteOffset() {
        #expect(BlockSize.standard.byteOffset(ofBlock: 0) == 0)
        #expect(BlockSize.standard.byteOffset(ofBlock: 3) == 196_608)
        #expect(BlockSize.standard.byteOffset(ofBlock: 1 << 40) == 1 << 56)
    }
}

struct PageTests {
    @Test(
        "A block's page and its slot there follow from its number",
        arguments: [
            (0, 0, 0), (1, 0, 1), (4095, 0, 4095), (4096, 1, 0), (12_289, 3, 1),
            (.max, (1 << 52) - 1, 4095),
        ] as [(UInt64, UInt64, Int)]
    )
    func position(block: UInt64, page: UInt64, slot: Int) {
        #expect(Page.index(ofBlock: block) == page)
        #expect(Page.slot(ofBlock: block) == slot)
    }

    @Test(
        "The last page of a volume may be partly filled",
        arguments: [
            (0, [0, 0]), (1, [1, 0]), (4095, [4095, 0]), (4096, [4096, 0]), (4097, [4096, 1]),
            (8192, [4096, 4096]), (9000, [4096, 4096, 808, 0]),
        ] as [(UInt64, [Int])]
    )
    func blockCounts(blocks: UInt64, counts: [Int]) {
        let found = counts.indices.map {
            Page.blockCount(ofPage: UInt64($0), volumeBlockCount: blocks)
        }
        #expect(found == counts)
        #expect(Page.count(forBlockCount: blocks) == UInt64(counts.filter { $0 > 0 }.count))
    }

    @Test("A run ends behind its last block")
    func runEnd() {
        #expect(BlockRun(kind: .zero, firstBlock: 5, blockCount: 3).endBlock == 8)
    }
}
