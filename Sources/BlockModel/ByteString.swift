/// A name as Linux has it: bytes, which need not be text.
///
/// Names of files, in snapshots and on this machine, may hold every byte but zero and, in one
/// step of a path, the slash. Two names are the same when their bytes are the same; a `String`
/// will not do, for it takes all that is not UTF-8 for one and the same character, and `é` in
/// one code point for `é` in two.
///
/// Where only a `String` can pass, such as the command line's parser, the bytes are *carried*:
/// see ``carrier``.
package struct ByteString: Hashable, Sendable {
    package var bytes: [UInt8]

    package init(bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    /// The bytes of a text in UTF-8, which carries nothing.
    package init(_ utf8: String) { bytes = Array(utf8.utf8) }

    package var isEmpty: Bool { bytes.isEmpty }

    /// Whether the bytes are text.
    package var isUTF8: Bool { text != nil }

    /// The text, if the bytes are text in UTF-8.
    package var text: String? { String(validating: bytes, as: UTF8.self) }
}

extension ByteString: Comparable {
    /// The order of the bytes, which for text is the order of its code points.
    package static func < (left: ByteString, right: ByteString) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }
}

extension ByteString: ExpressibleByStringLiteral {
    package init(stringLiteral value: StaticString) {
        bytes = Array(value.description.utf8)
    }
}

// MARK: - Carried in a String

extension ByteString {
    /// The scalars that carry a byte each, from 0x00 to 0xFF: the last of the private use plane.
    private static let carrying: ClosedRange<UInt32> = 0x10FF00...0x10FFFF

    /// The bytes that ``carrier`` carries in `text`.
    ///
    /// Every `String` is read, also one that carries nothing: its bytes are its UTF-8.
    package init(carrying text: String) {
        bytes = []
        bytes.reserveCapacity(text.utf8.count)
        // 0xF4 begins the scalars that carry, and few others.
        guard text.utf8.contains(0xF4) else {
            bytes.append(contentsOf: text.utf8)
            return
        }
        for scalar in text.unicodeScalars {
            if Self.carrying.contains(scalar.value) {
                bytes.append(UInt8(truncatingIfNeeded: scalar.value))
            } else {
                bytes.append(contentsOf: Array(String(scalar).utf8))
            }
        }
    }

    /// The bytes in a `String`, from which `init(carrying:)` makes the same bytes again.
    ///
    /// What is UTF-8 stays what it is. Each byte 0xNN of what is not becomes the private scalar
    /// U+10FF00 + 0xNN; so do the four bytes of each such scalar that the name itself holds.
    package var carrier: String {
        if !bytes.contains(0xF4), let text { return text }
        var carrier = String.UnicodeScalarView()
        forEachScalar { scalar, bytes in
            if let scalar, !Self.carrying.contains(scalar.value) {
                carrier.append(scalar)
            } else {
                carrier.append(contentsOf: bytes.map(Self.carrier(of:)))
            }
        }
        return String(carrier)
    }

    private static func carrier(of byte: UInt8) -> Unicode.Scalar {
        // Every number from 0x10FF00 to 0x10FFFF is a scalar.
        Unicode.Scalar(carrying.lowerBound + UInt32(byte)) ?? "\u{FFFD}"
    }
}

// MARK: - Read by people

extension ByteString {
    /// Readable text that names exactly these bytes, on one line.
    ///
    /// What prints stands as it is; every byte of anything else (what is not UTF-8, controls,
    /// line ends, marks that turn the direction of writing, unassigned code points) as `\xNN`.
    /// A backslash is doubled where what follows would make it look like one of these.
    package var escaped: String {
        var escaped = ""
        var hasBackslash = false
        /// Appends what a backslash that was held back stands before.
        func append(_ text: String, doubling: Bool) {
            if hasBackslash { escaped += doubling ? "\\\\" : "\\" }
            hasBackslash = false
            escaped += text
        }
        forEachScalar { scalar, bytes in
            guard let scalar, scalar.isPrintable else {
                append(bytes.map(Self.escape(of:)).joined(), doubling: true)
                return
            }
            if scalar == "\\" {
                append("", doubling: true)
                hasBackslash = true
            } else {
                append(String(scalar), doubling: scalar == "x")
            }
        }
        append("", doubling: false)
        return escaped
    }

    private static func escape(of byte: UInt8) -> String {
        let digits = String(byte, radix: 16)
        return digits.utf8.count == 1 ? "\\x0\(digits)" : "\\x\(digits)"
    }

    /// Calls `body` for each scalar with its bytes, and with nil for each byte of none.
    private func forEachScalar(_ body: (Unicode.Scalar?, ArraySlice<UInt8>) -> Void) {
        var position = bytes.startIndex
        while position < bytes.endIndex {
            let scalar = scalar(at: position)
            let end = position + (scalar.map { UTF8.width($0) } ?? 1)
            body(scalar, bytes[position..<end])
            position = end
        }
    }

    /// The scalar that begins at `position`; nil when what stands there is not UTF-8.
    private func scalar(at position: Int) -> Unicode.Scalar? {
        let byteCount: Int
        switch bytes[position] {
        case 0x00...0x7F: return Unicode.Scalar(bytes[position])
        case 0xC2...0xDF: byteCount = 2
        case 0xE0...0xEF: byteCount = 3
        case 0xF0...0xF4: byteCount = 4
        default: return nil
        }
        guard position + byteCount <= bytes.endIndex else { return nil }
        let encoded = bytes[position..<position + byteCount]
        return String(validating: encoded, as: UTF8.self)?.unicodeScalars.first
    }
}

extension Unicode.Scalar {
    /// Whether a terminal shows it, and shows it where it stands.
    var isPrintable: Bool {
        if self == "\u{200C}" || self == "\u{200D}" {
            // They join letters, or keep them apart, in the writing of many languages.
            return true
        }
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate,
            .unassigned:
            return false
        default:
            return true
        }
    }
}
