import BlockModel
import TestKit
import Testing

struct DigestTests {
    private static let text = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    private static let digest = Digest(
        words: 0x0001_0203_0405_0607, 0x0809_0A0B_0C0D_0E0F, 0x1011_1213_1415_1617,
        0x1819_1A1B_1C1D_1E1F)

    @Test("A digest is written as its bytes in order, and read back")
    func hexadecimal() {
        #expect(Self.digest.hexadecimal == Self.text)
        #expect(Digest(hexadecimal: Self.text) == Self.digest)
        #expect(Digest.zero.hexadecimal == String(repeating: "0", count: 64))
    }

    @Test(
        "What is not exactly 64 lower-case digits is no digest",
        arguments: [
            "", "00", String(text.dropLast()), text + "0", text.uppercased(),
            String(text.dropLast()) + "g", String(text.dropLast(2)) + "é", " " + text.dropLast(),
            "+" + text.dropFirst(),
        ]
    )
    func notHexadecimal(text: String) {
        #expect(Digest(hexadecimal: text) == nil)
    }

    @Test("Digests are ordered as their bytes are", arguments: 1...4)
    func order(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        // Few values a word, so that the later words decide often.
        let digests = (0..<300).map { _ in
            Digest(
                words: UInt64.random(in: 0...1, using: &generator) << 63,
                UInt64.random(in: 0...1, using: &generator) << 63,
                UInt64.random(in: 0...1, using: &generator) << 63,
                UInt64.random(in: 0...2, using: &generator))
        }
        #expect(digests.sorted().map(\.hexadecimal) == digests.map(\.hexadecimal).sorted())
    }

    @Test("Every digit of a digest takes part in its order and its identity", arguments: 0..<64)
    func everyDigitCounts(position: Int) throws {
        var digits = Array(repeating: Character("0"), count: 64)
        digits[position] = "1"
        let digest = try #require(Digest(hexadecimal: String(digits)))
        #expect(Digest.zero < digest)
        #expect(digest != .zero)
    }
}

struct ObjectIDTests {
    @Test("An object id is written as 32 digits, high word first, and read back")
    func hexadecimal() {
        let id = ObjectID(high: 0x0123_4567_89AB_CDEF, low: 0xFEDC_BA98_7654_3210)
        #expect(id.hexadecimal == "0123456789abcdeffedcba9876543210")
        #expect(ObjectID(hexadecimal: "0123456789abcdeffedcba9876543210") == id)
    }

    @Test(
        "What is not exactly 32 lower-case digits is no object id",
        arguments: [
            "", "0123456789abcdef", "0123456789ABCDEFfedcba9876543210",
            "0123456789abcdeffedcba987654321", "0123456789abcdeffedcba98765432100",
            "0123456789abcdeffedcba98765432-0",
        ]
    )
    func notHexadecimal(text: String) {
        #expect(ObjectID(hexadecimal: text) == nil)
    }

    @Test("A new object id takes both its words from the generator")
    func random() {
        var generator = SeededGenerator(seed: 7)
        var same = SeededGenerator(seed: 7)
        #expect(ObjectID(from: &generator) == ObjectID(high: same.next(), low: same.next()))
    }

    @Test("Object ids are ordered as their digits are")
    func order() {
        let inOrder = [
            ObjectID.zero, ObjectID(high: 0, low: 1), ObjectID(high: 0, low: .max),
            ObjectID(high: 1, low: 0), ObjectID(high: .max, low: 0),
        ]
        #expect(inOrder.reversed().sorted() == inOrder)
    }

    @Test("People see the first twelve digits of a snapshot's id")
    func shortSnapshotID() {
        let id = SnapshotID(Digest(words: 0x0123_4567_89AB_CDEF, 1, 2, 3))
        #expect(id.short == "0123456789ab")
    }
}
