/// The elements of what the tools of *thin-provisioning-tools* print: XML with names and attributes,
/// without text, entities or comments.
struct ElementText {
    enum Kind { case begin, end, empty }

    struct Element {
        let kind: Kind
        let name: String
        let attributes: [String: String]

        func number(_ name: String) -> UInt64? {
            attributes[name].flatMap { text in
                text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
                    ? UInt64(text) : nil
            }
        }
    }

    struct Damage: Error {
        let offset: Int
    }

    /// No element of any of the tools is longer.
    private static let elementByteLimit = 4096

    private let bytes: [UInt8]
    private var position = 0

    /// Where the next element is looked for.
    var offset: Int { position }

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The next element; nil at the end.
    ///
    /// - Throws: ``Damage`` for anything but an element.
    mutating func next() throws(Damage) -> Element? {
        skipSpace()
        guard position < bytes.count else { return nil }
        let start = position
        guard bytes[start] == UInt8(ascii: "<"),
            let end = bytes[start..<min(start + Self.elementByteLimit, bytes.count)]
                .firstIndex(of: UInt8(ascii: ">"))
        else { throw Damage(offset: start) }
        position = end + 1
        var inside = bytes[start + 1..<end]
        var kind = Kind.begin
        if inside.first == UInt8(ascii: "/") {
            inside.removeFirst()
            kind = .end
        } else if inside.last == UInt8(ascii: "/") {
            inside.removeLast()
            kind = .empty
        }
        let name = Self.word(&inside)
        var attributes: [String: String] = [:]
        Self.skipSpace(&inside)
        while !inside.isEmpty {
            let key = Self.word(&inside)
            guard !key.isEmpty, Self.take("=", &inside), Self.take("\"", &inside),
                let quote = inside.firstIndex(of: UInt8(ascii: "\"")),
                attributes.updateValue(
                    String(decoding: inside[inside.startIndex..<quote], as: UTF8.self), forKey: key)
                    == nil
            else { throw Damage(offset: start) }
            inside = inside[(quote + 1)...]
            Self.skipSpace(&inside)
        }
        guard !name.isEmpty else { throw Damage(offset: start) }
        return Element(kind: kind, name: name, attributes: attributes)
    }

    private mutating func skipSpace() {
        while position < bytes.count, Self.isSpace(bytes[position]) { position += 1 }
    }

    private static func skipSpace(_ text: inout ArraySlice<UInt8>) {
        while let first = text.first, isSpace(first) { text.removeFirst() }
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\t")
    }

    /// Letters, digits and `_`.
    private static func word(_ text: inout ArraySlice<UInt8>) -> String {
        let word = text.prefix {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        text = text[word.endIndex...]
        return String(decoding: word, as: UTF8.self)
    }

    private static func take(_ mark: Unicode.Scalar, _ text: inout ArraySlice<UInt8>) -> Bool {
        skipSpace(&text)
        guard text.first == UInt8(ascii: mark) else { return false }
        text.removeFirst()
        return true
    }
}
