internal import LinuxIO
internal import VolumeAccess

extension Trial {
    /// What is worth knowing of a trial that just began: when it will not outlive a restart.
    package func cautions(_ state: TrialState) throws -> [String] {
        var cautions: [String] = []
        let path = "/dev/mapper/\(state.device)"
        if try TrialLabel.read(state.storePath)?.stamp.kind == FileSystemStamp.Kind.none {
            cautions.append(
                "\(path) has no file system that shows writes made without the layer (as ext2 "
                    + "to ext4, XFS and Btrfs do): the trial cannot be discarded after a restart")
        }
        if !states.outlivesUnmounting {
            cautions.append(
                "\(states.path) is on a separate file system, which is unmounted before the trial "
                    + "can be closed at shutdown: it cannot be discarded after a restart")
        }
        guard !state.isRoot, let device = try MappedDevice(name: state.device) else {
            return cautions
        }
        let numbers =
            [device.number]
            + (state.plainDevice.flatMap { try? MappedDevice.deviceNumber($0) }.map { [$0] } ?? [])
        if let mount = FileSystemTable.current().first(where: { line in
            line.isMountedAtStart && line.deviceNumber.map(numbers.contains) == true
        }) {
            cautions.append(
                "/etc/fstab mounts \(path) at \(mount.path) at boot, and the trial could "
                    + "not be discarded after that; add 'noauto' there during the trial, and run "
                    + "'varve trial resume' before you mount it")
        }
        return cautions
    }
}

/// What the machine mounts when it starts.
///
/// Source: `fstab(5)`.
enum FileSystemTable {
    struct Line: Hashable {
        let source: String
        let path: String
        let options: [Substring]

        var isMountedAtStart: Bool {
            !options.contains("noauto") && !options.contains("x-systemd.automount")
        }

        /// The block device that is meant; nil when there is none now.
        var deviceNumber: UInt64? {
            guard let path = devicePath, let status = try? FileStatus(path: path),
                status.kind == .blockDevice
            else { return nil }
            return status.representedDevice
        }

        var devicePath: String? {
            if source.hasPrefix("/") { return source }
            guard let equals = source.firstIndex(of: "=") else { return nil }
            let value = source[source.index(after: equals)...].filter { $0 != "\"" }
            switch source[..<equals] {
            case "UUID": return "/dev/disk/by-uuid/\(value)"
            case "LABEL": return "/dev/disk/by-label/\(value)"
            case "PARTUUID": return "/dev/disk/by-partuuid/\(value)"
            case "PARTLABEL": return "/dev/disk/by-partlabel/\(value)"
            case "ID": return "/dev/disk/by-id/\(value)"
            default: return nil
            }
        }
    }

    static func current() -> [Line] { parse(Directory.text(of: "/etc/fstab") ?? "") }

    static func parse(_ text: String) -> [Line] {
        text.systemLines.compactMap { line in
            let fields = line.split { $0 == " " || $0 == "\t" }
            guard fields.count >= 3, !fields[0].hasPrefix("#"), fields[2] != "swap" else {
                return nil
            }
            return Line(
                source: String(fields[0]), path: fields[1].tableField,
                options: fields.count > 3 ? fields[3].split(separator: ",") : [])
        }
    }
}
