internal import Glibc

/// A system call that failed: what was tried, on what, and the kernel's reason.
package struct SystemError: Error, Hashable, CustomStringConvertible {
    package enum Operation: String, Hashable, Sendable {
        case open, close, read, write, sync, truncate, status, link, rename, remove, list, lock
        case makeDirectory = "make directory"
        case map, ring, ioctl
        case startThread = "start thread"
        case seek
        case punchHole = "punch hole"
        case allocate = "reserve space for"
        case attach = "attach to a loop device"
        case trim
        case mount, unmount
        case start
    }

    package let operation: Operation
    package let errno: Int32
    package let subject: String
    /// Where in a file or device; nil where that is not known, or says nothing.
    package let byteOffset: UInt64?

    package init(
        _ operation: Operation,
        _ subject: String,
        errno code: Int32 = Glibc.errno,
        byteOffset: UInt64? = nil
    ) {
        self.operation = operation
        self.errno = code
        self.subject = subject
        self.byteOffset = byteOffset
    }

    package static let readOnly = EROFS
    package static let notFound = ENOENT
    /// A symbolic link is where none is followed.
    package static let symbolicLink = ELOOP
    /// Something else than a file is where one is wanted.
    package static let notAFile = EMEDIUMTYPE

    /// Whether rights are what is missing.
    package var isDenied: Bool { errno == EACCES || errno == EPERM }

    /// The kernel's words for the error number.
    package var reason: String { Self.reason(errno) }

    package static func reason(_ errno: Int32) -> String {
        unsafe String(cString: strerror(errno))
    }

    package var description: String {
        let place = byteOffset.map { " at offset \($0)" } ?? ""
        return "cannot \(operation.rawValue) \(subject)\(place): \(reason)"
    }
}
