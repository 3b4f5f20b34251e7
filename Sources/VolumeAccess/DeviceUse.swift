package import LinuxIO

/// What the system uses a block device or an image file for, as `/proc` and `/sys` tell.
package enum DeviceUse {
    /// What a lock of another program means.
    static let lockReason = "locked by another program, such as a running virtual machine"

    /// Why the device may not be touched, in words; nil when nothing uses it or its partitions.
    ///
    /// Only what is directly over it is looked at: ``wideReason(forDevice:)`` looks further.
    package static func reason(forDevice number: UInt64, path: String) -> String? {
        let mounts = MountedDevices()
        for device in [number] + DeviceGraph.partitions(number).map(\.number) {
            if let reason = mounts.reason(device) { return reason }
            if let holder = DeviceGraph.holders(device).first {
                return "held by the device \(holder)"
            }
        }
        return nil
    }

    /// Whether it is a device of device-mapper.
    static func isMapped(_ number: UInt64) -> Bool {
        Directory.text(of: DeviceGraph.system(number) + "/dm/name") != nil
    }

    /// Why an image file may not be touched: it is mounted or used for swap, a loop device is over it, or a
    /// program has it locked.
    package static func reason(forFile status: FileStatus, descriptor: Int32) -> String? {
        if let loop = DeviceGraph().loops.first(where: { $0.isOver(status) }) {
            return "attached to /dev/\(loop.name)"
        }
        if let reason = MountedDevices().reason(forFile: status) { return reason }
        return FileOperation.isLocked(descriptor) ? lockReason : nil
    }

    /// Serial number of a disk, or UUID of a partition; empty when the system knows none.
    package static func serial(ofDevice number: UInt64) -> String {
        let directory = DeviceGraph.system(number)
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
