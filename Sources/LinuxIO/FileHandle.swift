internal import CShims
internal import Glibc

/// What `fstat` says of an open file, in the terms that matter here.
package struct FileStatus: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        case regular, blockDevice, directory, symbolicLink, socket, other
    }
    package let kind: Kind
    package let byteCount: UInt64
    package let allocatedByteCount: UInt64
    package let device: UInt64
    package let inode: UInt64
    /// Device number that a block device node stands for.
    package let representedDevice: UInt64
    package let modifiedSeconds: Int64
    package let modifiedNanoseconds: Int64
    /// When content or attributes last changed, which nobody can set.
    package let changedSeconds: Int64
    package let changedNanoseconds: Int64

    /// Whether both are the same file or device node.
    package func isSameFile(as other: FileStatus) -> Bool {
        kind == other.kind && device == other.device && inode == other.inode
            && representedDevice == other.representedDevice
    }
}

/// An open file or block device, closed exactly once.
package struct FileHandle: ~Copyable {
    package enum Access: Sendable { case read, readWrite, exclusiveReadWrite, create }

    package let descriptor: Int32

    package init(adopting descriptor: Int32) { self.descriptor = descriptor }

    /// A file that is created has the permissions `mode`, as far as the process gives them.
    package init(
        _ path: String,
        _ access: Access,
        flags extra: Int32 = 0,
        mode: UInt32 = 0o666
    ) throws(SystemError) {
        let flags: Int32 =
            switch access {
            case .read: O_RDONLY
            case .readWrite: O_RDWR
            case .exclusiveReadWrite: O_RDWR | O_EXCL
            case .create: O_RDWR | O_CREAT | O_EXCL
            }
        descriptor = unsafe varve_open(path.systemBytes, flags | extra, mode)
        guard descriptor >= 0 else { throw SystemError(.open, path) }
    }

    deinit { _ = Glibc.close(descriptor) }

    /// Closes now and reports what `deinit` has to swallow.
    package consuming func close(_ subject: String) throws(SystemError) {
        let descriptor = descriptor
        discard self
        guard Glibc.close(descriptor) == 0 else { throw SystemError(.close, subject) }
    }

    package func status(_ subject: String) throws(SystemError) -> FileStatus {
        try FileStatus(descriptor: descriptor, subject: subject)
    }
}

extension FileStatus {
    package init(descriptor: Int32, subject: String) throws(SystemError) {
        var raw = Glibc.stat()
        guard unsafe fstat(descriptor, &raw) == 0 else { throw SystemError(.status, subject) }
        self.init(raw)
    }

    /// Follows symbolic links; nil when nothing is there.
    package init?(path: String) throws(SystemError) {
        try self.init(path, below: AT_FDCWD)
    }

    /// The same for a path that starts at an open directory; a symbolic link at its end is followed unless
    /// told.
    package init?(
        _ path: String,
        below directory: Int32,
        followsLinks: Bool = true
    ) throws(SystemError) {
        var raw = Glibc.stat()
        let flags = followsLinks ? 0 : AT_SYMLINK_NOFOLLOW
        guard unsafe fstatat(directory, path.systemBytes, &raw, flags) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw SystemError(.status, path)
        }
        self.init(raw)
    }

    private init(_ raw: Glibc.stat) {
        kind =
            switch raw.st_mode & S_IFMT {
            case S_IFREG: .regular
            case S_IFBLK: .blockDevice
            case S_IFDIR: .directory
            case S_IFLNK: .symbolicLink
            case S_IFSOCK: .socket
            default: .other
            }
        byteCount = UInt64(raw.st_size)
        allocatedByteCount = UInt64(raw.st_blocks) * 512
        device = UInt64(raw.st_dev)
        inode = UInt64(raw.st_ino)
        representedDevice = UInt64(raw.st_rdev)
        modifiedSeconds = Int64(raw.st_mtim.tv_sec)
        modifiedNanoseconds = Int64(raw.st_mtim.tv_nsec)
        changedSeconds = Int64(raw.st_ctim.tv_sec)
        changedNanoseconds = Int64(raw.st_ctim.tv_nsec)
    }
}

