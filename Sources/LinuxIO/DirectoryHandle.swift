internal import CShims
internal import Glibc

/// A directory that is open: what is in it is reached by names, and never through symbolic links.
package final class DirectoryHandle {
    /// Itself, for what is set of any file.
    package let file: NewFile

    /// Opens the directory at `path`, which may be a link to one.
    package init(path: String) throws(SystemError) {
        let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemError(.open, path) }
        file = NewFile(descriptor, path)
    }

    private init(_ file: NewFile) { self.file = file }

    private static func terminated(_ name: [UInt8]) -> [CChar] {
        name.map(CChar.init(bitPattern:)) + [0]
    }

    private func subject(_ name: [UInt8]) -> String {
        file.path + "/" + String(decoding: name, as: UTF8.self)
    }

    /// Makes a file that was not there.
    package func createFile(_ name: [UInt8]) throws(SystemError) -> NewFile {
        let descriptor = unsafe openat(
            file.descriptor, Self.terminated(name),
            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemError(.open, subject(name)) }
        return NewFile(descriptor, subject(name))
    }

    /// Makes a directory that was not there, and opens it.
    package func createDirectory(_ name: [UInt8]) throws(SystemError) -> DirectoryHandle {
        guard unsafe mkdirat(file.descriptor, Self.terminated(name), 0o700) == 0 else {
            throw SystemError(.makeDirectory, subject(name))
        }
        let descriptor = unsafe openat(
            file.descriptor, Self.terminated(name),
            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemError(.open, subject(name)) }
        return DirectoryHandle(NewFile(descriptor, subject(name)))
    }

    /// Removes a file that was made, if that can be.
    package func remove(_ name: [UInt8]) {
        unsafe unlinkat(file.descriptor, Self.terminated(name), 0)
    }

    /// Makes a symbolic link.
    package func createLink(_ name: [UInt8], to target: [UInt8]) throws(SystemError) {
        guard
            unsafe symlinkat(
                Self.terminated(target), file.descriptor, Self.terminated(name)) == 0
        else { throw SystemError(.link, subject(name)) }
    }

    /// Makes a pipe, socket or device; false where the system does not let this process.
    package func createNode(
        _ name: [UInt8],
        mode: UInt32,
        major: UInt32,
        minor: UInt32
    ) throws(SystemError) -> Bool {
        let number = UInt(DeviceNumber.make(major: major, minor: minor))
        guard unsafe mknodat(file.descriptor, Self.terminated(name), mode & 0o177777, number) != 0
        else { return true }
        guard errno == EPERM else { throw SystemError(.open, subject(name)) }
        return false
    }

    /// Gives a file of this directory a second name.
    package func link(
        _ name: [UInt8],
        to path: [UInt8],
        in directory: DirectoryHandle
    ) throws(SystemError) {
        guard
            unsafe linkat(
                directory.file.descriptor, Self.terminated(path), file.descriptor,
                Self.terminated(name), 0) == 0
        else { throw SystemError(.link, subject(name)) }
    }

    /// Sets the owner of a link or node; says why not, where this process may not.
    package func setOwner(
        user: UInt32,
        group: UInt32,
        of name: [UInt8]
    ) throws(SystemError) -> String? {
        guard geteuid() == 0 else { return nil }
        guard
            unsafe fchownat(
                file.descriptor, Self.terminated(name), user, group, AT_SYMLINK_NOFOLLOW) != 0
        else { return nil }
        return try NewFile.refusal("its owner", .write, subject(name))
    }

    package func setMode(_ mode: UInt32, of name: [UInt8]) throws(SystemError) {
        guard unsafe fchmodat(file.descriptor, Self.terminated(name), mode & 0o7777, 0) == 0 else {
            throw SystemError(.write, subject(name))
        }
    }

    /// Sets the times of a link or node, in seconds and nanoseconds since 1970.
    package func setTimes(
        accessed: (Int64, UInt32),
        modified: (Int64, UInt32),
        of name: [UInt8]
    ) throws(SystemError) {
        let times = [NewFile.time(accessed), NewFile.time(modified)]
        guard
            unsafe utimensat(
                file.descriptor, Self.terminated(name), times, AT_SYMLINK_NOFOLLOW) == 0
        else { throw SystemError(.write, subject(name)) }
    }

    /// Makes all that was written to its file system durable.
    package func synchronizeFileSystem() throws(SystemError) {
        guard varve_sync_file_system(file.descriptor) == 0 else {
            throw SystemError(.sync, file.path)
        }
    }
}

/// A file or directory that was made just now.
package final class NewFile {
    let descriptor: Int32
    let path: String

    init(_ descriptor: Int32, _ path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    deinit { close(descriptor) }

    package func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) {
        try PositionedIO.write(descriptor, bytes, at: offset, subject: path)
    }

    package func setByteCount(_ count: UInt64) throws(SystemError) {
        try FileOperation.truncate(descriptor, to: count, subject: path)
    }

    /// Sets the owner; says why not, where this process may not.
    package func setOwner(user: UInt32, group: UInt32) throws(SystemError) -> String? {
        guard geteuid() == 0, fchown(descriptor, user, group) != 0 else { return nil }
        return try Self.refusal("its owner", .write, path)
    }

    package func setMode(_ mode: UInt32) throws(SystemError) {
        guard fchmod(descriptor, mode & 0o7777) == 0 else { throw SystemError(.write, path) }
    }

    /// Sets an extended attribute; says why not, where this process or file system may not.
    package func setAttribute(_ name: String, _ value: [UInt8]) throws(SystemError) -> String? {
        guard unsafe varve_set_attribute(descriptor, name, value, value.count) != 0 else {
            return nil
        }
        return try Self.refusal("its attribute \(name)", .write, path)
    }

    /// Sets times, in seconds and nanoseconds since 1970.
    package func setTimes(
        accessed: (Int64, UInt32),
        modified: (Int64, UInt32)
    ) throws(SystemError) {
        let times = [Self.time(accessed), Self.time(modified)]
        guard unsafe futimens(descriptor, times) == 0 else { throw SystemError(.write, path) }
    }

    static func time(_ time: (Int64, UInt32)) -> timespec {
        timespec(tv_sec: Int(time.0), tv_nsec: Int(time.1))
    }

    /// In words what could not be set, where that is no fault of the medium.
    static func refusal(
        _ what: String,
        _ operation: SystemError.Operation,
        _ subject: String
    ) throws(SystemError) -> String? {
        guard [EPERM, ENOTSUP, EINVAL, EACCES].contains(errno) else {
            throw SystemError(operation, subject)
        }
        return "\(what) could not be set"
    }
}
