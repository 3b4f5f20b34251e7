import ChangeTracking
import TestKit
import Testing

struct SampleOrderTests {
    private static func order(_ unitCount: UInt64, seed: UInt64) -> [UInt64] {
        let order = SampleOrder(unitCount: unitCount, secret: (seed, seed &* 77 &+ 1))
        return (0..<unitCount).map { order[$0] }
    }

    @Test(
        "Every unit comes once a cycle",
        arguments: [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 4096, 4097] as [UInt64])
    func permutation(unitCount: UInt64) {
        for seed in 0..<5 as Range<UInt64> {
            #expect(Self.order(unitCount, seed: seed).sorted() == Array(0..<unitCount))
        }
    }

    @Test("The order is that of the secret")
    func secret() {
        #expect(Self.order(1000, seed: 1) == Self.order(1000, seed: 1))
        let orders = Set((0..<50).map { Self.order(1000, seed: $0) })
        #expect(orders.count == 50)
        #expect(!orders.contains(Array(0..<1000)))
    }

    @Test("A region of five in a hundred is met by 256 units, wherever it lies and they begin")
    func lies() {
        let unitCount: UInt64 = 40_960
        for seed in 0..<50 as Range<UInt64> {
            let order = SampleOrder(unitCount: unitCount, secret: (seed, ~seed))
            var generator = SeededGenerator(seed: seed)
            let start = generator.next() % (unitCount * 95 / 100)
            let region = start..<start + unitCount / 20
            let first = generator.next() % unitCount
            let hits = (0..<256).count { region.contains(order[(first + $0) % unitCount]) }
            #expect(hits > 0, "seed \(seed)")
        }
    }
}
