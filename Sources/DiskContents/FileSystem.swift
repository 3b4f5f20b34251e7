package import BlockModel

/// The files of a file system on an image, whatever reads them.
///
/// One thread at a time may use it. All of it throws ``ContentsError`` for what is damaged or cannot be
/// read, and what the image throws.
package protocol FileSystem: AnyObject {
    /// Number of the directory that all others are in.
    var rootInode: UInt64 { get }
    /// Whether its journal holds what is not in its place yet, so that a mount may show more.
    var needsRecovery: Bool { get }

    func inode(_ number: UInt64) throws -> Inode

    /// The inode of a name in a directory; nil when there is none.
    func lookUp(_ name: [UInt8], in directory: UInt64) throws -> UInt64?

    /// Entries of a directory but `.` and `..`, in the order of their names.
    ///
    /// - Throws: ``ContentsError`` when it is damaged; a name that is none of a file is damage too.
    func entries(of directory: UInt64) throws -> [DirectoryEntry]

    /// Calls `body` with what a file or link holds, in order, in pieces of up to 1 MiB; what is left out
    /// is zeros.
    func forEachPiece(
        of inode: Inode,
        _ body: (_ offset: UInt64, RawSpan) throws -> Void
    ) throws

    /// Extended attributes, as `getxattr` would give them.
    func attributes(of inode: Inode) throws -> [(name: ByteString, value: [UInt8])]

    /// Makes what is kept of the image be read again.
    func forget()
}

/// What a file system says of a file.
package struct Inode: Hashable, Sendable {
    package let number: UInt64
    /// As `st_mode`.
    package let mode: UInt32
    package let linkCount: Int
    package let user: UInt32
    package let group: UInt32
    package let byteCount: UInt64
    package let deviceMajor: UInt32
    package let deviceMinor: UInt32
    package let accessed: FileTime
    package let modified: FileTime
    package let changed: FileTime
    /// What else the reader knows of it.
    let flags: UInt64

    package var kind: FileKind { FileKind(mode: mode) }
}

package struct DirectoryEntry: Hashable, Sendable {
    /// Any bytes but 0 and `/`.
    package let name: [UInt8]
    package let inode: UInt64
    /// What the directory says; only the inode knows.
    package let mayBeDirectory: Bool

    /// Whether a file can have the name.
    static func isName(_ name: [UInt8]) -> Bool {
        !name.isEmpty && !name.contains(0) && !name.contains(0x2f)
    }

    static func isOwnOrParent(_ name: [UInt8]) -> Bool { name == [0x2e] || name == [0x2e, 0x2e] }
}

/// A moment of a file.
package struct FileTime: Hashable, Sendable {
    /// Since 1970.
    package let seconds: Int64
    package let nanoseconds: UInt32

    init(_ seconds: Int64, _ nanoseconds: UInt32) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }
}

/// What a file is.
package enum FileKind: String, Hashable, Sendable {
    case file, directory
    case symbolicLink = "symbolic-link"
    case characterDevice = "character-device"
    case blockDevice = "block-device"
    case pipe, socket, unknown

    init(mode: UInt32) {
        switch mode & 0o170000 {
        case 0o100000: self = .file
        case 0o040000: self = .directory
        case 0o120000: self = .symbolicLink
        case 0o020000: self = .characterDevice
        case 0o060000: self = .blockDevice
        case 0o010000: self = .pipe
        case 0o140000: self = .socket
        default: self = .unknown
        }
    }
}
