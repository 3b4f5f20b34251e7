internal import LinuxIO

/// What is mounted and what is used for swap, as this process sees it.
///
/// Source: `/proc/self/mountinfo` and `/proc/swaps`, `proc(5)`.
struct MountedDevices {
    private struct Entry {
        let device: UInt64
        /// What was mounted, a path where it is a device or a file.
        let source: String
        let words: String
    }

    private static let tableByteLimit = 64 << 20
    private let entries: [Entry]
    private let swaps: [String]

    init() {
        let text = Directory.text(of: "/proc/self/mountinfo", limit: Self.tableByteLimit) ?? ""
        entries = text.systemLines.compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count > 4, let device = DeviceNumber.parse(fields[2]) else { return nil }
            let separator = fields.dropFirst(6).firstIndex(of: "-") ?? fields.endIndex
            let source =
                separator + 2 < fields.endIndex ? fields[separator + 2].tableField : ""
            return Entry(
                device: device, source: source,
                words: "mounted at \(fields[4].tableField)")
        }
        swaps = (Directory.text(of: "/proc/swaps") ?? "").systemLines.dropFirst().map {
            $0.prefix { $0 != " " && $0 != "\t" }.tableField
        }
    }

    /// Why a device itself is in use; nil when it is neither mounted nor swap.
    func reason(_ device: UInt64) -> String? {
        for entry in entries {
            // File systems of several devices, such as btrfs, have numbers of their own.
            let isIt =
                entry.device == device
                || Self.status(entry.source)?.representedDevice == device
                    && Self.status(entry.source)?.kind == .blockDevice
            if isIt { return entry.words }
        }
        let isSwap = swaps.contains { path in
            Self.status(path).map { $0.kind == .blockDevice && $0.representedDevice == device }
                ?? false
        }
        return isSwap ? "used for swap" : nil
    }

    /// Why a file is in use; nil when it is neither mounted nor swap.
    func reason(forFile status: FileStatus) -> String? {
        for entry in entries where Self.status(entry.source)?.isSameFile(as: status) == true {
            if status.kind == .regular { return entry.words }
        }
        let isSwap = swaps.contains { Self.status($0)?.isSameFile(as: status) ?? false }
        return isSwap ? "used for swap" : nil
    }

    private static func status(_ path: String) -> FileStatus? {
        path.hasPrefix("/") ? (try? FileStatus(path: path)) ?? nil : nil
    }
}
