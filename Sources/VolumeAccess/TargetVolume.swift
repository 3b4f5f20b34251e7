internal import BlockModel
internal import Glibc
package import LinuxIO

/// A file or device that a snapshot is restored to; opened only after every refusal was checked.
package final class TargetVolume: Sendable {
    package enum Kind: Sendable { case newFile, existingFile, blockDevice }

    package let kind: Kind
    package let path: String
    package let descriptor: Int32
    /// Size before the restore; zero for a new file.
    package let byteCount: UInt64
    /// Whether `descriptor` reads and writes past the page cache.
    package let isDirect: Bool
    /// A second descriptor that uses the page cache: for odd sizes, and for what is cached.
    package let buffered: Int32

    /// The directory that has a new file's name.
    private let directory: OpenDirectory?

    /// Opens `path` for a restore of `neededByteCount` bytes.
    ///
    /// A new file is created and refused when something is there; an existing file or a device
    /// must not be in use, and a device must be large enough. Nothing is written here but the
    /// size of a file. The path is looked up once: what it leads to later is of no matter.
    ///
    /// - Parameters:
    ///   - path: the file or device.
    ///   - neededByteCount: bytes that are restored.
    ///   - inPlace: whether what is there is compared and kept.
    ///   - refusal: why a file must not be written, as it belongs to this program; it is asked for the
    ///     file that is written, be it by way of a loop device.
    /// - Throws: ``VolumeError``, ``SystemError``, and what `refusal` throws.
    package init(
        path: String,
        neededByteCount: UInt64,
        inPlace: Bool,
        refusal: (FileStatus) throws -> String? = { _ in nil }
    ) throws {
        self.path = path
        let opened: FileHandle
        if let found = try HeldPath.find(path) {
            try Self.requireSuitable(found.status, path, inPlace: inPlace)
            for file in [found.status] + DeviceUse.files(below: found.status) {
                guard let reason = try refusal(file) else { continue }
                throw VolumeError(
                    .unsuitable, "\(path) \(reason); nothing was written: name another target")
            }
            kind = found.status.kind == .blockDevice ? .blockDevice : .existingFile
            directory = nil
            opened = try Self.open(found)
        } else if inPlace {
            throw VolumeError(
                .missing, "there is nothing at \(path) to restore in place; leave out --in-place")
        } else {
            kind = .newFile
            try Self.requireNoDeviceMeant(path)
            let place = try OpenDirectory(Directory.parent(of: path))
            directory = place
            opened = try Self.create(path, in: place)
        }
        byteCount = try Self.prepare(opened.descriptor, kind, path, neededByteCount)
        // The second one shares the first one's claim on a device: it needs no O_EXCL. Where there is no
        // second one, nothing is read or written past the page cache.
        do throws(SystemError) {
            buffered = try FileHandle(reopening: opened.descriptor, flags: O_RDWR, path).release()
            isDirect = FileOperation.setDirect(opened.descriptor, true)
        } catch {
            buffered = fcntl(opened.descriptor, F_DUPFD_CLOEXEC, 0)
            guard buffered >= 0 else { throw SystemError(.open, path) }
            isDirect = false
        }
        descriptor = opened.release()
    }

    /// Opens what is there; Linux refuses O_EXCL on a device that is mounted or held by another.
    private static func open(_ found: borrowing HeldPath) throws -> FileHandle {
        let isDevice = found.status.kind == .blockDevice
        do throws(SystemError) {
            return try found.open(flags: O_RDWR | (isDevice ? O_EXCL : 0))
        } catch {
            guard error.errno == EBUSY else { throw error }
            throw VolumeError(
                .busy,
                "\(found.path) is in use; unmount it and everything on it, then try again")
        }
    }

    /// Refuses a new file where devices are: a name that was mistyped would be a file in memory.
    private static func requireNoDeviceMeant(_ path: String) throws {
        guard let devices = try FileStatus(path: "/dev"), let root = try FileStatus(path: "/"),
            let parent = try FileStatus(path: Directory.parent(of: path)),
            devices.device != root.device, parent.device == devices.device
        else { return }
        throw VolumeError(
            .missing, "there is no device \(path); nothing was written: name an existing device")
    }

    private static func create(_ path: String, in directory: OpenDirectory) throws -> FileHandle {
        do throws(SystemError) {
            return try directory.createFile(Directory.baseName(of: path))
        } catch {
            guard error.errno == EEXIST else { throw error }
            throw VolumeError(
                .unsuitable,
                "\(path) is a dangling symbolic link, or has just been created; nothing was "
                    + "written: choose another name")
        }
    }

    /// Bytes of a device that nothing uses.
    ///
    /// - Throws: ``VolumeError`` of kind `busy` when something does, however it is used.
    package static func byteCount(ofIdleDevice path: String) throws -> UInt64 {
        do throws(SystemError) {
            let device = try FileHandle(path, .exclusiveReadWrite)
            return try BlockDevice.byteCount(device.descriptor, subject: path)
        } catch {
            guard error.errno == EBUSY else { throw error }
            throw VolumeError(.busy, "\(path) is in use; free it first")
        }
    }

    deinit {
        close(buffered)
        close(descriptor)
    }

    private static func requireSuitable(
        _ found: FileStatus,
        _ path: String,
        inPlace: Bool
    ) throws {
        switch found.kind {
        case .blockDevice:
            if let reason = DeviceUse.wideReason(forDevice: found.representedDevice) {
                throw VolumeError(
                    .busy, "\(path) is in use (\(reason)); nothing was written: free it first")
            }
        case .regular:
            guard inPlace else {
                throw VolumeError(
                    .unsuitable,
                    "\(path) already exists; nothing was written: choose another name, or restore "
                        + "over it with --in-place")
            }
        case .directory, .symbolicLink, .socket, .other:
            throw VolumeError(
                .unsuitable, "\(path) is not a disk, a partition or an image file")
        }
    }

    private static func prepare(
        _ descriptor: Int32,
        _ kind: Kind,
        _ path: String,
        _ neededByteCount: UInt64
    ) throws -> UInt64 {
        switch kind {
        case .blockDevice:
            if FileOperation.isLocked(descriptor) {
                throw VolumeError(
                    .busy,
                    "\(path) is in use (\(DeviceUse.lockReason)); nothing was written: free it first"
                )
            }
            let size = try BlockDevice.byteCount(descriptor, subject: path)
            guard size >= neededByteCount else {
                throw VolumeError(
                    .unsuitable,
                    "\(path) has \(size) bytes and the snapshot needs \(neededByteCount); "
                        + "nothing was written: choose a larger device")
            }
            return size
        case .existingFile:
            let status = try FileStatus(descriptor: descriptor, subject: path)
            if let reason = DeviceUse.reason(forFile: status, descriptor: descriptor) {
                throw VolumeError(
                    .busy, "\(path) is in use (\(reason)); nothing was written: free it first")
            }
            try FileOperation.truncate(descriptor, to: neededByteCount, subject: path)
            return min(status.byteCount, neededByteCount)
        case .newFile:
            try FileOperation.truncate(descriptor, to: neededByteCount, subject: path)
            return 0
        }
    }

    /// Writes `bytes`, which are aligned in memory, at an aligned `offset`; an odd end goes through
    /// the page cache.
    package func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) {
        let aligned = bytes.byteCount & ~(AlignedBuffer.alignment - 1)
        if aligned > 0 {
            try PositionedIO.write(
                descriptor, bytes.extracting(0..<aligned), at: offset, subject: path)
        }
        if aligned < bytes.byteCount {
            try PositionedIO.write(
                buffered, bytes.extracting(aligned..<bytes.byteCount),
                at: offset + UInt64(aligned), subject: path)
        }
    }

    /// Fills the start of `buffer` from `offset`: from memory what is there, else from the medium;
    /// bytes behind the end of the target read as zeros.
    package func read(into buffer: AlignedBuffer, byteCount: Int, at offset: UInt64) throws {
        var done =
            PositionedIO.readCached(buffered, into: buffer, range: 0..<byteCount, at: offset) ?? 0
        if done < byteCount, done % AlignedBuffer.alignment == 0, isDirect {
            let alignment = AlignedBuffer.alignment
            let end = min((byteCount + alignment - 1) & ~(alignment - 1), buffer.byteCount)
            let count = try PositionedIO.read(
                descriptor, into: buffer, range: done..<end, at: offset + UInt64(done),
                subject: path)
            done = min(done + count, byteCount)
        }
        if done < byteCount {
            done += try PositionedIO.read(
                buffered, into: buffer, range: done..<byteCount, at: offset + UInt64(done),
                subject: path)
        }
        if done < byteCount { buffer.zero(done..<byteCount) }
    }

    /// Whether the range lies in a hole of a file, so that it reads as zeros.
    package func isHole(offset: UInt64, byteCount: UInt64) throws(SystemError) -> Bool {
        guard kind == .existingFile else { return false }
        let data = try FileOperation.nextData(buffered, from: offset, subject: path)
        return data.map { $0 >= offset + byteCount } ?? true
    }

    /// Makes a range read as zeros without writing them; false when it has to be written.
    package func zeroOut(offset: UInt64, byteCount: UInt64) -> Bool {
        switch kind {
        case .newFile: true
        case .existingFile:
            FileOperation.punchHole(descriptor, offset: offset, byteCount: byteCount)
        case .blockDevice:
            BlockDevice.zeroOut(descriptor, offset: offset, byteCount: byteCount)
        }
    }

    /// Waits until everything is on the medium, the file's name included.
    package func synchronize() throws(SystemError) {
        guard fsync(descriptor) == 0 else { throw SystemError(.sync, path) }
        try directory?.synchronize()
    }

    /// Lets the next reads come from the medium and not from memory.
    package func dropCache() {
        if kind == .blockDevice { BlockDevice.dropCache(descriptor) }
        _ = posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_DONTNEED))
    }
}
