internal import BlockModel
internal import ChangeTracking
internal import DeviceMapper
internal import Glibc
internal import LinuxIO
internal import VolumeAccess

/// A pool of thin devices, whose snapshots cost no copies.
struct ThinPool {
    /// Numbers of thin devices have 24 bits.
    static let idLimit: UInt32 = 1 << 24

    /// The name of the pool's device.
    let name: String
    /// What tells the pool from others: the UUID that LVM gave its device, else the name.
    let identity: String
    private let tableName: String

    private init(_ device: MappedDevice) throws {
        name = device.name
        tableName = device.tableName
        let uuid = try DeviceMapper.information(of: device.name)?.uuid ?? ""
        identity = uuid.isEmpty ? device.name : uuid
    }

    /// The pool that a thin device is in, and the device's number there; nil for a device of another
    /// kind.
    static func of(_ device: MappedDevice) throws -> (pool: ThinPool, deviceID: UInt32)? {
        let table = try DeviceMapper.table(device.name)
        guard table.count == 1, let line = table.first, line.target == "thin" else { return nil }
        let fields = line.parameters.split(separator: " ")
        guard fields.count >= 2, let id = UInt32(fields[1]), id < idLimit,
            let number = DeviceNumber.parse(fields[0]),
            let pool = try MappedDevice(number: number)
        else {
            throw VolumeError(
                .unsuitable, "\(device.path) has an invalid table: \(line.parameters)")
        }
        // A snapshot of it would show zeros where the origin is to be seen.
        guard fields.count == 2 else {
            throw VolumeError(
                .unsuitable,
                "\(device.path) is a thin volume with an external origin, which cannot be tracked")
        }
        return (try ThinPool(pool), id)
    }

    /// The pool that has been known by `identity`; nil when it is not there.
    static func of(identity: String) throws -> ThinPool? {
        for name in try Directory.names(in: "/sys/block") ?? [] where name.hasPrefix("dm-") {
            guard let text = Directory.text(of: "/sys/block/\(name)/dm/name"),
                let device = try? MappedDevice(name: String(text.prefix { $0 != "\n" })),
                try DeviceMapper.table(device.name).first?.target == "thin-pool",
                case let pool = try ThinPool(device), pool.identity == identity
            else { continue }
            return pool
        }
        return nil
    }

    /// Whether no device of the pool has that number.
    func isFree(_ id: UInt32) throws -> Bool {
        do {
            try DeviceMapper.message(name, "create_thin \(id)")
        } catch {
            guard error.errno == EEXIST else { throw error }
            return false
        }
        try DeviceMapper.message(name, "delete \(id)")
        return true
    }

    /// A call that makes a snapshot of a thin device, which must stand still when it is made.
    func prepareSnapshot(_ id: UInt32, of deviceID: UInt32) throws -> PreparedCall {
        let call = try PreparedCall(.message, name)
        try call.set(message: "create_snap \(id) \(deviceID)", sector: 0)
        return call
    }

    /// Deletes a thin device that nobody has open; nothing happens when there is none.
    func delete(_ id: UInt32) throws {
        do {
            try DeviceMapper.message(name, "delete \(id)")
        } catch {
            guard error.errno == ENODATA else { throw error }
        }
    }

    /// The number of the thin device that a device of device-mapper shows; nil for none of this pool.
    func id(shownBy name: String) throws -> UInt32? {
        guard let line = try DeviceMapper.table(name).first, line.target == "thin",
            case let fields = line.parameters.split(separator: " "), fields.count == 2,
            fields[0] == tableName
        else { return nil }
        return UInt32(fields[1])
    }

    func table(_ id: UInt32, sectorCount: UInt64) -> TableLine {
        TableLine(
            firstSector: 0, sectorCount: sectorCount, target: "thin",
            parameters: "\(tableName) \(id)")
    }

    /// How full the pool is; nil when it failed.
    func status() throws -> ThinPoolStatus? {
        try DeviceMapper.status(name).first.flatMap { ThinPoolStatus($0.parameters) }
    }

    /// Bytes of one data block.
    func blockByteCount() throws -> UInt64 {
        try fields().block * UInt64(TableLine.sectorByteCount)
    }

    private func fields() throws -> (metadata: UInt64, block: UInt64) {
        guard let line = try DeviceMapper.table(name).first, line.target == "thin-pool",
            case let fields = line.parameters.split(separator: " "), fields.count >= 3,
            let metadata = DeviceNumber.parse(fields[0]), let block = UInt64(fields[2]),
            block < 1 << 32
        else { throw VolumeError(.failed, "the thin pool \(name) is gone") }
        return (metadata, block)
    }

    /// What differs between two snapshots.
    ///
    /// - Throws: ``NothingKnown`` when nobody can tell.
    func differences(
        _ first: UInt32,
        _ second: UInt32,
        volumeByteCount: UInt64,
        states: StateDirectory
    ) throws -> WrittenExtents {
        let metadata = MappedDevice.node(of: try fields().metadata)
        let text = try states.withMetadata(of: .thinPool(name)) {
            try states.output(
                of: "thin_delta",
                ["-m", "--thin1", "\(first)", "--thin2", "\(second)", metadata],
                package: "thin-provisioning-tools")
        }
        do {
            return WrittenExtents(
                try ThinDelta.changes(
                    text, first: UInt64(first), second: UInt64(second),
                    volumeByteCount: volumeByteCount, blockSize: .minimum))
        } catch {
            throw NothingKnown(description: "\(error)")
        }
    }
}
