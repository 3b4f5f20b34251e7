import BlockModel
import Foundation
import Testing

struct PrintableTextTests {
    @Test(
        "What does not print is escaped, byte by byte, and the rest stays as it is",
        arguments: [
            ("plain text", "plain text"),
            ("é 日本 🙂 e\u{301}", "é 日本 🙂 e\u{301}"),
            ("a\u{1B}[31mb", #"a\x1b[31mb"#),
            ("row\nforged\r\nrow\tcell", #"row\x0aforged\x0d\x0arow\x09cell"#),
            ("\u{0}\u{7F}", #"\x00\x7f"#),
            // One character to Swift is two scalars here.
            ("e\u{9B}2J", #"e\xc2\x9b2J"#),
            ("\u{85}\u{2028}\u{2029}", #"\xc2\x85\xe2\x80\xa8\xe2\x80\xa9"#),
            ("x\u{202E}gnp.exe", #"x\xe2\x80\xaegnp.exe"#),
            ("\u{2066}\u{200F}\u{FEFF}", #"\xe2\x81\xa6\xe2\x80\x8f\xef\xbb\xbf"#),
            (ByteString(bytes: [0x61, 0xFF, 0x1B]).carrier, #"a\xff\x1b"#),
            (#"back\slash"#, #"back\slash"#),
        ])
    func escaped(text: String, shown: String) {
        #expect(PrintableText.escaped(text) == shown)
        #expect(PrintableText.escaped(shown) == shown)
    }

    @Test("No scalar gets through that a terminal could obey, or that ends a line")
    func everyScalar() {
        for value in (0 as UInt32)...0x10FFFF {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let shown = PrintableText.escaped("a\(scalar)b")
            let category = scalar.properties.generalCategory
            let isBad =
                category == .control || category == .lineSeparator
                || category == .paragraphSeparator || scalar.properties.isBidiControl
            if isBad || value >= 0x10FF00 {
                #expect(shown.utf8.allSatisfy { (0x20..<0x7F).contains($0) })
            }
            if (0x20..<0x7F).contains(value) { #expect(shown == "a\(scalar)b") }
        }
    }

    @Test("JSON keeps its meaning, and bytes that are not text are text in it")
    func json() throws {
        for text in ["a\u{1B}\n\u{9B}\u{202E}b", "\u{7F}\u{2028}", "é🙂\u{E0041}"] {
            let encoded = String(decoding: try JSONEncoder().encode([text]), as: UTF8.self)
            let escaped = PrintableText.escapedJSON(encoded)
            #expect(PrintableText.escaped(escaped) == escaped)
            #expect(try JSONDecoder().decode([String].self, from: Data(escaped.utf8)) == [text])
        }
        let carrier = ByteString(bytes: [0x61, 0xFF]).carrier
        let encoded = String(decoding: try JSONEncoder().encode([carrier]), as: UTF8.self)
        #expect(PrintableText.escapedJSON(encoded) == #"["a\\xff"]"#)
    }
}
