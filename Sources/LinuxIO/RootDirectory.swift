internal import CShims
internal import Glibc

/// A directory below which nothing is reached through symbolic links; it may itself be reached through some.
///
/// Source: `openat2(2)`; where the system has no such call, or refuses it, each directory on the way is opened
/// on its own, without following links.
package final class RootDirectory: Sendable {
    package let path: String
    private let handle: FileHandle
    private let walksByComponent: Bool

    /// Opens the directory at `path`; with `walksByComponent` as where there is no `openat2`.
    package init(_ path: String, walksByComponent: Bool = false) throws(SystemError) {
        handle = try FileHandle(path, .read, flags: O_DIRECTORY)
        self.path = path
        self.walksByComponent = walksByComponent
    }

    /// What the system knows of the directory itself.
    package func status() throws(SystemError) -> FileStatus { try handle.status(path) }

    /// Bytes that anybody may still store there; nil where that is not known.
    package func freeByteCount() -> Int? {
        var status = statvfs()
        guard unsafe fstatvfs(handle.descriptor, &status) == 0 else { return nil }
        let (count, isTooMuch) = Int(clamping: status.f_bavail).multipliedReportingOverflow(
            by: Int(clamping: status.f_frsize))
        return isTooMuch ? .max : count
    }

    /// Opens a directory below it, or itself for an empty name; nil when it is not there.
    package func directory(_ name: String) throws(SystemError) -> OpenDirectory? {
        let subject = name.isEmpty ? path : path + "/" + name
        let flags = O_RDONLY | O_DIRECTORY
        let opened =
            name.isEmpty
            ? unsafe varve_open_at(handle.descriptor, ".", flags, 0)
            : unsafe varve_open_beneath(
                handle.descriptor, name.systemBytes, flags | O_CLOEXEC, walksByComponent ? 1 : 0)
        guard opened >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw SystemError(.open, subject)
        }
        return OpenDirectory(FileHandle(adopting: opened), subject)
    }

    /// Opens an ordinary file below it for reading.
    ///
    /// - Throws: ``SystemError``: `ELOOP` where a symbolic link is in the way, ``SystemError/notAFile`` for
    ///   anything but a file.
    package func openFile(_ name: String) throws(SystemError) -> FileHandle {
        // A pipe is not waited for.
        let opened = unsafe varve_open_beneath(
            handle.descriptor, name.systemBytes,
            O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, walksByComponent ? 1 : 0)
        let subject = path + "/" + name
        guard opened >= 0 else { throw SystemError(.open, subject) }
        let file = FileHandle(adopting: opened)
        guard try file.status(subject).kind == .regular else {
            throw SystemError(.open, subject, errno: SystemError.notAFile)
        }
        return file
    }

    /// Opens the directory of that name; makes it and those above it, durably, where they are not there.
    package func makeDirectory(_ name: String) throws(SystemError) -> OpenDirectory {
        if let found = try directory(name) { return found }
        guard !name.isEmpty else { throw SystemError(.open, path, errno: ENOENT) }
        try makeDirectory(Self.parent(of: name)).makeDirectory(Directory.baseName(of: name))
        if let made = try directory(name) { return made }
        throw SystemError(.open, path + "/" + name, errno: ENOTDIR)
    }

    /// The directory part of a name below the root; empty for one that is directly in it.
    package static func parent(of name: String) -> String {
        name.lastIndex(of: "/").map { String(name[..<$0]) } ?? ""
    }
}

