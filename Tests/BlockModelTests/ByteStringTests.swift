import BlockModel
import TestKit
import Testing

struct ByteStringTests {
    /// Pieces of names of which random ones are made: text, what is nearly text, and what carries.
    private static let pieces: [[UInt8]] =
        [
            "a", "x", "\\", "/", "é", "e\u{301}", "\u{FFFD}", "\u{200E}", "\n", "\u{1B}[2J", "日本",
            "\u{10FF00}", "\u{10FFFF}", "\u{10FEFF}", "\u{FFFF}", "🙂", "\u{85}", "\\xff",
        ].map { Array($0.utf8) } + [
            [0xFF], [0x80], [0xC3], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xC0, 0xAF],
            [0xF4, 0x8F, 0xBF], [0xF4, 0x90, 0x80, 0x80], [0xF0, 0x80, 0x80, 0xAF],
        ]

    private static func name(using generator: inout SeededGenerator) -> ByteString {
        let count = Int.random(in: 0...6, using: &generator)
        let bytes: [UInt8] = (0..<count).flatMap { _ in
            Bool.random(using: &generator)
                ? pieces[Int.random(in: 0..<pieces.count, using: &generator)]
                : [UInt8.random(in: 0...255, using: &generator)]
        }
        return ByteString(bytes: bytes)
    }

    /// The bytes that an escaped name stands for, by the rule that its comment states.
    private static func unescaped(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let first = rest.first {
            rest.removeFirst()
            if first == UInt8(ascii: "\\"), rest.first == UInt8(ascii: "\\") {
                rest.removeFirst()
                bytes.append(first)
            } else if first == UInt8(ascii: "\\"), rest.first == UInt8(ascii: "x") {
                let digits = String(decoding: rest.dropFirst().prefix(2), as: UTF8.self)
                rest = rest.dropFirst(3)
                bytes.append(UInt8(digits, radix: 16) ?? 0)
            } else {
                bytes.append(first)
            }
        }
        return bytes
    }

    @Test("Random names come back out of a String, and out of readable text", arguments: 1...8)
    func roundTrips(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<2_000 {
            let name = Self.name(using: &generator)
            #expect(ByteString(carrying: name.carrier) == name)
            #expect(Self.unescaped(name.escaped) == name.bytes)
            #expect(ByteString(bytes: name.escaped.utf8).isUTF8)
        }
    }

    @Test("Different names have different carriers and different readable texts", arguments: 1...4)
    func injective(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var names: [ByteString: ByteString] = [:]
        var texts: [ByteString: ByteString] = [:]
        for _ in 0..<2_000 {
            let name = Self.name(using: &generator)
            #expect(names.updateValue(name, forKey: ByteString(name.carrier)) ?? name == name)
            #expect(texts.updateValue(name, forKey: ByteString(name.escaped)) ?? name == name)
        }
    }

    @Test("Text is its own carrier, and is read as it stands")
    func text() {
        for text in ["", "etc/hostname", "é", "e\u{301}", "日本", "a\\b", "\u{FFFD}", "🙂"] {
            #expect(ByteString(text).isUTF8)
            #expect(ByteString(text).text?.utf8.elementsEqual(text.utf8) == true)
            #expect(ByteString(text).carrier.utf8.elementsEqual(text.utf8))
            #expect(ByteString(carrying: text) == ByteString(text))
            #expect(ByteString(text).escaped.utf8.elementsEqual(text.utf8))
        }
    }

    @Test("Every byte that is not text is carried by a scalar of its own")
    func carriers() {
        #expect(ByteString(bytes: [0x61, 0xFF]).carrier == "a\u{10FFFF}")
        #expect(ByteString(bytes: [0xED, 0xA0, 0x80]).carrier == "\u{10FFED}\u{10FFA0}\u{10FF80}")
        let carrying = ByteString("\u{10FF41}")
        #expect(carrying.carrier == "\u{10FFF4}\u{10FF8F}\u{10FFBD}\u{10FF81}")
        #expect(ByteString(carrying: "\u{10FF41}").bytes == [0x41])
    }

    @Test(
        "What does not print is shown as its bytes",
        arguments: [
            ([0x61, 0xFF], "a\\xff"), ([0x0A], "\\x0a"), (Array("\u{1B}[2J".utf8), "\\x1b[2J"),
            (Array("\\xff".utf8), "\\\\xff"), (Array("\\".utf8) + [0xFF], "\\\\\\xff"),
            (Array("\\n\\\\".utf8), "\\n\\\\\\"), (Array("\u{202E}".utf8), "\\xe2\\x80\\xae"),
            (Array("\u{85}\u{2028}".utf8), "\\xc2\\x85\\xe2\\x80\\xa8"), ([0x7F], "\\x7f"),
        ] as [([UInt8], String)]
    )
    func escapes(bytes: [UInt8], text: String) {
        #expect(ByteString(bytes: bytes).escaped == text)
    }

    @Test("Names are equal, and in order, by their bytes")
    func order() {
        #expect("é" == "e\u{301}")
        #expect(ByteString("é") != ByteString("e\u{301}"))
        #expect(Set([ByteString("é"), ByteString("e\u{301}")]).count == 2)
        #expect(ByteString(bytes: [0x61, 0xFF]) != ByteString("a\u{FFFD}"))
        #expect(["b", "é", "a", "Z", ""].sorted() as [ByteString] == ["", "Z", "a", "b", "é"])
        #expect(ByteString(bytes: [0x7F]) < ByteString(bytes: [0x80]))
    }
}
