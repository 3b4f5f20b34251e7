internal import Glibc
internal import LinuxIO

/// Use by way of other devices that have the same bytes.
extension DeviceUse {
    /// Why the device may not be touched, in words; nil when nothing uses any of its bytes, by whatever way.
    ///
    /// Followed are partitions both ways, what a device is put together of, and loop devices over it, over
    /// what it lies on, and over the same file; of each its mounts, swap, holders, an exclusive claim, and
    /// locks on its node. To be asked before the device is opened exclusively, for that is a claim too.
    ///
    /// Without `/sys` none of this can be told, and that is the reason then.
    package static func wideReason(forDevice number: UInt64) -> String? {
        guard DeviceGraph.knows(number) else {
            return "its use cannot be checked because /sys is empty; "
                + "run 'mount -t sysfs sysfs /sys'"
        }
        var search = UseSearch()
        return search.reason(number)
    }

    /// The files that a device's bytes are in, by way of loop devices; empty for what is no device.
    static func files(below status: FileStatus) -> [FileStatus] {
        guard status.kind == .blockDevice else { return [] }
        var search = UseSearch()
        return search.files(below: status.representedDevice)
    }
}

/// One walk through the devices that share bytes with another.
private struct UseSearch {
    private let graph = DeviceGraph()
    private let mounts = MountedDevices()
    private var seenAbove: Set<UInt64> = []
    private var seenBelow: Set<UInt64> = []

    private static let all = 0..<UInt64.max

    mutating func reason(_ device: UInt64) -> String? {
        // The device's own claim, and those of its disk and partitions, are seen when it is opened.
        if let reason = above(device, Self.all, isClaimSeen: true) { return reason }
        for loop in graph.loops where loop.backingDevice == device {
            return "attached to /dev/\(loop.name)"
        }
        return below(device, Self.all)
    }

    // MARK: Up

    /// Why some of these bytes of a device are in use, by the device itself or by what is over it.
    private mutating func above(
        _ device: UInt64,
        _ bytes: Range<UInt64>,
        isClaimSeen: Bool
    ) -> String? {
        guard seenAbove.insert(device).inserted else { return nil }
        if let reason = direct(device, isClaimSeen: isClaimSeen) { return reason }
        for (partition, range) in DeviceGraph.partitions(device)
        where !range.clamped(to: bytes).isEmpty {
            if let reason = above(partition, Self.all, isClaimSeen: true) { return reason }
        }
        return loops(over: bytes) { $0.backingDevice == device }
    }

    /// Why loop devices over these bytes are in use.
    private mutating func loops(
        over bytes: Range<UInt64>,
        where isOver: (DeviceGraph.Loop) -> Bool
    ) -> String? {
        for loop in graph.loops where isOver(loop) {
            guard let part = DeviceGraph.part(of: loop, for: bytes),
                let reason = above(loop.number, part, isClaimSeen: false)
            else { continue }
            return "/dev/\(loop.name) has the same data and is in use: \(reason)"
        }
        return nil
    }

    /// Why a device itself is in use.
    private func direct(_ device: UInt64, isClaimSeen: Bool) -> String? {
        if let reason = mounts.reason(device) { return reason }
        if let holder = DeviceGraph.holders(device).first {
            return "held by the device \(holder)"
        }
        if let reason = lock(device) { return reason }
        return !isClaimSeen && isClaimed(device)
            ? "mounted, or held by another device or program" : nil
    }

    private static func nodes(_ device: UInt64) -> [String] {
        let mapped = Directory.text(of: DeviceGraph.system(device) + "/dm/name").map {
            "/dev/mapper/" + $0.prefix { $0 != "\n" }
        }
        return [DeviceGraph.name(device).map { "/dev/" + $0 }, mapped].compactMap(\.self)
    }

