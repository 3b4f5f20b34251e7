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
    package let flags: UInt64

    package var kind: FileKind { FileKind(mode: mode) }

    package init(
        number: UInt64,
        mode: UInt32,
        linkCount: Int,
        user: UInt32,
        group: UInt32,
        byteCount: UInt64,
        deviceMajor: UInt32,
        deviceMinor: UInt32,
        accessed: FileTime,
        modified: FileTime,
        changed: FileTime,
        flags: UInt64
    ) {
        self.number = number
        self.mode = mode
        self.linkCount = linkCount
        self.user = user
        self.group = group
        self.byteCount = byteCount
        self.deviceMajor = deviceMajor
        self.deviceMinor = deviceMinor
        self.accessed = accessed
        self.modified = modified
        self.changed = changed
        self.flags = flags
    }
}

/// A moment of a file.
package struct FileTime: Hashable, Sendable {
    /// Since 1970.
    package let seconds: Int64
    package let nanoseconds: UInt32

    package init(_ seconds: Int64, _ nanoseconds: UInt32) {
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

    package init(mode: UInt32) {
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
