internal import BlockModel
internal import DeviceMapper
internal import Glibc
internal import LinuxIO
internal import VolumeAccess

/// The layer that the start of the machine puts under a root that is a plain partition.
///
/// A script in the initramfs makes it, just before the root is mounted; it also keeps a trial of the
/// root going, and throws it away when asked to. Nothing else of the start changes, and where the script
/// can do nothing, the machine starts as it did before.
package enum BootLayer {
    /// Name of the root's device.
    package static let deviceName = "varve-root"

    private static let configurationPath = "/etc/varve/layer.conf"
    /// Keeps the boot menu from naming the layer, which is there only after the start.
    private static let menuDefaults = "/etc/default/grub.d/varve-layer.cfg"
    private static let keptDirectory = "/boot/varve"
    private static let unit = "varve-layer.service"
    /// What the script found, in this run of the machine.
    private static let factsPath = "/run/varve/layer"

    /// The files, and where they go.
    private static let files: [(path: String, content: [UInt8], mode: UInt32)] = [
        ("/etc/initramfs-tools/hooks/varve-layer", PackageResources.initramfs_hook, 0o755),
        (
            "/etc/initramfs-tools/scripts/local-premount/varve-layer",
            PackageResources.initramfs_script, 0o755
        ),
        (
            "/etc/initramfs-tools/scripts/local-bottom/varve-layer",
            PackageResources.initramfs_script, 0o755
        ),
        (
            "/etc/initramfs-tools/scripts/local-top/varve-layer", PackageResources.initramfs_root,
            0o755
        ),
        (menuDefaults, PackageResources.grub_default, 0o644),
        ("/etc/grub.d/42_varve-layer", PackageResources.grub_entry, 0o755),
        ("/etc/systemd/system/\(unit)", PackageResources.varve_layer_service, 0o644),
        // The one place where systemd looks for what runs after all else.
        ("/lib/systemd/system-shutdown/varve-layer", PackageResources.system_shutdown, 0o755),
    ]

    /// What the start of the machine knows.
    package struct Configuration: Hashable, Sendable {
        /// The root's partition.
        package let partition: String
        /// Where the store of a trial is; nil where there is none.
        package let store: String?

        fileprivate var text: String {
            "partition=\(partition)\n" + (store.map { "store=\($0)\n" } ?? "")
        }
    }

    /// What is installed; nil when nothing is.
    package static func configuration() -> Configuration? {
        guard let values = values(of: configurationPath) else { return nil }
        return values["partition"].map { Configuration(partition: $0, store: values["store"]) }
    }

    /// What became of the trial of the root when the machine started; nil when it started without the
    /// layer.
    package static func startOutcome() -> String? {
        values(of: factsPath).map { $0["trial"] ?? "none" }
    }

    private static func values(of path: String) -> [Substring: String]? {
        guard let text = Directory.text(of: path) else { return nil }
        var values: [Substring: String] = [:]
        for line in text.split(separator: "\n") {
            guard let equals = line.firstIndex(of: "=") else { continue }
            values[line[..<equals]] = String(line[line.index(after: equals)...])
        }
        return values
    }

    // MARK: Install

    /// Puts the layer into the start of this machine; it counts from the next one on.
    ///
    /// - Parameters:
    ///   - store: an empty partition for the store of trials of the root; nil to leave that out.
    ///   - output: a descriptor for what the programs say that are run.
    /// - Returns: what was installed.
    /// - Throws: ``VolumeError`` when the root is no plain partition, or something is missing.
    package static func install(store: String?, output: Int32) throws -> Configuration {
        for program in ["update-initramfs", "dmsetup", "findmnt"]
        where Program.path(of: program) == nil {
            throw VolumeError(
                .missing, "\(program) is missing; run 'apt install initramfs-tools dmsetup'")
        }
        let number = try MappedDevice.deviceNumber("/")
        let partition: String
        if let device = try MappedDevice(path: "/") {
            guard device.name == deviceName, let known = configuration() else {
                throw VolumeError(
                    .unsuitable,
                    "the root is the device-mapper device \(device.name): it can be tracked "
                        + "without a layer, but not put on trial, because it cannot be unmounted")
            }
            partition = known.partition
        } else {
            guard let found = stablePath(of: number, in: ["by-partuuid"]) else {
                throw VolumeError(
                    .unsuitable,
                    "the root partition has no PARTUUID, so it cannot be found again at boot")
            }
            partition = found
        }
        let new = Configuration(
            partition: partition, store: try store.map { try suitableStore($0, root: number) })
        try write(new)
        do {
            try updateInitramfs(output)
        } catch {
            try? removeFiles()
            throw error
        }
        keepKernel()
        try updateMenu(output)
        return new
    }

    private static func suitableStore(_ path: String, root: UInt64) throws -> String {
        let number = try MappedDevice.deviceNumber(path)
        guard number != root else {
            throw VolumeError(.unsuitable, "\(path) is the root itself; name another partition")
        }
        if let reason = DeviceUse.wideReason(forDevice: number),
            try MappedDevice(name: LayerNames(deviceName).trialStore) == nil
        {
            throw VolumeError(.busy, "\(path) is in use (\(reason)); name another partition")
        } else {
            try StorePlace.device(path).requireEmpty()
        }
        return stablePath(of: number, in: ["by-partuuid", "by-id"]) ?? path
    }

    /// A name of the device that does not change with the order in which disks are found.
    private static func stablePath(of number: UInt64, in folders: [String]) -> String? {
        for folder in folders.map({ "/dev/disk/\($0)" }) {
            for name in (((try? Directory.names(in: folder)) ?? nil) ?? []).sorted() {
                let path = "\(folder)/\(name)"
                if let status = try? FileStatus(path: path), status.representedDevice == number {
                    return path
                }
            }
        }
        return nil
    }

    private static func write(_ configuration: Configuration) throws {
        let program = try Program.own()
        try save(Array(configuration.text.utf8), configurationPath, mode: 0o644)
        for file in files {
            let text = String(decoding: file.content, as: UTF8.self)
            let parts = text.split(separator: "@VARVE@", omittingEmptySubsequences: false)
            try save(Array(parts.joined(separator: program).utf8), file.path, mode: file.mode)
        }
        _ = try? Program.run(["systemctl", "enable", unit])
    }

    private static func save(_ bytes: [UInt8], _ path: String, mode: UInt32) throws {
        try Directory.makeAll(Directory.parent(of: path), mode: 0o755)
        try FileOperation.replace(path, with: bytes.rawSpan)
        guard unsafe chmod(path.systemBytes, mode) == 0 else { throw SystemError(.write, path) }
    }

    private static func updateInitramfs(_ output: Int32) throws {
        let status = try Program.run(
            ["update-initramfs", "-u", "-k", "all"], output: output, errors: output)
        guard status == 0 else {
            throw VolumeError(
                .failed, "update-initramfs failed (status \(status)); see its output above")
        }
    }

    /// Puts this kernel and its initramfs aside, for a start that throws a trial away.
    package static func keepKernel() {
        guard configuration()?.store != nil else { return }
        var name = utsname()
        guard unsafe uname(&name) == 0 else { return }
        let release = unsafe withUnsafeBytes(of: &name.release) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        try? Directory.makeAll(keptDirectory, mode: 0o755)
        for (from, to) in [
            ("vmlinuz-\(release)", "vmlinuz"), ("initrd.img-\(release)", "initrd.img"),
        ] {
            _ = try? Program.run(
                ["cp", "--reflink=auto", "/boot/\(from)", "\(keptDirectory)/\(to).partial"])
            _ = unsafe rename("\(keptDirectory)/\(to).partial", "\(keptDirectory)/\(to)")
        }
        _ = try? Program.run(["sync", "-f", keptDirectory])
    }

    private static func updateMenu(_ output: Int32) throws {
        guard Program.path(of: "update-grub") != nil,
            try FileStatus(path: "/boot/grub/grub.cfg") != nil
        else { return }
        _ = try Program.run(["update-grub"], output: output, errors: output)
    }

    // MARK: Remove

    /// Takes the layer out of the start of this machine; it is gone from the next one on.
    ///
    /// - Throws: ``VolumeError`` of kind `busy` while the root is on trial.
    package static func remove(states: StateDirectory, output: Int32) throws {
        if let state = try states.trial(deviceName),
            try Trial(states: states).condition(of: state) != .over
        {
            throw VolumeError(
                .busy, "the root is on trial; end the trial with 'varve trial keep /' first")
        }
        guard configuration() != nil else {
            throw VolumeError(.missing, "no layer is installed")
        }
        _ = try? Program.run(["systemctl", "disable", unit])
        try removeFiles()
        try updateInitramfs(output)
        try updateMenu(output)
    }

    private static func removeFiles() throws {
        // Until the machine is started without the layer, the menu has to be kept from naming it.
        let isLayered = startOutcome() != nil
        for path in [configurationPath] + files.map(\.path)
            + ["\(keptDirectory)/vmlinuz", "\(keptDirectory)/initrd.img"]
        where try FileStatus(path: path) != nil && !(isLayered && path == menuDefaults) {
            try FileOperation.remove(path)
        }
    }

    // MARK: Start of the machine

    /// Notes how the machine was started: what a trial has to know of it.
    ///
    /// - Returns: what is worth telling; nil when all is as it should be.
    package static func note(states: StateDirectory) throws -> String? {
        let trial = Trial(states: states)
        let outcome = startOutcome()
        defer { try? trial.refreshStamps() }
        guard let state = try states.trial(deviceName) else {
            return outcome == "discarded"
                ? "the trial of the root was discarded at boot" : nil
        }
        switch outcome {
        case "active", "discarded": return nil
        case "torn", "failed": break
        default:
            // The root is written without the trial's layer now: what is kept does not fit any more.
            guard try trial.condition(of: state) != .over else { return nil }
            // Where the store is gone there is no label, and nothing to discard.
            try? trial.setLabel(state) { $0.state = .torn }
        }
        let reason = values(of: factsPath)?["reason"] ?? "the machine was started without its layer"
        return "the trial of the root can no longer be discarded (\(reason)); end it with 'varve "
            + "trial keep /', and restore a snapshot to undo its changes"
    }
}
