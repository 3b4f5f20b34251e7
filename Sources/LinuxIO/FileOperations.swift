internal import CShims
internal import Glibc

/// Calls on open descriptors, each with the kernel's reason when it fails.
package enum FileOperation {
    package static func synchronizeData(_ descriptor: Int32, subject: String) throws(SystemError) {
        guard fdatasync(descriptor) == 0 else { throw SystemError(.sync, subject) }
    }

    /// Waits until the file and what the system knows of it are on the medium.
    package static func synchronize(_ descriptor: Int32, subject: String) throws(SystemError) {
        guard fsync(descriptor) == 0 else { throw SystemError(.sync, subject) }
    }

    package static func truncate(
        _ descriptor: Int32,
        to byteCount: UInt64,
        subject: String
    ) throws(SystemError) {
        guard ftruncate(descriptor, off_t(byteCount)) == 0 else {
            throw SystemError(.truncate, subject)
        }
    }

    /// Sets space aside up to `byteCount`, so that later writes cannot lack it.
    package static func allocate(
        _ descriptor: Int32,
        byteCount: UInt64,
        subject: String
    ) throws(SystemError) {
        guard varve_allocate(descriptor, byteCount) == 0 else {
            throw SystemError(.allocate, subject)
        }
    }

    /// Replaces the file at `path`, or makes it, for its owner only unless told: durably, whole or not at all.
    package static func replace(
        _ path: String,
        with bytes: RawSpan,
        mode: UInt32 = 0o600
    ) throws(SystemError) {
        let directory = try OpenDirectory(Directory.parent(of: path))
        let name = Directory.baseName(of: path)
        // Of two that write at once the last one counts.
        let partial = name + ".partial.\(getpid())"
        try directory.remove(partial)
        do throws(SystemError) {
            let handle = try directory.createFile(partial, mode: mode)
            guard fchmod(handle.descriptor, mode) == 0 else { throw SystemError(.open, path) }
            try PositionedIO.write(handle.descriptor, bytes, at: 0, subject: path)
            guard fsync(handle.descriptor) == 0 else { throw SystemError(.sync, path) }
            try directory.rename(partial, to: name)
        } catch {
            _ = try? directory.remove(partial)
            throw error
        }
        try directory.synchronize()
    }

    /// Removes a file, durably; does nothing when it is not there.
    package static func remove(_ path: String) throws(SystemError) {
        guard unsafe unlink(path.systemBytes) == 0 else {
            if errno == ENOENT { return }
            throw SystemError(.remove, path)
        }
        try synchronizeDirectory(Directory.parent(of: path))
    }

    /// Discards what the file system that is mounted at `path` does not use; gives the bytes.
    package static func trimFileSystem(at path: String) throws(SystemError) -> UInt64 {
        let handle = try FileHandle(path, .read, flags: O_DIRECTORY)
        var bytes: UInt64 = 0
        guard unsafe varve_trim_file_system(handle.descriptor, &bytes) == 0 else {
            throw SystemError(.trim, path)
        }
        return bytes
    }

    /// Keeps the file system that is mounted at `path` from being written; false when it refuses.
    package static func remountReadOnly(_ path: String) -> Bool {
        unsafe mount(nil, path.systemBytes, nil, UInt(MS_REMOUNT | MS_RDONLY), nil) == 0
    }

    /// Turns direct I/O on or off; false when the file system has none.
    package static func setDirect(_ descriptor: Int32, _ isEnabled: Bool) -> Bool {
        varve_set_direct(descriptor, isEnabled ? 1 : 0) == 0
    }

    /// Drops what the system's cache has of a file, as far as it is written.
    package static func dropCache(_ descriptor: Int32) {
        _ = posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_DONTNEED))
    }

    package static func synchronizeDirectory(_ path: String) throws(SystemError) {
        let handle = try FileHandle(path, .read, flags: O_DIRECTORY)
        guard fsync(handle.descriptor) == 0 else { throw SystemError(.sync, path) }
    }

    /// Next offset with data at or after `offset`; nil when only a hole follows.
    package static func nextData(
        _ descriptor: Int32,
        from offset: UInt64,
        subject: String
    ) throws(SystemError) -> UInt64? {
        let result = lseek(descriptor, off_t(offset), VARVE_SEEK_DATA)
        if result >= 0 { return UInt64(result) }
        if errno == ENXIO { return nil }
        // A file system without holes: all of it is data.
        if errno == EINVAL || errno == EOPNOTSUPP { return offset }
        throw SystemError(.seek, subject)
    }

    /// Next offset in a hole at or after `offset`; the end of the file counts as one.
    package static func nextHole(
        _ descriptor: Int32,
        from offset: UInt64,
        subject: String
    ) throws(SystemError) -> UInt64? {
        let result = lseek(descriptor, off_t(offset), VARVE_SEEK_HOLE)
        if result >= 0 { return UInt64(result) }
        if errno == EINVAL || errno == EOPNOTSUPP || errno == ENXIO { return nil }
        throw SystemError(.seek, subject)
    }

    package static func punchHole(_ descriptor: Int32, offset: UInt64, byteCount: UInt64) -> Bool {
        varve_punch_hole(descriptor, offset, byteCount) == 0
    }

    /// The flag that does not wait for a pipe, nor for a medium.
    package static var nonBlocking: Int32 { O_NONBLOCK }

    /// The flag that opens past the page cache.
    package static var direct: Int32 { varve_direct_flag() }

    /// Opens for reading past the page cache; nil where the file system has no direct I/O.
    package static func openDirect(_ path: String) -> Int32? {
        let descriptor = unsafe varve_open_direct(path.systemBytes)
        return descriptor >= 0 ? descriptor : nil
    }

    /// Takes an open-file-description lock on the whole file; false when another holds it.
    package static func tryLock(_ descriptor: Int32, exclusive: Bool) -> Bool {
        varve_lock_try(descriptor, exclusive ? 1 : 0) == 0
    }

    /// Whether another open file description locks any part of the file.
    package static func isLocked(_ descriptor: Int32) -> Bool {
        varve_lock_is_held(descriptor) == 1
    }

    /// Whether another open file description locks any part of the file exclusively.
    ///
    /// That takes the right to write it: a user who may only read it can take shared locks. Nil where the
    /// file system cannot tell.
    package static func isWriteLocked(_ descriptor: Int32) -> Bool? {
        switch varve_write_lock_is_held(descriptor) {
        case 0: false
        case 1: true
        default: nil
        }
    }
}

