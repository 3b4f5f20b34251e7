/// The bytes of a disk image, wherever they are.
package protocol ImageBytes: AnyObject, Sendable {
    var byteCount: UInt64 { get }

    /// Fills `target` with the bytes at `offset`.
    ///
    /// - Throws: when a byte of it cannot be read, or lies behind the end.
    @unsafe
    func read(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws
}

/// Why something on an image cannot be read.
package struct ContentsError: Error, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        /// There is nothing of that name.
        case missing
        /// It is there, and cannot be read as what was asked for.
        case unsuitable
        /// The file system's own structures are not whole.
        case damaged
    }

    package let kind: Kind
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
