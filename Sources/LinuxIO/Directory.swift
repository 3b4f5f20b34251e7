internal import CShims
internal import Glibc

/// Directory calls of the stores and of the look-ups under `/sys`.
package enum Directory {
    /// Makes one directory, durably; does nothing when it is there.
    package static func make(_ path: String, mode: UInt32 = 0o700) throws(SystemError) {
        if unsafe mkdir(path.systemBytes, mode) == 0 {
            try FileOperation.synchronizeDirectory(parent(of: path))
            return
        }
        guard errno == EEXIST else { throw SystemError(.makeDirectory, path) }
    }

    /// Makes `path` and every missing directory above it, durably.
    package static func makeAll(_ path: String, mode: UInt32 = 0o700) throws(SystemError) {
        if try FileStatus(path: path) != nil { return }
        let above = parent(of: path)
        if above != path { try makeAll(above, mode: mode) }
        try make(path, mode: mode)
    }

    /// Names in a directory, unsorted; nil when it does not exist.
    package static func names(in path: String) throws(SystemError) -> [String]? {
        var names: [String] = []
        let isThere = try forEachName(in: path) { name, _ in names.append(name) }
        return isThere ? names : nil
    }

    /// Names in a directory that `isWanted` likes, and what they stand for; nil when it is not there.
    ///
    /// Unsorted, symbolic links followed; what vanishes meanwhile is left out.
    package static func entries(
        in path: String,
        where isWanted: (String) -> Bool
    ) throws(SystemError) -> [(name: String, status: FileStatus)]? {
        var entries: [(name: String, status: FileStatus)] = []
        let isThere = try forEachName(in: path) { name, directory throws(SystemError) in
            guard isWanted(name), let status = try FileStatus(name, below: directory) else {
                return
            }
            entries.append((name, status))
        }
        return isThere ? entries : nil
    }

    /// Calls `body` with each name and the directory's descriptor; false when it does not exist.
    private static func forEachName(
        in path: String,
        _ body: (String, Int32) throws(SystemError) -> Void
    ) throws(SystemError) -> Bool {
        let opened = unsafe varve_open(path.systemBytes, O_RDONLY | O_DIRECTORY, 0)
        guard opened >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return false }
            throw SystemError(.list, path)
        }
        try forEachName(inOpen: opened, path, body)
        return true
    }

    /// The same for a directory that is open, which is closed by this.
    static func forEachName(
        inOpen opened: Int32,
        _ path: String,
        _ body: (String, Int32) throws(SystemError) -> Void
    ) throws(SystemError) {
        guard let stream = unsafe fdopendir(opened) else {
            let error = SystemError(.list, path)
            close(opened)
            throw error
        }
        defer { _ = unsafe closedir(stream) }
        let descriptor = unsafe dirfd(stream)
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                guard errno == 0 else { throw SystemError(.list, path) }
                return
            }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(fromSystem: $0)
                }
            }
            if name != "." && name != ".." { try body(name, descriptor) }
        }
    }

    /// The directory that holds `path`.
    package static func parent(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: 0x2F) else { return "." }
        if slash == path.startIndex { return "/" }
        return String(path[..<slash])
    }

    /// The last component of `path`.
    package static func baseName(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: 0x2F) else { return path }
        return String(path[path.utf8.index(after: slash)...])
    }

    /// The absolute path without symbolic links; nil when it does not exist.
    package static func resolve(_ path: String) -> String? {
        guard let resolved = unsafe realpath(path.systemBytes, nil) else { return nil }
        defer { unsafe free(resolved) }
        return unsafe String(fromSystem: resolved)
    }

    /// The whole of a small text file, such as those under `/proc` and `/sys`; nil when it cannot
    /// be read.
    ///
    /// What is behind `limit` bytes is left out.
    package static func text(of path: String, limit: Int = 1 << 20) -> String? {
        guard let handle = try? FileHandle(path, .read) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 4096)
        var content: [UInt8] = []
        while content.count < limit {
            let count = unsafe Glibc.read(handle.descriptor, &bytes, bytes.count)
            if count <= 0 { break }
            content.append(contentsOf: bytes[..<count])
        }
        return String(fromSystem: content)
    }

    /// The content of a text file that is written by people.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - limit: bytes that it may have.
    /// - Returns: all of it.
    /// - Throws: ``SystemError``: also for what is no file (`EISDIR`, `EINVAL`), for more than that
    ///   (`EFBIG`), and for what is no UTF-8 (`EILSEQ`).
    package static func wholeText(
        of path: String,
        limit: Int = 1 << 20
    ) throws(SystemError) -> String {
        let handle = try FileHandle(path, .read)
        var content: [UInt8] = []
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = unsafe Glibc.read(handle.descriptor, &bytes, bytes.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemError(.read, path) }
            if count == 0 { break }
            content.append(contentsOf: bytes[..<count])
            guard content.count <= limit else { throw SystemError(.read, path, errno: EFBIG) }
        }
        guard let text = String(validating: content, as: UTF8.self) else {
            throw SystemError(.read, path, errno: EILSEQ)
        }
        return text
    }
}
