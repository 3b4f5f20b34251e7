package import LinuxIO

/// What is mounted, as this process sees it.
///
/// Source: `/proc/self/mountinfo`, `proc(5)`.
package enum MountTable {
    package struct Mount: Hashable, Sendable {
        package let path: String
        /// The device number that files on it have.
        package let fileDevice: UInt64
        package let fileSystem: String
        package let source: String
        package let isReadOnly: Bool

        /// The block device below; nil where there is none.
        package var deviceNumber: UInt64? {
            if DeviceNumber.major(fileDevice) != 0 { return fileDevice }
            // File systems of several devices, such as btrfs, have numbers of their own.
            guard source.hasPrefix("/"), let status = try? FileStatus(path: source),
                status.kind == .blockDevice
            else { return nil }
            return status.representedDevice
        }
    }

    package static func current() -> [Mount] {
        parse(Directory.text(of: "/proc/self/mountinfo") ?? "")
    }

    /// The mounts of the device itself.
    package static func mounts(of device: UInt64) -> [Mount] {
        current().filter { $0.deviceNumber == device }
    }

    static func parse(_ text: String) -> [Mount] {
        text.systemLines.compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count >= 10, let separator = fields.dropFirst(6).firstIndex(of: "-"),
                separator + 2 < fields.count
            else { return nil }
            let numbers = fields[2].split(separator: ":").compactMap { UInt32($0) }
            guard numbers.count == 2 else { return nil }
            return Mount(
                path: fields[4].tableField,
                fileDevice: DeviceNumber.make(major: numbers[0], minor: numbers[1]),
                fileSystem: String(fields[separator + 1]),
                source: fields[separator + 2].tableField,
                isReadOnly: fields[5].split(separator: ",").contains("ro"))
        }
    }
}

/// Which devices are stacked on which.
package enum DeviceStack {
    /// A chain is never longer than this.
    private static let depthLimit = 32

    /// The device and everything below it, files of loop devices included.
    package static func devices(below device: UInt64) -> Set<UInt64> {
        var found: Set<UInt64> = []
        collect(device, depth: 0, &found)
        return found
    }

    private static func collect(_ device: UInt64, depth: Int, _ found: inout Set<UInt64>) {
        guard depth < depthLimit, found.insert(device).inserted else { return }
        let system = MappedDevice.system(device)
        for name in ((try? Directory.names(in: system + "/slaves")) ?? nil) ?? [] {
            if let number = number(inFile: "\(system)/slaves/\(name)/dev") {
                collect(number, depth: depth + 1, &found)
            }
        }
        if let text = Directory.text(of: system + "/loop/backing_file"),
            let file = try? FileStatus(path: String(text.prefix { $0 != "\n" })),
            let below = deviceBelow(file)
        {
            collect(below, depth: depth + 1, &found)
        }
    }

    /// The block device on which a file lies; nil when there is none, as for a file in memory.
    package static func deviceBelow(_ file: FileStatus) -> UInt64? {
        if DeviceNumber.major(file.device) != 0 { return file.device }
        return MountTable.current().first { $0.fileDevice == file.device }?.deviceNumber
    }

    private static func number(inFile path: String) -> UInt64? {
        DeviceNumber.parse((Directory.text(of: path) ?? "").filter { $0 != "\n" })
    }
}
