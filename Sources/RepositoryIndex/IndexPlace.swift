internal import BlockModel
internal import Glibc
internal import LMDB
internal import LinuxIO
internal import Repository

/// The directory of an index: what is set aside there, and why it may be of no use.
enum IndexPlace {
    /// LMDB's lock file with all the readers that an environment allows.
    private static let lockFileByteCount: UInt64 = 32 << 10
    private static let lockFileSuffix = "-lock"

    /// Sets aside the space of LMDB's lock file.
    ///
    /// That is mapped and written to, which on a full disk would end the process by a signal; all else is
    /// written by calls that fail.
    static func reserveLockFile(of path: String) throws(SystemError) {
        let name = path + lockFileSuffix
        let descriptor = try LockFile.open(name)
        defer { close(descriptor) }
        do throws(SystemError) {
            try FileOperation.allocate(descriptor, byteCount: lockFileByteCount, subject: name)
        } catch {
            guard [EOPNOTSUPP, ENOSYS, EINVAL].contains(error.errno) else { throw error }
            // A file system that cannot set space aside; nobody else has a file that is empty.
            guard try FileStatus(descriptor: descriptor, subject: name).byteCount == 0 else {
                return
            }
            let zeros = [UInt8](repeating: 0, count: Int(lockFileByteCount))
            try PositionedIO.write(descriptor, zeros.rawSpan, at: 0, subject: name)
        }
    }

    /// The error for an index that cannot be opened, read or written where it lies; any other comes back as
    /// it is.
    static func failure(_ error: any Error, in directory: String) -> any Error {
        switch error {
        case let error as LMDBError where error.isOfSystem:
            // LMDB calls a write that ends early an input or output error.
            let isFull = error.code == EIO && isFull(directory)
            let code = isFull ? ENOSPC : error.code
            return failure(directory, SystemError.reason(code), remedy(code))
        case let error as LMDBError where error.isMapFull:
            return failure(
                directory, "it needs more address space than the process may use",
                "raise that limit (ulimit -v)")
        case let error as SystemError:
            return failure(directory, "\(error)", remedy(error.errno))
        default: return error
        }
    }

    private static func failure(
        _ directory: String,
        _ reason: String,
        _ remedy: String
    ) -> RepositoryError {
        let cause = "the index in \(directory) cannot be used: \(reason)"
        return RepositoryError(.cache, "\(cause); \(remedy)", cause: cause)
    }

    private static func remedy(_ code: Int32) -> String {
        switch code {
        case ENOSPC, EDQUOT:
            "free some space there, or set VARVE_CACHE_DIR to another directory"
        case EIO: "its disk is failing or full: set VARVE_CACHE_DIR to a directory on another one"
        case ENOMEM: "raise the limit of the process's address space (ulimit -v)"
        case ENODEV, EINVAL, ENOLCK:
            "its file system cannot hold an index: set VARVE_CACHE_DIR to a directory on a local disk"
        default: "set VARVE_CACHE_DIR to a directory that you can write"
        }
    }

    private static func isFull(_ directory: String) -> Bool {
        var status = statvfs()
        guard unsafe statvfs(directory.systemBytes, &status) == 0 else { return false }
        // What could not be written is free again.
        return UInt64(status.f_bavail) * UInt64(status.f_frsize) < 4 << 20
    }
}
