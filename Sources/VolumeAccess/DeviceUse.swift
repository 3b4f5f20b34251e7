package import LinuxIO

/// What the system uses a block device or an image file for, as `/proc` and `/sys` tell.
package enum DeviceUse {
    /// Why the device may not be touched, in words; nil when nothing uses it.
    package static func reason(forDevice number: UInt64, path: String) -> String? {
        let wanted = related(to: number)
        if let mount = mounts().first(where: { wanted.contains($0.device) }) {
            return "it is mounted at \(mount.path)"
        }
        let swaps = Directory.text(of: "/proc/swaps") ?? ""
        for line in swaps.split(separator: "\n").dropFirst() {
            let swap = String(line.prefix { $0 != " " && $0 != "\t" })
            if let status = try? FileStatus(path: swap), wanted.contains(status.representedDevice) {
                return "it is used for swap"
            }
        }
        for device in wanted {
            let holders = (try? Directory.names(in: system(device) + "/holders")) ?? nil
            if let holder = holders?.first { return "it is held by the device \(holder)" }
        }
        return nil
    }

    /// Whether it is a device of device-mapper.
    static func isMapped(_ number: UInt64) -> Bool {
        Directory.text(of: system(number) + "/dm/name") != nil
    }

    /// Why an image file may not be touched: a loop device that is itself in use, or a lock.
    package static func reason(forFile status: FileStatus, descriptor: Int32) -> String? {
        if let loop = loopDevice(backedBy: status) {
            return "it is attached to /dev/\(loop)"
        }
        if FileOperation.isLocked(descriptor) {
            return "another program has it locked, as a running virtual machine does"
        }
        return nil
    }

    /// Name of the loop device behind which the file stands.
    private static func loopDevice(backedBy status: FileStatus) -> String? {
        for name in ((try? Directory.names(in: "/sys/block")) ?? nil) ?? []
        where name.hasPrefix("loop") {
            guard let text = Directory.text(of: "/sys/block/\(name)/loop/backing_file"),
                let file = try? FileStatus(path: String(text.prefix { $0 != "\n" }))
            else { continue }
            if file.device == status.device && file.inode == status.inode { return name }
        }
        return nil
    }

    /// The device and its partitions.
    private static func related(to number: UInt64) -> Set<UInt64> {
        var found: Set<UInt64> = [number]
        let directory = system(number)
        for name in ((try? Directory.names(in: directory)) ?? nil) ?? [] {
            if Directory.text(of: "\(directory)/\(name)/partition") != nil,
                let text = Directory.text(of: "\(directory)/\(name)/dev"),
                let device = parse(text)
            {
                found.insert(device)
            }
        }
        return found
    }

    private static func system(_ number: UInt64) -> String {
        "/sys/dev/block/\(DeviceNumber.major(number)):\(DeviceNumber.minor(number))"
    }

    private static func mounts() -> [(device: UInt64, path: String)] {
        (Directory.text(of: "/proc/self/mountinfo") ?? "").split(separator: "\n").compactMap {
            let fields = $0.split(separator: " ")
            guard fields.count > 4, let device = parse(String(fields[2])) else { return nil }
            return (device, String(fields[4]))
        }
    }

    private static func parse(_ text: String) -> UInt64? {
        let numbers = text.filter { $0 != "\n" }.split(separator: ":").compactMap { UInt32($0) }
        guard numbers.count == 2 else { return nil }
        return DeviceNumber.make(major: numbers[0], minor: numbers[1])
    }

    /// Serial number of a disk, or UUID of a partition; empty when the system knows none.
    package static func serial(ofDevice number: UInt64) -> String {
        let directory = system(number)
        let uevent = Directory.text(of: directory + "/uevent") ?? ""
        for line in uevent.split(separator: "\n") where line.hasPrefix("PARTUUID=") {
            return String(line.dropFirst("PARTUUID=".count))
        }
        for file in ["/device/serial", "/serial", "/dm/uuid", "/device/wwid"] {
            if let text = Directory.text(of: directory + file) {
                let serial = text.filter { !$0.isWhitespace }
                if !serial.isEmpty { return serial }
            }
        }
        return ""
    }
}