    /// Programs lock the node that they opened.
    private func lock(_ device: UInt64) -> String? {
        for path in Self.nodes(device) {
            guard let node = try? FileHandle(path, .read, flags: FileOperation.nonBlocking),
                let status = try? node.status(path), status.kind == .blockDevice,
                status.representedDevice == device
            else { continue }
            if FileOperation.isLocked(node.descriptor) {
                return "\(path) is locked by another program, such as a running virtual machine"
            }
        }
        return nil
    }

    /// Whether somebody has claimed it, such as a file system that is mounted where this process does not
    /// see it.
    private func isClaimed(_ device: UInt64) -> Bool {
        for path in Self.nodes(device) {
            do throws(SystemError) {
                _ = try FileHandle(path, .read, flags: O_EXCL | FileOperation.nonBlocking)
            } catch {
                if error.errno == EBUSY { return true }
            }
        }
        return false
    }

    // MARK: Down

    /// Why what a device's bytes lie on is in use by another way than this device.
    private mutating func below(_ device: UInt64, _ bytes: Range<UInt64>) -> String? {
        guard seenBelow.insert(device).inserted else { return nil }
        if let (disk, range) = DeviceGraph.disk(ofPartition: device) {
            return lower(disk, range, isClaimSeen: true)
        }
        if let loop = graph.loops.first(where: { $0.number == device }) {
            guard let backing = loop.backingDevice else { return use(ofFileBelow: loop) }
            return lower(backing, loop.range, isClaimSeen: false)
        }
        // Others that are put together of the same devices have other bytes of them.
        for slave in DeviceGraph.slaves(device) {
            if let reason = lock(slave)
                ?? loops(over: Self.all, where: { $0.backingDevice == slave })
            {
                return reason
            }
            if let reason = below(slave, Self.all) { return reason }
        }
        return nil
    }

    private mutating func lower(
        _ device: UInt64,
        _ bytes: Range<UInt64>,
        isClaimSeen: Bool
    ) -> String? {
        let name = DeviceGraph.name(device).map { "/dev/" + $0 } ?? "the device below it"
        if seenAbove.insert(device).inserted {
            if let reason = direct(device, isClaimSeen: isClaimSeen) {
                return "\(name) has the same data and is in use: \(reason)"
            }
            for (partition, range) in DeviceGraph.partitions(device)
            where !range.clamped(to: bytes).isEmpty {
                if let reason = above(partition, Self.all, isClaimSeen: isClaimSeen) {
                    return "\(name) has the same data, and its partition is in use: \(reason)"
                }
            }
            if let reason = loops(over: bytes, where: { $0.backingDevice == device }) {
                return reason
            }
        }
        return below(device, bytes)
    }

    private mutating func use(ofFileBelow loop: DeviceGraph.Loop) -> String? {
        if let file = loop.file,
            let reason = loops(
                over: loop.range,
                where: {
                    $0.number != loop.number
                        && $0.file.map { $0.device == file.device && $0.inode == file.inode }
                            ?? false
                })
        {
            return reason
        }
        guard let handle = try? FileHandle(loop.path, .read, flags: FileOperation.nonBlocking),
            let status = try? handle.status(loop.path), loop.isOver(status)
        else { return nil }
        if let reason = mounts.reason(forFile: status) {
            return "\(loop.path) has the same data and is in use: \(reason)"
        }
        return FileOperation.isLocked(handle.descriptor)
            ? "\(loop.path) is locked by another program, such as a running virtual machine" : nil
    }

    /// The files that are below a device.
    mutating func files(below device: UInt64) -> [FileStatus] {
        guard seenBelow.insert(device).inserted else { return [] }
        if let (disk, _) = DeviceGraph.disk(ofPartition: device) { return files(below: disk) }
        guard let loop = graph.loops.first(where: { $0.number == device }) else {
            return DeviceGraph.slaves(device).flatMap { files(below: $0) }
        }
        if let backing = loop.backingDevice { return files(below: backing) }
        let status = (try? FileStatus(path: loop.path)) ?? nil
        return status.map { loop.isOver($0) ? [$0] : [] } ?? []
    }
}
