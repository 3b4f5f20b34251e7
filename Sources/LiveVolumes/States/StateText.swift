/// Lines `key=value`, the first of which tells kind and version and the last of which is `end=`: how
/// this module keeps what it has to know again.
///
/// A text that was cut short or has other lines is none. Values have bytes below 32 and `%` as `%`
/// and two hexadecimal digits.
struct StateText {
    static let version = "1"

    private(set) var lines: [(key: String, value: String)]

    init(kind: String) { lines = [(kind, Self.version)] }

    mutating func add(_ key: String, _ value: some CustomStringConvertible) {
        lines.append((key, value.description))
    }

    /// All of it, with the last line.
    var text: String {
        (lines + [("end", "")]).map { "\($0.key)=\(Self.escaped($0.value))\n" }.joined()
    }

    /// Reads what `text` gave; nil for anything else.
    init?(_ text: String, kind: String) {
        var lines: [(key: String, value: String)] = []
        var hasEnd = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: true) {
            guard !hasEnd, let equals = line.firstIndex(of: "="),
                let value = Self.unescaped(line[line.index(after: equals)...])
            else { return nil }
            let key = String(line[..<equals])
            if key == "end" { hasEnd = true } else { lines.append((key, value)) }
        }
        guard hasEnd, let first = lines.first, first.key == kind, first.value == Self.version else {
            return nil
        }
        self.lines = lines
    }

    subscript(key: String) -> String? { lines.first { $0.key == key }?.value }

    func values(of key: String) -> [String] {
        lines.filter { $0.key == key }.map(\.value)
    }

    func number<Number: FixedWidthInteger>(_ key: String, as: Number.Type = Number.self) -> Number?
    {
        self[key].flatMap { Number($0) }
    }

    private static func escaped(_ value: String) -> String {
        guard value.utf8.contains(where: { $0 < 32 || $0 == UInt8(ascii: "%") }) else {
            return value
        }
        var bytes: [UInt8] = []
        for byte in value.utf8 {
            if byte < 32 || byte == UInt8(ascii: "%") {
                let digits = String(byte, radix: 16)
                bytes += Array("%\(digits.count == 1 ? "0" : "")\(digits)".utf8)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func unescaped(_ value: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(value.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2,
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
