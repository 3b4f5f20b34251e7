/// A file that differs between two moments.
package struct FileChange: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable {
        case added, removed
        /// Its content.
        case modified
        /// Its owner, rights or attributes only.
        case metadata
        /// It has another name, and may be modified too.
        case renamed
    }

    package let kind: Kind
    package let path: [UInt8]
    /// The name that it had.
    package let oldPath: [UInt8]?
    package let fileKind: FileKind
    package let inode: UInt64

    package init(
        kind: Kind,
        path: [UInt8],
        oldPath: [UInt8]?,
        fileKind: FileKind,
        inode: UInt64
    ) {
        self.kind = kind
        self.path = path
        self.oldPath = oldPath
        self.fileKind = fileKind
        self.inode = inode
    }
}

/// Which files differ between two moments.
package struct FileChanges: Sendable {
    /// In the order of their paths.
    package var changes: [FileChange] = []
    /// Files that have no name in any directory.
    package var namelessCount = 0

    package init() {}
}
