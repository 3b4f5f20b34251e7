/// Text that may come from anywhere, made such that it can only be read.
///
/// Names of files, tags, purposes of holds and the words of other programs may hold what a terminal obeys, what
/// turns the direction of writing, and line ends that look like another row of a list.
package enum PrintableText {
    /// The text on one line, with each byte of what does not print as `\xNN`.
    ///
    /// That is what controls a terminal, what ends a line, what turns the direction of writing, what has no
    /// form, and each byte that a ``ByteString`` carries. What was escaped before stays as it is.
    package static func escaped(_ text: String) -> String {
        guard needsWork(text) else { return text }
        var escaped = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if scalar.isPrintable {
                escaped.append(scalar)
            } else {
                escaped.append(contentsOf: bytes(of: scalar).joined().unicodeScalars)
            }
        }
        return String(escaped)
    }

    /// JSON of the same meaning, in which what does not print is escaped as JSON has it.
    ///
    /// JSON cannot have bytes: those that a ``ByteString`` carries are text there, such as `\xff`.
    package static func escapedJSON(_ text: String) -> String {
        guard needsWork(text) else { return text }
        var escaped = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if scalar.isPrintable {
                escaped.append(scalar)
            } else if scalar.carriedByte != nil {
                escaped.append("\\")
                escaped.append(contentsOf: bytes(of: scalar).joined().unicodeScalars)
            } else {
                for unit in UTF16.encode(scalar) ?? .init() {
                    escaped.append(contentsOf: "\\u\(hexadecimal(unit, 4))".unicodeScalars)
                }
            }
        }
        return String(escaped)
    }

    /// Most text is not touched, and is found out quickly.
    private static func needsWork(_ text: String) -> Bool {
        !text.utf8.allSatisfy { (0x20..<0x7F).contains($0) }
    }

    private static func bytes(of scalar: Unicode.Scalar) -> [String] {
        let bytes = scalar.carriedByte.map { [$0] } ?? Array(String(scalar).utf8)
        return bytes.map { "\\x\(hexadecimal($0, 2))" }
    }

    private static func hexadecimal(_ number: some BinaryInteger, _ width: Int) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}

extension Unicode.Scalar {
    /// The byte that it carries for a ``ByteString``; nil when it stands for itself.
    fileprivate var carriedByte: UInt8? {
        value >= 0x10FF00 ? UInt8(truncatingIfNeeded: value) : nil
    }
}
