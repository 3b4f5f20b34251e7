internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// A device-mapper device, which the layers of this module are put on.
package struct MappedDevice: Hashable, Sendable {
    package let name: String
    /// As `stat` gives it.
    package let number: UInt64
    package let sectorCount: UInt64

    package var path: String { "/dev/mapper/\(name)" }
    package var byteCount: UInt64 { sectorCount * UInt64(TableLine.sectorByteCount) }
    /// As tables name it: no node below /dev is needed for that.
    package var tableName: String { Self.tableName(number) }

    /// Longer ones leave no room for the names of the layers.
    private static let nameByteLimit = 96

    /// The device that `path` names: its node, a link to it, or the directory it is mounted at; nil
    /// when that is a device of another kind.
    ///
    /// - Throws: ``VolumeError`` when there is no device.
    package init?(path: String) throws {
        let number = try Self.deviceNumber(path)
        guard let text = Directory.text(of: Self.system(number) + "/dm/name") else { return nil }
        let name = String(text.prefix { $0 != "\n" })
        let allowed = name.utf8.allSatisfy {
            Self.isLetterOrDigit($0) || "+-.:=@_#".utf8.contains($0)
        }
        guard allowed, !name.isEmpty, name.utf8.count <= Self.nameByteLimit else {
            throw VolumeError(
                .unsuitable,
                "the device-mapper name '\(name)' has characters other than letters, digits and "
                    + "+-.:=@_#, or more than \(Self.nameByteLimit); rename the device")
        }
        self.name = name
        self.number = number
        let handle = try FileHandle(Self.node(of: number), .read)
        let byteCount = try BlockDevice.byteCount(handle.descriptor, subject: path)
        sectorCount = byteCount / UInt64(TableLine.sectorByteCount)
    }

    init(name: String, number: UInt64, sectorCount: UInt64) {
        self.name = name
        self.number = number
        self.sectorCount = sectorCount
    }

    /// The device of that name; nil when there is none, or when it serves nothing yet.
    package init?(name: String) throws {
        guard let information = try DeviceMapper.information(of: name), information.hasLiveTable
        else { return nil }
        self.name = name
        number = DeviceNumber.make(major: information.major, minor: information.minor)
        sectorCount = try DeviceMapper.table(name).reduce(0) { $0 + $1.sectorCount }
    }

    /// The device of that number, without opening it; nil when that is none of device-mapper.
    init?(number: UInt64) throws {
        guard let text = Directory.text(of: Self.system(number) + "/dm/name") else { return nil }
        try self.init(name: String(text.prefix { $0 != "\n" }))
    }

    /// Drops a table that was loaded and does not count yet: an interrupted command left it, and it
    /// would count from the next window on.
    func dropLoadedTable() throws {
        guard try DeviceMapper.information(of: name)?.hasLoadedTable == true else { return }
        try PreparedCall(.clear, name).run()
    }

    /// Lets the device go on when a killed command left it standing still: who opens it to read would
    /// wait for ever.
    package func resumeIfSuspended() throws {
        guard try DeviceMapper.information(of: name)?.isSuspended == true else { return }
        try DeviceMapper.resume(name)
    }

    /// The number of the block device that `path` names, itself or by what is mounted there.
    package static func deviceNumber(_ path: String) throws -> UInt64 {
        guard let status = try FileStatus(path: path) else {
            throw VolumeError(.missing, "there is nothing at \(path)")
        }
        switch status.kind {
        case .blockDevice: return status.representedDevice
        case .directory:
            let resolved = Directory.resolve(path) ?? path
            guard let mount = MountTable.current().last(where: { $0.path == resolved }),
                let number = mount.deviceNumber
            else {
                throw VolumeError(
                    .unsuitable, "no block device is mounted at \(path); name the device itself")
            }
            return number
        default:
            throw VolumeError(.unsuitable, "\(path) is not a block device")
        }
    }

    package static func tableName(_ number: UInt64) -> String {
        "\(DeviceNumber.major(number)):\(DeviceNumber.minor(number))"
    }

    /// A path that works while no node was made yet.
    static func node(of number: UInt64) -> String {
        let name = (Directory.text(of: system(number) + "/uevent") ?? "").split(separator: "\n")
            .first { $0.hasPrefix("DEVNAME=") }
        return "/dev/" + (name.map { String($0.dropFirst("DEVNAME=".count)) } ?? "unknown")
    }

    static func system(_ number: UInt64) -> String { "/sys/dev/block/" + tableName(number) }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
