internal import LinuxIO

/// Which block devices share bytes: disks and their partitions, loop devices over files and devices, what
/// device-mapper and RAID put together.
///
/// What the system tells is read once, so that all questions have one answer. Source: `/sys/block`
/// (`Documentation/ABI/stable/sysfs-block` of the kernel), `loop(4)`.
struct DeviceGraph {
    /// A loop device that lies over something.
    struct Loop {
        let name: String
        let number: UInt64
        /// The file system's device and the inode; nil where only the kernel could tell.
        let file: (device: UInt64, inode: UInt64)?
        /// The device that it lies over; nil over a file.
        let backingDevice: UInt64?
        /// Where the backing file was when it was attached.
        let path: String
        /// What of it.
        let range: Range<UInt64>

        func isOver(_ status: FileStatus) -> Bool {
            file.map { $0.device == status.device && $0.inode == status.inode } ?? false
        }
    }

    let loops: [Loop]

    init() {
        let inSystem = ((try? Directory.names(in: "/sys/block")) ?? nil) ?? []
        let names = inSystem.isEmpty ? ((try? Directory.names(in: "/dev")) ?? nil) ?? [] : inSystem
        loops = names.filter { name in
            name.hasPrefix("loop") && name.dropFirst(4).allSatisfy(\.isNumber) && name.count > 4
        }.sorted().filter { !Self.isOfHold($0) }.compactMap(Self.loop)
    }

    /// Whether the system says anything of the device.
    static func knows(_ number: UInt64) -> Bool {
        Directory.text(of: system(number) + "/dev") != nil
    }

    private static func loop(_ name: String) -> Loop? {
        let directory = "/sys/block/\(name)/loop/"
        let text = Directory.text(of: directory + "backing_file")
        let (node, backing) = asked("/dev/\(name)")
        let system = text == nil ? nil : Directory.text(of: "/sys/block/\(name)/dev")
        guard let number = system.flatMap({ DeviceNumber.parse(line($0)) }) ?? node else {
            return nil
        }
        if let backing {
            return Loop(
                name: name, number: number, file: (backing.device, backing.inode),
                backingDevice: backing.representedDevice == 0 ? nil : backing.representedDevice,
                path: line(text), range: range(backing.byteOffset, backing.byteLimit))
        }
        guard let text else { return nil }
        let path = line(text)
        let status = (try? FileStatus(path: path)) ?? nil
        return Loop(
            name: name, number: number, file: status.map { ($0.device, $0.inode) },
            backingDevice: status?.kind == .blockDevice ? status?.representedDevice : nil,
            path: path,
            range: range(value(directory + "offset") ?? 0, value(directory + "sizelimit") ?? 0))
    }

    /// What the node at `path` says: its number, and what it lies over.
    private static func asked(_ path: String) -> (number: UInt64?, backing: LoopBacking?) {
        guard let node = try? FileHandle(path, .read, flags: FileOperation.nonBlocking),
            let status = try? node.status(path), status.kind == .blockDevice
        else { return (nil, nil) }
        return (status.representedDevice, LoopBacking(descriptor: node.descriptor))
    }

    private static func range(_ offset: UInt64, _ limit: UInt64) -> Range<UInt64> {
        let (end, isTooMuch) = offset.addingReportingOverflow(limit)
        return offset..<(limit == 0 || isTooMuch ? .max : end)
    }

    /// A loop device's own bytes that stand for `bytes` of what it lies over; nil for none.
    static func part(of loop: Loop, for bytes: Range<UInt64>) -> Range<UInt64>? {
        let common = loop.range.clamped(to: bytes)
        guard !common.isEmpty else { return nil }
        let start = common.lowerBound - loop.range.lowerBound
        return
            start..<(common.upperBound == .max
            ? .max : common.upperBound - loop.range.lowerBound)
    }

    // MARK: What the system tells of one device

    static func system(_ number: UInt64) -> String {
        "/sys/dev/block/\(DeviceNumber.major(number)):\(DeviceNumber.minor(number))"
    }

    /// The name that the kernel has for it.
    static func name(_ number: UInt64) -> String? {
        for line in (Directory.text(of: system(number) + "/uevent") ?? "").split(separator: "\n")
        where line.hasPrefix("DEVNAME=") {
            return String(line.dropFirst("DEVNAME=".count))
        }
        return nil
    }

    /// Partitions with the bytes of the device that they are.
    static func partitions(_ number: UInt64) -> [(number: UInt64, range: Range<UInt64>)] {
        let directory = system(number)
        return (((try? Directory.names(in: directory)) ?? nil) ?? []).compactMap { name in
            guard Directory.text(of: "\(directory)/\(name)/partition") != nil,
                let text = Directory.text(of: "\(directory)/\(name)/dev"),
                let number = DeviceNumber.parse(line(text))
            else { return nil }
            return (number, sectors("\(directory)/\(name)"))
        }
    }

    /// The disk of a partition, and where on it that is; nil for what is no partition.
    static func disk(ofPartition number: UInt64) -> (number: UInt64, range: Range<UInt64>)? {
        let directory = system(number)
        guard Directory.text(of: directory + "/partition") != nil,
            let text = Directory.text(of: directory + "/../dev"),
            let disk = DeviceNumber.parse(line(text))
        else { return nil }
        return (disk, sectors(directory))
    }

    private static func sectors(_ directory: String) -> Range<UInt64> {
        guard let start = value(directory + "/start"), let count = value(directory + "/size"),
            start < 1 << 54, count < 1 << 54
        else { return 0..<UInt64.max }
        return start * 512..<(start + count) * 512
    }

    /// Names of the devices that hold it and use it.
    static func holders(_ number: UInt64) -> [String] {
        (((try? Directory.names(in: system(number) + "/holders")) ?? nil) ?? []).sorted()
            .filter { !isHold($0) }
    }

    /// Whether the device only keeps what a trial stands on from being removed, and reads nothing of it.
    private static func isHold(_ name: String) -> Bool {
        let uuid = Directory.text(of: "/sys/class/block/\(name)/dm/uuid") ?? ""
        // The second is that of the start of the machine.
        return uuid.hasPrefix("VARVE-HOLD-") || uuid.hasPrefix("VARVE-LAYER-varve-hold-")
    }

    /// Whether a loop device is one of those by which a trial is held.
    private static func isOfHold(_ loop: String) -> Bool {
        (((try? Directory.names(in: "/sys/block/\(loop)/holders")) ?? nil) ?? [])
            .contains(where: isHold)
    }

    /// The devices that it is put together of.
    static func slaves(_ number: UInt64) -> [UInt64] {
        let directory = system(number) + "/slaves"
        return (((try? Directory.names(in: directory)) ?? nil) ?? []).sorted().compactMap {
            DeviceNumber.parse(line(Directory.text(of: "\(directory)/\($0)/dev")))
        }
    }

    private static func value(_ path: String) -> UInt64? {
        Directory.text(of: path).flatMap { UInt64(line($0)) }
    }

    private static func line(_ text: String?) -> String {
        String((text ?? "").prefix { $0 != "\n" })
    }
}
