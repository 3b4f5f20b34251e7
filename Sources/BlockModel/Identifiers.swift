/// 128 random bits, chosen before the first byte of an object is written.
package struct ObjectID: Hashable, Sendable, BitwiseCopyable, Comparable {
    package static let byteCount = 16
    package static let zero = ObjectID(high: 0, low: 0)

    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    package init(from generator: inout some RandomNumberGenerator) {
        high = generator.next()
        low = generator.next()
    }

    /// The 32 lower-case hexadecimal digits used in object names.
    package var hexadecimal: String { high.hexadecimal + low.hexadecimal }

    package init?(hexadecimal: String) {
        self.init(hexadecimalDigits: Array(hexadecimal.utf8)[...])
    }

    /// Reads exactly the lower-case digits that `hexadecimal` writes.
    package init?(hexadecimalDigits digits: ArraySlice<UInt8>) {
        guard digits.count == 32, let high = UInt64(hexadecimalDigits: digits.prefix(16)),
            let low = UInt64(hexadecimalDigits: digits.suffix(16))
        else { return nil }
        self.init(high: high, low: low)
    }

    package static func < (left: ObjectID, right: ObjectID) -> Bool {
        left.high != right.high ? left.high < right.high : left.low < right.low
    }
}

/// Where the ids of new objects come from; asked from several threads.
package protocol IdentifierSource: Sendable {
    func next() -> ObjectID
}

/// Ids of 128 bits from the system's random numbers.
package struct RandomIdentifiers: IdentifierSource {
    package init() {}

    package func next() -> ObjectID {
        var generator = SystemRandomNumberGenerator()
        return ObjectID(from: &generator)
    }
}

/// Identity of a snapshot: a digest over what was captured, fixed at capture.
package struct SnapshotID: Hashable, Sendable, BitwiseCopyable, Comparable {
    /// The state before the first snapshot of a volume: nothing at all.
    package static let nothing = SnapshotID(.zero)

    package let digest: Digest

    package init(_ digest: Digest) { self.digest = digest }

    package var hexadecimal: String { digest.hexadecimal }
    /// Twelve digits, as shown to people.
    package var short: String { String(hexadecimal.prefix(12)) }

    package static func < (left: SnapshotID, right: SnapshotID) -> Bool {
        left.digest < right.digest
    }
}

/// Number of a snapshot within its volume: 1, 2, 3 …; 0 is the nothing before the first.
package typealias Generation = UInt64

/// Name of a volume: 1–64 of `A-Za-z0-9._-`, starting with a letter or digit.
package struct VolumeName: Hashable, Sendable, Comparable, CustomStringConvertible {
    package static let maximumByteCount = 64

    package let rawValue: String

    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard (1...Self.maximumByteCount).contains(bytes.count),
            let first = bytes.first, Self.isLetterOrDigit(first),
            bytes.allSatisfy({ Self.isLetterOrDigit($0) || Self.punctuation.contains($0) })
        else { return nil }
        rawValue = text
    }

    private static let punctuation: [UInt8] = [
        UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"),
    ]

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }

    package static func < (left: VolumeName, right: VolumeName) -> Bool {
        left.rawValue < right.rawValue
    }

    package var description: String { rawValue }
}
