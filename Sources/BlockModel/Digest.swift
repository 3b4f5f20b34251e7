/// Cryptographic identity of a block's plain bytes: 32 bytes, ordered as bytes are.
///
/// Four words instead of an array: hashable, sortable, and kept in registers.
package struct Digest: Hashable, Sendable, BitwiseCopyable, Comparable {
    package static let byteCount = 32
    package static let zero = Digest(words: 0, 0, 0, 0)

    /// Words as read from the bytes in big-endian order, so that `<` compares bytes.
    package let word0: UInt64
    package let word1: UInt64
    package let word2: UInt64
    package let word3: UInt64

    package init(words word0: UInt64, _ word1: UInt64, _ word2: UInt64, _ word3: UInt64) {
        self.word0 = word0
        self.word1 = word1
        self.word2 = word2
        self.word3 = word3
    }

    package static func < (left: Digest, right: Digest) -> Bool {
        if left.word0 != right.word0 { return left.word0 < right.word0 }
        if left.word1 != right.word1 { return left.word1 < right.word1 }
        if left.word2 != right.word2 { return left.word2 < right.word2 }
        return left.word3 < right.word3
    }

    /// The 64 lower-case hexadecimal digits of the digest.
    package var hexadecimal: String {
        [word0, word1, word2, word3].map(\.hexadecimal).joined()
    }

    package init?(hexadecimal: String) {
        let digits = Array(hexadecimal.utf8)
        guard digits.count == 64 else { return nil }
        var words: [UInt64] = []
        for start in stride(from: 0, to: 64, by: 16) {
            guard let word = UInt64(hexadecimalDigits: digits[start..<start + 16]) else {
                return nil
            }
            words.append(word)
        }
        self.init(words: words[0], words[1], words[2], words[3])
    }
}

/// Keyed 128-bit hash of a block: answers 'is it still the same here', and nothing else.
package struct Fingerprint: Hashable, Sendable, BitwiseCopyable {
    package static let byteCount = 16
    package static let zero = Fingerprint(low: 0, high: 0)

    package let low: UInt64
    package let high: UInt64

    package init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }
}

extension UInt64 {
    /// Sixteen lower-case hexadecimal digits.
    package var hexadecimal: String {
        let digits = stride(from: 60, through: 0, by: -4).map { shift in
            let digit = UInt8(truncatingIfNeeded: self >> UInt64(shift)) & 15
            return digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
        }
        return String(decoding: digits, as: UTF8.self)
    }

    /// Reads exactly the lower-case digits that `hexadecimal` writes.
    package init?(hexadecimalDigits digits: some Collection<UInt8>) {
        var value: UInt64 = 0
        guard digits.count == 16 else { return nil }
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                value = value << 4 | UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"):
                value = value << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        self = value
    }
}
