package import BlockModel
package import FileModel

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
