import Glibc
import LinuxIO

/// What directories take.
enum Storage {
    /// Bytes of all regular files below `directory`, by their sizes; `excluding` names entries of
    /// the directory itself that do not count.
    static func byteCount(of directory: String, excluding: Set<String> = []) throws -> UInt64 {
        var sum: UInt64 = 0
        try forEachFile(below: directory, excluding: excluding) { sum += $0.byteCount }
        return sum
    }

    /// Bytes that the file system gave to all regular files below `directory`.
    static func allocatedByteCount(of directory: String) throws -> UInt64 {
        var sum: UInt64 = 0
        try forEachFile(below: directory) { sum += $0.allocatedByteCount }
        return sum
    }

    static func fileByteCount(of path: String) throws -> UInt64 {
        guard let status = try FileStatus(path: path) else {
            throw SystemError(.status, path, errno: ENOENT)
        }
        return status.byteCount
    }

    static func fileCount(of directory: String) throws -> Int {
        var count = 0
        try forEachFile(below: directory) { _ in count += 1 }
        return count
    }

    /// Removes a file, or a directory with all that is in it.
    static func remove(_ path: String) throws {
        var raw = Glibc.stat()
        guard lstat(path, &raw) == 0 else {
            guard errno == ENOENT else { throw SystemError(.remove, path) }
            return
        }
        if raw.st_mode & S_IFMT == S_IFDIR {
            // A copied directory may be one that its owner cannot write to.
            chmod(path, 0o700)
            for name in try Directory.names(in: path) ?? [] { try remove(path + "/" + name) }
            guard rmdir(path) == 0 else { throw SystemError(.remove, path) }
        } else {
            guard unlink(path) == 0 else { throw SystemError(.remove, path) }
        }
    }

    static func freeByteCount(at path: String) throws -> UInt64 {
        var raw = Glibc.statvfs()
        guard statvfs(path, &raw) == 0 else { throw SystemError(.status, path) }
        return UInt64(raw.f_bavail) * UInt64(raw.f_frsize)
    }

    private static func forEachFile(
        below directory: String,
        excluding: Set<String> = [],
        _ body: (FileStatus) -> Void
    ) throws {
        for name in try Directory.names(in: directory) ?? [] where !excluding.contains(name) {
            let path = directory + "/" + name
            guard let status = try FileStatus(path: path) else { continue }
            switch status.kind {
            case .directory: try forEachFile(below: path, body)
            case .regular: body(status)
            default: continue
            }
        }
    }
}
