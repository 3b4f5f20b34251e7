internal import CShims
internal import Glibc

/// What stands at a path, looked up once and held without being opened; whatever the path leads to later,
/// all descriptors that this gives are of the same file or device.
///
/// Source: `O_PATH` in `open(2)`, `/proc/pid/fd` in `proc(5)`.
package struct HeldPath: ~Copyable {
    package let path: String
    package let status: FileStatus
    private let handle: FileHandle

    private init(_ path: String, _ descriptor: Int32, _ status: FileStatus) {
        self.path = path
        self.status = status
        handle = FileHandle(adopting: descriptor)
    }

    /// Looks `path` up and follows symbolic links; nil when nothing is there.
    package static func find(_ path: String) throws(SystemError) -> HeldPath? {
        let descriptor = unsafe varve_open_path(path.systemBytes)
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw SystemError(.open, path)
        }
        do throws(SystemError) {
            let status = try FileStatus(descriptor: descriptor, subject: path)
            return HeldPath(path, descriptor, status)
        } catch {
            _ = Glibc.close(descriptor)
            throw error
        }
    }

    /// Opens it with these flags of `open`.
    package func open(flags: Int32) throws(SystemError) -> FileHandle {
        try FileHandle(reopening: handle.descriptor, flags: flags, path)
    }
}

extension FileHandle {
    /// Opens once more what `other` holds, with flags of its own.
    ///
    /// Without `/proc` it is opened by its path, and refused (`ESTALE`) if that leads elsewhere now.
    package init(
        reopening other: Int32,
        flags: Int32,
        _ path: String
    ) throws(SystemError) {
        let expected = try FileStatus(descriptor: other, subject: path)
        var opened = unsafe varve_open("/proc/self/fd/\(other)", flags, 0)
        if opened < 0, errno == ENOENT || errno == ENOTDIR {
            opened = unsafe varve_open(path.systemBytes, flags, 0)
        }
        guard opened >= 0 else { throw SystemError(.open, path) }
        let found = try? FileStatus(descriptor: opened, subject: path)
        guard found?.isSameFile(as: expected) == true else {
            _ = Glibc.close(opened)
            throw SystemError(.open, path, errno: ESTALE)
        }
        self.init(adopting: opened)
    }

    /// Lets go of the descriptor without closing it.
    package consuming func release() -> Int32 {
        let descriptor = descriptor
        discard self
        return descriptor
    }

    /// Makes a file that was not there in a directory that is open; a symbolic link is in the way too
    /// (`EEXIST`).
    package init(
        creating name: String,
        in directory: borrowing FileHandle,
        mode: UInt32,
        _ path: String
    ) throws(SystemError) {
        let flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW
        let opened = unsafe varve_open_at(
            directory.descriptor, name.systemBytes, flags, mode)
        guard opened >= 0 else { throw SystemError(.open, path) }
        self.init(adopting: opened)
    }
}
