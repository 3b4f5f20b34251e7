internal import BlockModel
internal import Glibc

/// Names and paths between this program, which has them in a `String` that carries their bytes, and the
/// system, which has bytes: see ``ByteString/carrier``.
///
/// Whatever is given to the system, or comes from it, goes through one of these.
extension String {
    /// The bytes that this carries, as calls of the system take them: with a zero behind.
    ///
    /// No name has a zero in it; what has one is the name of nothing.
    package var systemBytes: [CChar] {
        var bytes = ByteString(carrying: self).bytes
        if bytes.contains(0) { bytes = [] }
        bytes.append(0)
        return bytes.map(CChar.init(bitPattern:))
    }

    /// Carries what the system gave, up to its zero.
    @unsafe
    package init(fromSystem text: UnsafePointer<CChar>) {
        let bytes = unsafe UnsafeBufferPointer(start: text, count: strlen(text))
        self = unsafe ByteString(bytes: bytes.lazy.map(UInt8.init(bitPattern:))).carrier
    }

    /// The lines of what the system tells, by bytes: a name may end in what a text would join to the
    /// end of the line.
    package var systemLines: [String] {
        utf8.split(separator: 0x0A).map { String(Substring($0)) }
    }

    /// Carries bytes of a file or a directory.
    package init(fromSystem bytes: [UInt8]) { self = ByteString(bytes: bytes).carrier }
}

extension Substring {
    /// What a field of the kernel's tables of mounts and swaps, or of `fstab`, stands for: blanks and
    /// backslashes are three octal digits there.
    package var tableField: String {
        var bytes: [UInt8] = []
        var rest = ByteString(carrying: String(self)).bytes[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3,
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
            {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(fromSystem: bytes)
    }
}

/// The environment of this process.
package enum SystemEnvironment {
    /// The variables as the system has them, `NAME=VALUE`.
    static var texts: [String] {
        var texts: [String] = []
        var next = unsafe environ
        while let current = unsafe next.pointee {
            unsafe texts.append(String(fromSystem: current))
            unsafe next = unsafe next.advanced(by: 1)
        }
        return texts
    }

    static func divided(_ text: String) -> (name: String, value: String?) {
        guard let equals = text.utf8.firstIndex(of: 0x3D) else { return (text, nil) }
        return (String(text[..<equals]), String(text[text.utf8.index(after: equals)...]))
    }

    /// The value of a variable; nil when there is none.
    package static func value(of name: String) -> String? {
        unsafe getenv(name).map { unsafe String(fromSystem: $0) }
    }
}
