import BlockModel
import RepositoryFormat
import TestKit
import Testing

@testable import Maintenance
@testable import RepositoryIndex

/// Leaves of pages of which most are claimed only.
struct LeafTableTests {
    private static func leaf(_ number: UInt64) -> PageLeaf {
        PageLeaf(Digest(words: number, 1, 2, 3), isZero: false)
    }

    @Test("A claim of 1 PiB takes memory for the pages that something is known of")
    func claim() {
        var leaves = LeafTable(pageCount: 3)
        for page in 0..<3 as Range<UInt64> { leaves[page] = Self.leaf(page) }
        #expect(leaves.isWhole)
        leaves.resize(to: 1 << 26)
        #expect(!leaves.isWhole)
        leaves[1 << 26 - 1] = Self.leaf(9)
        #expect(leaves.heldPageCount <= 2048)
        #expect(leaves[1 << 25] == nil && leaves[1 << 26 - 1] == Self.leaf(9))
        leaves.resize(to: 3)
        #expect(leaves.isWhole && leaves.heldPageCount <= 1024)
        #expect(leaves.digests == (0..<3).map { Self.leaf($0).digest })
    }

    @Test("It keeps what an array of the same pages keeps", arguments: 1...20)
    func random(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var leaves = LeafTable(pageCount: 5)
        var model = [PageLeaf?](repeating: nil, count: 5)
        for step in 0..<400 as Range<UInt64> {
            if step % 9 == 0 {
                let count = Int.random(in: 1...5000, using: &generator)
                leaves.resize(to: UInt64(count))
                model = (0..<count).map { $0 < model.count ? model[$0] : nil }
            }
            let page = Int.random(in: 0..<model.count, using: &generator)
            let leaf = Int.random(in: 0..<5, using: &generator) == 0 ? nil : Self.leaf(step)
            leaves[UInt64(page)] = leaf
            model[page] = leaf
            #expect(leaves.digests == model.compactMap(\.?.digest))
            #expect(leaves.isWhole == model.allSatisfy { $0 != nil })
            #expect(leaves[UInt64(model.count)] == nil)
        }
    }
}
