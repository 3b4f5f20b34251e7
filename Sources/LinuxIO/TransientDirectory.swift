internal import Glibc

/// A directory of this process alone that goes with it, for what has no better place.
package final class TransientDirectory: Sendable {
    package let path: String

    /// Less free space is no place.
    private static let leastFreeByteCount: UInt64 = 16 << 20

    /// Makes it where temporary files are: in `TMPDIR`, on the disk, or in memory.
    ///
    /// - Throws: ``SystemError`` of the last place that was tried, when there is none.
    package init(_ name: String) throws(SystemError) {
        let named = SystemEnvironment.value(of: "TMPDIR")
        let places = [named, "/var/tmp", "/tmp", "/dev/shm", "/run"].compactMap(\.self)
        var failure = SystemError(.makeDirectory, "/var/tmp", errno: ENOENT)
        for place in places where place.hasPrefix("/") {
            guard Self.freeByteCount(at: place) >= Self.leastFreeByteCount else {
                failure = SystemError(.makeDirectory, place, errno: ENOSPC)
                continue
            }
            let template = unsafe strdup("\(place)/\(name)-XXXXXX".systemBytes)
            defer { unsafe free(template) }
            if let template = unsafe template, unsafe mkdtemp(template) != nil {
                path = unsafe String(fromSystem: template)
                return
            }
            failure = SystemError(.makeDirectory, place)
        }
        throw failure
    }

    private static func freeByteCount(at path: String) -> UInt64 {
        var status = statvfs()
        guard unsafe statvfs(path.systemBytes, &status) == 0 else { return 0 }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize)
    }

    deinit {
        for name in ((try? Directory.names(in: path)) ?? nil) ?? [] {
            unsafe unlink("\(path)/\(name)".systemBytes)
        }
        unsafe rmdir(path.systemBytes)
    }
}
