internal import Glibc
internal import LinuxIO

/// A disk, partition or image file that is open for capture, or a stream of unknown length.
///
/// Shared by the reading threads: all reads name their position.
package final class VolumeSource: Sendable {
    package enum Kind: Sendable { case file, blockDevice, stream }

    package let kind: Kind
    package let path: String
    /// Size in bytes; nil for a stream.
    package let byteCount: UInt64?
    package let sectorByteCount: Int
    /// Serial number or partition UUID; empty for files and streams.
    package let serial: String
    /// Why the source is in use, when it was opened in spite of that.
    package let useReason: String?
    /// Whether what is read is a frozen view of the device at ``path``.
    package let isFrozenView: Bool

    /// Reads through the page cache.
    package let buffered: Int32
    /// Reads past it; nil where the file system has no direct I/O.
    package let direct: Int32?
    private let status: FileStatus?

    /// Opens `path` for reading; `-` is standard input.
    ///
    /// - Throws: ``VolumeError`` of kind `busy` for a source in use, unless `allowsUse`.
    package convenience init(path: String, allowsUse: Bool) throws {
        try self.init(path: path, frozenView: nil, allowsUse: allowsUse)
    }

    /// Opens the device `frozenView`, which shows what the device at `path` held at one moment.
    package convenience init(path: String, frozenView: String) throws {
        try self.init(path: path, frozenView: frozenView, allowsUse: false)
    }

    private init(path: String, frozenView: String?, allowsUse: Bool) throws {
        self.path = path
        isFrozenView = frozenView != nil
        guard path != "-" else {
            kind = .stream
            byteCount = nil
            sectorByteCount = 512
            serial = ""
            useReason = nil
            buffered = STDIN_FILENO
            direct = nil
            status = nil
            return
        }
        let device = path
        let path = frozenView ?? path
        guard let found = try FileStatus(path: path) else {
            throw VolumeError(.missing, "there is nothing at \(path)")
        }
        guard found.kind == .regular || found.kind == .blockDevice else {
            throw VolumeError(
                .unsuitable, "\(path) is neither a disk, a partition nor an image file")
        }
        // Linux refuses O_EXCL on a device that a file system or another device holds, however it
        // is mounted; held this way, nothing can mount it while it is read.
        var heldBy: String?
        var opened = unsafe open(
            path, O_RDONLY | O_CLOEXEC | (found.kind == .blockDevice ? O_EXCL : 0))
        if opened < 0, errno == EBUSY, found.kind == .blockDevice {
            heldBy = "it is mounted, or another device holds it"
            opened = unsafe open(path, O_RDONLY | O_CLOEXEC)
        }
        guard opened >= 0 else { throw SystemError(.open, path) }
        let facts: Facts
        do {
            facts = try Facts(of: found, opened, path, heldBy)
        } catch {
            close(opened)
            throw error
        }
        buffered = opened
        direct = FileOperation.openDirect(path)
        status = found
        kind = found.kind == .blockDevice ? .blockDevice : .file
        byteCount = facts.byteCount
        sectorByteCount = facts.sectorByteCount
        if frozenView != nil, let status = try? FileStatus(path: device) {
            serial = DeviceUse.serial(ofDevice: status.representedDevice)
        } else {
            serial = facts.serial
        }
        useReason = facts.useReason
        if let reason = facts.useReason, !allowsUse {
            let canBeTracked =
                found.kind == .blockDevice && DeviceUse.isMapped(found.representedDevice)
            throw VolumeError(
                .busy,
                "\(path) is in use (\(reason)), so that no single moment of it can be read; "
                    + "unmount or detach it, "
                    + (canBeTracked ? "track it with 'varve track begin', " : "")
                    + "or capture it anyway with --live-inconsistent")
        }
    }

    /// What an open source tells of itself.
    private struct Facts {
        let byteCount: UInt64
        let sectorByteCount: Int
        let serial: String
        let useReason: String?

        init(
            of found: FileStatus,
            _ descriptor: Int32,
            _ path: String,
            _ heldBy: String?
        ) throws {
            if found.kind == .blockDevice {
                byteCount = try BlockDevice.byteCount(descriptor, subject: path)
                sectorByteCount = try BlockDevice.sectorByteCount(descriptor, subject: path)
                serial = DeviceUse.serial(ofDevice: found.representedDevice)
                useReason =
                    DeviceUse.reason(forDevice: found.representedDevice, path: path) ?? heldBy
            } else {
                byteCount = found.byteCount
                sectorByteCount = 512
                serial = ""
                useReason = DeviceUse.reason(forFile: found, descriptor: descriptor)
            }
        }
    }

    deinit {
        if kind != .stream { close(buffered) }
        if let direct { close(direct) }
    }

    /// Whether the source is as it was when it was opened; refuses one that is not, unless
    /// `allowsUse`, and one of another size in any case.
    package func verifyUnchanged(allowsUse: Bool) throws -> Bool {
        guard let status, let byteCount else { return true }
        let now = try FileStatus(descriptor: buffered, subject: path)
        let size =
            kind == .blockDevice
            ? try BlockDevice.byteCount(buffered, subject: path) : now.byteCount
        guard size == byteCount else {
            throw VolumeError(
                .changed,
                "\(path) changed its size from \(byteCount) to \(size) bytes while it was read; "
                    + "nothing was committed: run the backup again when it is at rest")
        }
        guard kind == .file else { return useReason == nil }
        let isUnchanged =
            now.modifiedSeconds == status.modifiedSeconds
            && now.modifiedNanoseconds == status.modifiedNanoseconds
        guard isUnchanged || allowsUse else {
            throw VolumeError(
                .changed,
                "\(path) was written while it was read; nothing was committed: run the backup "
                    + "again when it is at rest, or with --live-inconsistent")
        }
        return isUnchanged && useReason == nil
    }

    /// The next stretch of data at or behind `offset`; nil when only a hole of the file follows.
    ///
    /// A device is data throughout.
    package func nextData(from offset: UInt64) throws -> Range<UInt64>? {
        guard let byteCount, offset < byteCount else { return nil }
        guard kind == .file else { return offset..<byteCount }
        guard
            let start = try FileOperation.nextData(buffered, from: offset, subject: path),
            start < byteCount
        else { return nil }
        let end = try FileOperation.nextHole(buffered, from: start, subject: path) ?? byteCount
        return start..<max(start + 1, min(end, byteCount))
    }
}
