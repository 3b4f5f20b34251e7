/// A secret order of the units of a volume: each comes once in a cycle, and for one secret the order
/// is the same in every cycle, so that no unit ever waits longer than a cycle.
///
/// A Feistel network of four rounds permutes the next power of four; what falls outside is permuted
/// again until it falls inside.
package struct SampleOrder: Sendable {
    package let unitCount: UInt64
    private let halfBits: UInt64
    private let keys: [UInt64]

    package init(unitCount: UInt64, secret: (low: UInt64, high: UInt64)) {
        self.unitCount = unitCount
        let bits = UInt64(UInt64.bitWidth - max(unitCount, 2).leadingZeroBitCount)
        halfBits = (bits + 1) / 2
        keys = (0..<4).map { Self.mix(secret.low ^ Self.mix(secret.high &+ $0)) }
    }

    /// The unit at `position` of a cycle.
    ///
    /// - Precondition: `position` is below ``unitCount``.
    package subscript(position: UInt64) -> UInt64 {
        precondition(position < unitCount)
        var value = position
        repeat { value = permuted(value) } while value >= unitCount
        return value
    }

    private func permuted(_ value: UInt64) -> UInt64 {
        let mask = (1 as UInt64) << halfBits - 1
        var left = value >> halfBits
        var right = value & mask
        for key in keys { (left, right) = (right, left ^ (Self.mix(right ^ key) & mask)) }
        return left << halfBits | right
    }

    /// The finalizer of SplitMix64: every bit of the result depends on every bit of the input.
    private static func mix(_ value: UInt64) -> UInt64 {
        var value = value &+ 0x9E37_79B9_7F4A_7C15
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
