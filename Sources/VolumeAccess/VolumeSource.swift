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
    let buffered: Int32
    /// Reads past it; nil where the file system has no direct I/O.
    let direct: Int32?
    private let status: FileStatus?
    /// What goes wrong on purpose; nil but in tests.
    let faults: (any ReadFaults)?

    /// Opens `path` for reading; `-` is standard input.
    ///
    /// - Throws: ``VolumeError`` of kind `busy` for a source in use, unless `allowsUse`.
    package convenience init(
        path: String,
        allowsUse: Bool,
        faults: (any ReadFaults)? = nil
    ) throws {
        try self.init(path: path, frozenView: nil, allowsUse: allowsUse, faults: faults)
    }

    /// Opens the device `frozenView`, which shows what the device at `path` held at one moment.
    package convenience init(path: String, frozenView: String) throws {
        try self.init(path: path, frozenView: frozenView, allowsUse: false, faults: nil)
    }

    private init(
        path: String,
        frozenView: String?,
        allowsUse: Bool,
        faults: (any ReadFaults)?
    ) throws {
        self.path = path
        self.faults = faults
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
        guard let found = try HeldPath.find(path) else {
            throw VolumeError(.missing, "there is nothing at \(path)")
        }
        guard found.status.kind == .regular || found.status.kind == .blockDevice else {
            throw VolumeError(
                .unsuitable, "\(path) is not a disk, a partition or an image file")
        }
        kind = found.status.kind == .blockDevice ? .blockDevice : .file
        let reason = kind == .blockDevice ? Self.useReason(found, isFrozenView) : nil
        var heldBy: String?
        let opened = try Self.open(found, &heldBy)
        let facts = try Facts(of: found.status, opened.descriptor, path, reason ?? heldBy)
        // What tests let fail needs no file system with direct I/O.
        let past = faults == nil ? FileOperation.direct : 0
        direct = try? found.open(flags: O_RDONLY | past).release()
        status = facts.status
        byteCount = facts.byteCount
        sectorByteCount = facts.sectorByteCount
        if frozenView != nil, let status = try? FileStatus(path: device) {
            serial = DeviceUse.serial(ofDevice: status.representedDevice)
        } else {
            serial = facts.serial
        }
        useReason = facts.useReason
        buffered = opened.release()
        if let reason = facts.useReason, !allowsUse {
            let canBeTracked =
                kind == .blockDevice && DeviceUse.isMapped(found.status.representedDevice)
            throw VolumeError(
                .busy,
                "\(path) is in use (\(reason)), so its contents would change during the backup; "
                    + "unmount or detach it, "
                    + (canBeTracked ? "track it with 'varve track begin', " : "")
                    + "or capture it anyway with --live-inconsistent")
        }
    }

    /// Why a device is in use, before it is opened; a frozen view stands still whatever is below it.
    private static func useReason(_ found: borrowing HeldPath, _ isView: Bool) -> String? {
        let number = found.status.representedDevice
        return isView
            ? DeviceUse.reason(forDevice: number, path: found.path)
            : DeviceUse.wideReason(forDevice: number)
    }

    /// Opens the source.
    ///
    /// Linux refuses O_EXCL on a device that a file system or another device holds,
    /// however it is mounted; held this way, nothing can mount it while it is read.
    private static func open(
        _ found: borrowing HeldPath,
        _ heldBy: inout String?
    ) throws(SystemError) -> FileHandle {
        guard found.status.kind == .blockDevice else { return try found.open(flags: O_RDONLY) }
        do throws(SystemError) {
            return try found.open(flags: O_RDONLY | O_EXCL)
        } catch {
            guard error.errno == EBUSY else { throw error }
            heldBy = "mounted, or held by another device"
            return try found.open(flags: O_RDONLY)
        }
    }

    /// What an open source tells of itself.
    private struct Facts {
        let byteCount: UInt64
        let sectorByteCount: Int
        let serial: String
        let useReason: String?
        let status: FileStatus

        init(
            of found: FileStatus,
            _ descriptor: Int32,
            _ path: String,
            _ reason: String?
        ) throws {
            if found.kind == .blockDevice {
                byteCount = try BlockDevice.byteCount(descriptor, subject: path)
                sectorByteCount = try BlockDevice.sectorByteCount(descriptor, subject: path)
                serial = DeviceUse.serial(ofDevice: found.representedDevice)
                let isLocked = FileOperation.isLocked(descriptor)
                useReason = reason ?? (isLocked ? DeviceUse.lockReason : nil)
                status = found
            } else {
                status = try FileAtRest.status(of: descriptor, path)
                byteCount = status.byteCount
                sectorByteCount = 512
                serial = ""
                useReason = DeviceUse.reason(forFile: status, descriptor: descriptor)
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
                    + "nothing was committed: run the backup again when it is idle")
        }
        guard kind == .file else { return useReason == nil }
        let change = FileAtRest.change(status, now)
        if let change, !allowsUse {
            throw VolumeError(
                .changed,
                "\(path) changed while it was read (\(change)); nothing was committed: run the "
                    + "backup again when it is idle, or with --live-inconsistent")
        }
        return change == nil && useReason == nil
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
