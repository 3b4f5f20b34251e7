package import BlockModel
internal import CShims
internal import Glibc

/// A directory that is open: what is in it is reached by names, and never through symbolic links.
package final class DirectoryHandle {
    /// Itself, for what is set of any file.
    package let file: NewFile

    /// Opens the directory at `path`, which may be a link to one.
    package init(path: String) throws(SystemError) {
        let descriptor = unsafe open(path.systemBytes, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemError(.open, path) }
        file = NewFile(descriptor, path)
    }

    private init(_ file: NewFile) { self.file = file }

    private static func terminated(_ name: [UInt8]) -> [CChar] {
        name.map(CChar.init(bitPattern:)) + [0]
    }

    private func subject(_ name: [UInt8]) -> String {
        file.path + "/" + String(fromSystem: name)
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

    /// Makes a pipe, socket or device that only its owner reaches; false where the system does not let
    /// this process.
    package func createNode(
        _ name: [UInt8],
        mode: UInt32,
        major: UInt32,
        minor: UInt32
    ) throws(SystemError) -> Bool {
        let number = UInt(DeviceNumber.make(major: major, minor: minor))
        let mode = mode & S_IFMT | 0o600
        guard unsafe mknodat(file.descriptor, Self.terminated(name), mode, number) != 0
        else { return true }
        guard errno == EPERM else { throw SystemError(.open, subject(name)) }
        return false
    }

    /// Gives a file of this directory a second name; false where the file system has none, or no more.
    package func link(
        _ name: [UInt8],
        to path: [UInt8],
        in directory: DirectoryHandle
    ) throws(SystemError) -> Bool {
        guard
            unsafe linkat(
                directory.file.descriptor, Self.terminated(path), file.descriptor,
                Self.terminated(name), 0) != 0
        else { return true }
        guard [EPERM, ENOTSUP, EMLINK, ENAMETOOLONG].contains(errno) else {
            throw SystemError(.link, subject(name))
        }
        return false
    }

    /// Sets the owner of a link or node, as far as this process may.
    package func setOwner(
        user: UInt32,
        group: UInt32,
        of name: [UInt8]
    ) throws(SystemError) -> Ownership {
        try NewFile.setOwner(user, group, subject(name)) { user, group in
            unsafe fchownat(
                file.descriptor, Self.terminated(name), user, group, AT_SYMLINK_NOFOLLOW)
        } status: { status in
            unsafe fstatat(file.descriptor, Self.terminated(name), &status, AT_SYMLINK_NOFOLLOW)
        }
    }

    /// Sets the mode of a node; of a link, or what it leads to, never.
    ///
    /// - Precondition: nobody else can put something else in its place: see ``makeStage()``.
    package func setMode(_ mode: UInt32, of name: [UInt8]) throws(SystemError) {
        let mode = mode & 0o7777
        guard unsafe varve_set_mode_at(file.descriptor, Self.terminated(name), mode) != 0 else {
            return
        }
        // A kernel before 6.6 without /proc. What is there is what was made here.
        guard errno == ENOTSUP || errno == ENOSYS,
            unsafe fchmodat(file.descriptor, Self.terminated(name), mode, 0) == 0
        else { throw SystemError(.write, subject(name)) }
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

    // MARK: Out of others' reach

    /// A new directory in this one, which only this user writes to: what is made there under a name
    /// stays there under that name, whoever this directory belongs to.
    package struct Stage {
        package let directory: DirectoryHandle
        /// Whether it is so: some file systems give all that they have to one user.
        package let isExclusive: Bool
        fileprivate let name: [UInt8]
    }

    /// Makes one, under a name that nobody uses.
    package func makeStage() throws(SystemError) -> Stage {
        let digits = String(UInt64.random(in: 0...UInt64.max), radix: 16)
        let name = Array(".varve-extract-\(digits)".utf8)
        let made = try createDirectory(name)
        var status = Glibc.stat()
        guard unsafe fstat(made.file.descriptor, &status) == 0 else {
            throw SystemError(.status, subject(name))
        }
        // Who owns this directory may have put another one there meanwhile: one that others write to is
        // not worked in, and one of this user's own does no harm.
        let isExclusive = status.st_uid == geteuid() && status.st_mode & 0o022 == 0
        return Stage(directory: made, isExclusive: isExclusive, name: name)
    }

    /// Moves what was made in a stage to its name here; never over what is there.
    package func take(_ name: [UInt8], from stage: Stage) throws(SystemError) {
        let stageDescriptor = stage.directory.file.descriptor
        guard
            unsafe varve_rename_exclusive_between(
                stageDescriptor, Self.terminated(name), file.descriptor, Self.terminated(name)) == 0
        else { throw SystemError(.rename, subject(name)) }
    }

    /// Removes a stage that nothing is in any more.
    package func remove(_ stage: Stage) {
        unsafe unlinkat(file.descriptor, Self.terminated(stage.name), AT_REMOVEDIR)
    }

    /// Whether there is anything under a name, a link too.
    package func contains(_ name: [UInt8]) throws(SystemError) -> Bool {
        var status = Glibc.stat()
        let result = unsafe fstatat(
            file.descriptor, Self.terminated(name), &status, AT_SYMLINK_NOFOLLOW)
        guard result != 0 else { return true }
        guard errno == ENOENT else { throw SystemError(.status, subject(name)) }
        return false
    }

    /// Makes all that was written to its file system durable.
    package func synchronizeFileSystem() throws(SystemError) {
        guard varve_sync_file_system(file.descriptor) == 0 else {
            throw SystemError(.sync, file.path)
        }
    }
}

/// What became of a file's owner and group.
package struct Ownership {
    /// Whether it has both.
    package let isKept: Bool
    /// Why not, where that is worth telling.
    package let remark: String?
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

    /// Sets the owner, as far as this process may.
    package func setOwner(user: UInt32, group: UInt32) throws(SystemError) -> Ownership {
        try Self.setOwner(user, group, path) { user, group in
            fchown(descriptor, user, group)
        } status: { status in
            unsafe fstat(descriptor, &status)
        }
    }

    /// Sets the owner, or the group alone where that is all that may be set, and looks what became of it.
    fileprivate static func setOwner(
        _ user: UInt32,
        _ group: UInt32,
        _ subject: String,
        change: (_ user: UInt32, _ group: UInt32) -> Int32,
        status: (inout Glibc.stat) -> Int32
    ) throws(SystemError) -> Ownership {
        var remark: String?
        if change(user, group) != 0 {
            let words = try refusal("its owner", .write, subject)
            // For others it is so that they may not.
            if geteuid() == 0 { remark = words }
            _ = change(UInt32.max, group)
        }
        var found = Glibc.stat()
        guard status(&found) == 0 else { throw SystemError(.status, subject) }
        return Ownership(isKept: found.st_uid == user && found.st_gid == group, remark: remark)
    }

    package func setMode(_ mode: UInt32) throws(SystemError) {
        guard fchmod(descriptor, mode & 0o7777) == 0 else { throw SystemError(.write, path) }
    }

    /// Sets an extended attribute; says why not, where this process or file system may not.
    package func setAttribute(
        _ name: ByteString,
        _ value: [UInt8]
    ) throws(SystemError) -> String? {
        let text = name.bytes.map(CChar.init(bitPattern:)) + [0]
        guard unsafe varve_set_attribute(descriptor, text, value, value.count) != 0 else {
            return nil
        }
        return try Self.refusal("its attribute \(name.carrier)", .write, path)
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