/// Reads and writes at a position, whole or not at all, whatever the kernel returns in between.
package enum PositionedIO {
    /// Fills `buffer[range]` from `offset`; gives fewer bytes only at the end of the file.
    package static func read(
        _ descriptor: Int32,
        into buffer: AlignedBuffer,
        range: Range<Int>,
        at offset: UInt64,
        subject: String
    ) throws(SystemError) -> Int {
        precondition(range.lowerBound >= 0 && range.upperBound <= buffer.byteCount)
        return try unsafe read(
            descriptor, into: buffer.base + range.lowerBound, count: range.count, at: offset,
            subject: subject)
    }

    /// Fills `span` from `offset`; gives fewer bytes only at the end of the file.
    package static func read(
        _ descriptor: Int32,
        into span: inout MutableRawSpan,
        at offset: UInt64,
        subject: String
    ) throws(SystemError) -> Int {
        var failure: SystemError?
        let count = unsafe span.withUnsafeMutableBytes { buffer -> Int in
            guard let base = buffer.baseAddress else { return 0 }
            do throws(SystemError) {
                return try unsafe read(
                    descriptor, into: base, count: buffer.count, at: offset, subject: subject)
            } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw failure }
        return count
    }

    private static func read(
        _ descriptor: Int32,
        into base: UnsafeMutableRawPointer,
        count: Int,
        at offset: UInt64,
        subject: String
    ) throws(SystemError) -> Int {
        // No file reaches so far, and the kernel refuses such numbers.
        guard offset <= UInt64(off_t.max) - UInt64(count) else { return 0 }
        var done = 0
        while done < count {
            let result = unsafe pread(
                descriptor, base + done, count - done, off_t(offset) + off_t(done))
            if result < 0 {
                if errno == EINTR { continue }
                throw SystemError(.read, subject, byteOffset: offset + UInt64(done))
            }
            if result == 0 { break }
            done += result
        }
        return done
    }

    /// Reads only what the page cache holds; nil when the first byte is not there.
    package static func readCached(
        _ descriptor: Int32,
        into buffer: AlignedBuffer,
        range: Range<Int>,
        at offset: UInt64
    ) -> Int? {
        precondition(range.lowerBound >= 0 && range.upperBound <= buffer.byteCount)
        let result = unsafe varve_read_cached(
            descriptor, buffer.base + range.lowerBound, range.count, offset)
        return result > 0 ? result : nil
    }

    /// Writes all of `span` at `offset`.
    package static func write(
        _ descriptor: Int32,
        _ span: RawSpan,
        at offset: UInt64,
        subject: String
    ) throws(SystemError) {
        var failure: SystemError?
        unsafe span.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count, let base = buffer.baseAddress {
                let result = unsafe pwrite(
                    descriptor, base + done, buffer.count - done, off_t(offset) + off_t(done))
                if result < 0 {
                    if errno == EINTR { continue }
                    failure = SystemError(.write, subject)
                    return
                }
                done += result
            }
        }
        if let failure { throw failure }
    }

    /// Reads the next bytes of a stream until `range` is full or the stream ends.
    package static func readStream(
        _ descriptor: Int32,
        into buffer: AlignedBuffer,
        range: Range<Int>,
        subject: String
    ) throws(SystemError) -> Int {
        precondition(range.lowerBound >= 0 && range.upperBound <= buffer.byteCount)
        var done = 0
        while done < range.count {
            guard try waitUntilReady(descriptor, Int16(POLLIN), subject, .read) else { continue }
            let result = unsafe Glibc.read(
                descriptor, buffer.base + range.lowerBound + done, range.count - done)
            if result < 0 {
                if errno == EINTR, !Interruption.isRequested { continue }
                throw SystemError(.read, subject)
            }
            if result == 0 { break }
            done += result
        }
        return done
    }

    /// Waits a while for a stream; a signal may reach another thread than the one that waits, so
    /// that an interrupt is looked for here.
    private static func waitUntilReady(
        _ descriptor: Int32,
        _ events: Int16,
        _ subject: String,
        _ operation: SystemError.Operation
    ) throws(SystemError) -> Bool {
        if Interruption.isRequested { throw SystemError(operation, subject, errno: EINTR) }
        // A descriptor that is none is ignored by poll; the call that follows refuses it.
        guard descriptor >= 0 else { return true }
        var entry = pollfd(fd: descriptor, events: events, revents: 0)
        let count = unsafe poll(&entry, 1, 200)
        return count > 0
    }

    /// Writes all of `span` to a stream.
    package static func writeStream(
        _ descriptor: Int32,
        _ span: RawSpan,
        subject: String
    ) throws(SystemError) {
        var failure: SystemError?
        unsafe span.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count, let base = buffer.baseAddress {
                do throws(SystemError) {
                    guard try waitUntilReady(descriptor, Int16(POLLOUT), subject, .write) else {
                        continue
                    }
                } catch {
                    failure = error
                    return
                }
                let result = unsafe Glibc.write(descriptor, base + done, buffer.count - done)
                if result < 0 {
                    if errno == EINTR, !Interruption.isRequested { continue }
                    failure = SystemError(.write, subject)
                    return
                }
                done += result
            }
        }
        if let failure { throw failure }
    }
}
