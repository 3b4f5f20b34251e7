internal import BlockModel
internal import LinuxIO
internal import VolumeAccess

/// Where copy-on-write stores are kept: a directory on another file system, for files that grow, or
/// a partition or logical volume that is there for nothing else.
package enum StorePlace: Hashable, Sendable {
    case directory(String)
    case device(String)

    /// What each begins with, so that data of others is not taken for empty space.
    static let labelByteCount: UInt64 = 1 << 20

    package var path: String {
        switch self {
        case .directory(let path), .device(let path): path
        }
    }

    var text: String {
        switch self {
        case .directory(let path): "directory:\(path)"
        case .device(let path): "device:\(path)"
        }
    }

    init?(text: String) {
        if text.hasPrefix("directory:/") {
            self = .directory(String(text.dropFirst("directory:".count)))
        } else if text.hasPrefix("device:/") {
            self = .device(String(text.dropFirst("device:".count)))
        } else {
            return nil
        }
    }

    /// Where `path` leads to; it must not be on `device`, because what is written there would have
    /// to be copied to itself.
    package init(path: String, for device: MappedDevice) throws {
        guard let resolved = Directory.resolve(path), let status = try FileStatus(path: resolved)
        else {
            throw VolumeError(
                .missing, "there is nothing at \(path); make the directory for the store first")
        }
        let below: UInt64?
        switch status.kind {
        case .directory:
            // Whoever can change a store changes what is captured. In a sticky directory nobody can.
            try Trust.require("\(path)/\(device.name).0.varve-store", as: "the store")
            self = .directory(resolved)
            below = DeviceStack.deviceBelow(status)
        case .blockDevice:
            self = .device(path)
            below = status.representedDevice
        default:
            throw VolumeError(
                .unsuitable,
                "\(path) is not a directory or a partition; name one of these for the store")
        }
        guard let below else { return }
        if DeviceStack.devices(below: below).contains(device.number) {
            throw VolumeError(
                .unsuitable,
                "\(path) is on \(device.path) itself; put the store somewhere else")
        }
        if case .device = self {
            if let reason = DeviceUse.wideReason(forDevice: below) {
                throw VolumeError(.busy, "\(path) is in use (\(reason)); name another store")
            }
            if DeviceStack.devices(below: device.number).contains(below) {
                throw VolumeError(
                    .unsuitable, "\(device.path) is stacked on \(path); name another store")
            }
        }
    }

    /// Refuses a device with something on it that is not a store of ours.
    func requireEmpty() throws {
        guard case .device(let path) = self else { return }
        // O_EXCL: nobody has it mounted or holds it.
        let handle = try FileHandle(path, .exclusiveReadWrite)
        let size = try BlockDevice.byteCount(handle.descriptor, subject: path)
        guard size >= 4 * Self.labelByteCount else {
            throw VolumeError(
                .unsuitable, "\(path) is too small for a store; name one of 4 MiB or more")
        }
        let buffer = try AlignedBuffer(byteCount: Int(Self.labelByteCount))
        BlockDevice.dropCache(handle.descriptor)
        let count = try PositionedIO.read(
            handle.descriptor, into: buffer, range: 0..<buffer.byteCount, at: 0, subject: path)
        let bytes = [UInt8](copying: buffer.bytes.extracting(0..<count))
        let isOurs = Self.ownStarts.contains { bytes.starts(with: $0) }
        guard isOurs || bytes.allSatisfy({ $0 == 0 }) else {
            throw VolumeError(
                .unsuitable,
                "\(path) holds data or held data before; if you do not need it, run 'wipefs -a' "
                    + "and 'blkdiscard -z' on it, or name another store")
        }
    }

    /// A label of this module, or the magic of the kernel's store.
    private static let ownStarts: [[UInt8]] = [
        Array("varve_".utf8), Array("SnAp".utf8),
    ]
}

extension StorePlace {
    static func byteCount(ofDevice path: String) throws -> UInt64 {
        let handle = try FileHandle(path, .read)
        return try BlockDevice.byteCount(handle.descriptor, subject: path)
    }
}