/// A device number, as `stat` gives it, and its two halves.
package enum FileSystemMount {
    /// Mounts what a device holds, read-only, without devices and set-user-id programs of it.
    package static func mountReadOnly(
        _ device: String,
        at directory: String,
        type: String,
        options: String
    ) throws(SystemError) {
        guard
            unsafe varve_mount_read_only(
                device.systemBytes, directory.systemBytes, type, options) == 0
        else {
            throw SystemError(.mount, directory)
        }
    }

    /// Unmounts; if `isLazy` the paths go at once, and the rest when nothing is open there any more.
    package static func unmount(_ directory: String, isLazy: Bool) throws(SystemError) {
        guard unsafe varve_unmount(directory.systemBytes, isLazy ? 1 : 0) == 0 else {
            throw SystemError(.unmount, directory)
        }
    }
}

package enum DeviceNumber {
    package static func major(_ device: UInt64) -> UInt32 { varve_device_major(device) }
    package static func minor(_ device: UInt64) -> UInt32 { varve_device_minor(device) }
    package static func make(major: UInt32, minor: UInt32) -> UInt64 {
        varve_device_make(major, minor)
    }

    /// Reads `MAJOR:MINOR`, as the kernel writes it; nil for any other text.
    package static func parse(_ text: some StringProtocol) -> UInt64? {
        let numbers = text.split(separator: ":", omittingEmptySubsequences: false)
        guard numbers.count == 2, let major = UInt32(numbers[0]), let minor = UInt32(numbers[1])
        else { return nil }
        return make(major: major, minor: minor)
    }
}

/// Block-device calls.
///
/// Source: `ioctl(2)`, `linux/fs.h`.
package enum BlockDevice {
    package static func byteCount(
        _ descriptor: Int32,
        subject: String
    ) throws(SystemError) -> UInt64 {
        var bytes: UInt64 = 0
        guard unsafe varve_block_device_size(descriptor, &bytes) == 0 else {
            throw SystemError(.ioctl, subject)
        }
        return bytes
    }

    package static func sectorByteCount(
        _ descriptor: Int32,
        subject: String
    ) throws(SystemError) -> Int {
        var bytes: UInt32 = 0
        guard unsafe varve_block_device_sector_size(descriptor, &bytes) == 0 else {
            throw SystemError(.ioctl, subject)
        }
        return Int(bytes)
    }

    /// Makes a range read as zeros, by the fastest way the device has; false when it has none.
    package static func zeroOut(_ descriptor: Int32, offset: UInt64, byteCount: UInt64) -> Bool {
        varve_block_device_zero_out(descriptor, offset, byteCount) == 0
    }

    /// Drops the kernel's cached pages of the device, so that the next read asks the device.
    package static func dropCache(_ descriptor: Int32) {
        _ = varve_block_device_flush_buffers(descriptor)
    }
}
