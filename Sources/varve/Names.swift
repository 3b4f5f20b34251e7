import BlockModel

/// Names of files as JSON has them: text for people, and the bytes where that is not all there is to it.
extension ByteString {
    /// The text; for bytes that are none, what stands for them in lists.
    var readable: String { text ?? escaped }

    /// The bytes in hexadecimal digits, where they are no text.
    var hexadecimalIfNeeded: String? {
        guard !isUTF8 else { return nil }
        return bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