/// A directory that is open: what is directly in it is reached by name, and no link is followed.
package final class OpenDirectory: Sendable {
    package let path: String
    private let handle: FileHandle

    init(_ handle: consuming FileHandle, _ path: String) {
        self.handle = handle
        self.path = path
    }

    /// Opens the directory at `path`, whatever leads there.
    package init(_ path: String) throws(SystemError) {
        handle = try FileHandle(path, .read, flags: O_DIRECTORY)
        self.path = path
    }

    private func subject(_ name: String) -> String { path + "/" + name }

    /// What stands there, itself and not what it leads to; nil when nothing does.
    package func status(_ name: String) throws(SystemError) -> FileStatus? {
        try FileStatus(name, below: handle.descriptor, followsLinks: false)
    }

    /// Names that `isWanted` likes and what stands there, unsorted; what vanishes meanwhile is left out.
    package func entries(
        where isWanted: (String) -> Bool
    ) throws(SystemError) -> [(name: String, status: FileStatus)] {
        let copy = unsafe varve_open_at(handle.descriptor, ".", O_RDONLY | O_DIRECTORY, 0)
        guard copy >= 0 else { throw SystemError(.list, path) }
        var entries: [(name: String, status: FileStatus)] = []
        try Directory.forEachName(inOpen: copy, path) { name, directory throws(SystemError) in
            guard isWanted(name),
                let status = try FileStatus(name, below: directory, followsLinks: false)
            else { return }
            entries.append((name, status))
        }
        return entries
    }

    /// Makes a directory, durably; does nothing when something is there.
    func makeDirectory(_ name: String) throws(SystemError) {
        if unsafe mkdirat(handle.descriptor, name.systemBytes, 0o700) == 0 {
            return try synchronize()
        }
        guard errno == EEXIST else { throw SystemError(.makeDirectory, subject(name)) }
    }

    /// Makes a file that was not there.
    package func createFile(_ name: String, mode: UInt32 = 0o600) throws(SystemError) -> FileHandle
    {
        try FileHandle(creating: name, in: handle, mode: mode, subject(name))
    }

    /// Makes a file without a name; nil where the file system has none, or none could be named later.
    package func createUnnamedFile() throws(SystemError) -> FileHandle? {
        guard varve_can_link_unnamed() != 0 else { return nil }
        let descriptor = varve_open_unnamed_at(handle.descriptor, 0o600)
        if descriptor >= 0 { return FileHandle(adopting: descriptor) }
        guard [EOPNOTSUPP, EISDIR, ENOENT, EINVAL].contains(errno) else {
            throw SystemError(.open, path)
        }
        return nil
    }

    /// Gives a file without a name this one; refuses where something has it (`EEXIST`).
    package func link(_ descriptor: Int32, as name: String) throws(SystemError) {
        let bytes = name.systemBytes
        guard unsafe varve_link_unnamed_at(descriptor, handle.descriptor, bytes) == 0 else {
            throw SystemError(.link, subject(name))
        }
    }

    /// Gives the file of one name a second one; refuses where something has it (`EEXIST`).
    package func link(_ name: String, as other: String) throws(SystemError) {
        let (from, to) = (name.systemBytes, other.systemBytes)
        guard unsafe linkat(handle.descriptor, from, handle.descriptor, to, 0) == 0 else {
            throw SystemError(.link, subject(other))
        }
    }

    /// Renames; refuses where something has the name (`EEXIST`).
    package func renameExclusively(_ name: String, to other: String) throws(SystemError) {
        let (from, to) = (name.systemBytes, other.systemBytes)
        guard unsafe varve_rename_exclusive_at(handle.descriptor, from, to) == 0 else {
            throw SystemError(.link, subject(other))
        }
    }

    /// Renames over what has the name.
    package func rename(_ name: String, to other: String) throws(SystemError) {
        let (from, to) = (name.systemBytes, other.systemBytes)
        guard unsafe renameat(handle.descriptor, from, handle.descriptor, to) == 0 else {
            throw SystemError(.rename, subject(other))
        }
    }

    /// Removes a file or link; false when nothing was there.
    @discardableResult
    package func remove(_ name: String) throws(SystemError) -> Bool {
        if unsafe unlinkat(handle.descriptor, name.systemBytes, 0) == 0 { return true }
        guard errno == ENOENT || errno == ENOTDIR else { throw SystemError(.remove, subject(name)) }
        return false
    }

    /// Makes what was made, renamed and removed in it durable.
    package func synchronize() throws(SystemError) {
        try FileOperation.synchronize(handle.descriptor, subject: path)
    }
}
