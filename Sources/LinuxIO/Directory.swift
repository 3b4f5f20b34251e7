package import Glibc

/// Directory calls of the stores and of the look-ups under `/sys`.
package enum Directory {
    /// Makes one directory, durably; does nothing when it is there.
    package static func make(_ path: String, mode: mode_t = 0o700) throws(SystemError) {
        if unsafe mkdir(path, mode) == 0 {
            try FileOperation.synchronizeDirectory(parent(of: path))
            return
        }
        guard errno == EEXIST else { throw SystemError(.makeDirectory, path) }
    }

    /// Makes `path` and every missing directory above it, durably.
    package static func makeAll(_ path: String, mode: mode_t = 0o700) throws(SystemError) {
        if try FileStatus(path: path) != nil { return }
        let above = parent(of: path)
        if above != path { try makeAll(above, mode: mode) }
        try make(path, mode: mode)
    }

    /// Names in a directory, unsorted; nil when it does not exist.
    package static func names(in path: String) throws(SystemError) -> [String]? {
        guard let stream = unsafe opendir(path) else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw SystemError(.list, path)
        }
        defer { _ = unsafe closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                guard errno == 0 else { throw SystemError(.list, path) }
                return names
            }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(cString: $0)
                }
            }
            if name != "." && name != ".." { names.append(name) }
        }
    }

    /// The directory that holds `path`.
    package static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        if slash == path.startIndex { return "/" }
        return String(path[..<slash])
    }

    /// The last component of `path`.
    package static func baseName(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return path }
        return String(path[path.index(after: slash)...])
    }

    /// The absolute path without symbolic links; nil when it does not exist.
    package static func resolve(_ path: String) -> String? {
        guard let resolved = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(resolved) }
        return unsafe String(cString: resolved)
    }

    /// The whole of a small text file, such as those under `/proc` and `/sys`; nil when it cannot
    /// be read.
    package static func text(of path: String, limit: Int = 1 << 20) -> String? {
        guard let handle = try? FileHandle(path, .read) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 4096)
        var content: [UInt8] = []
        while content.count < limit {
            let count = unsafe Glibc.read(handle.descriptor, &bytes, bytes.count)
            if count <= 0 { break }
            content.append(contentsOf: bytes[..<count])
        }
        return String(decoding: content, as: UTF8.self)
    }
}
