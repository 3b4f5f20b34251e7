/// The run of this machine since it was switched on.
package enum Boot {
    /// The kernel's random id of it.
    ///
    /// Source: `random(4)`.
    package static let id = (Directory.text(of: "/proc/sys/kernel/random/boot_id") ?? "")
        .filter { !$0.isWhitespace }

    /// Whether systemd runs this machine.
    package static var isBySystemd: Bool {
        ((try? FileStatus(path: "/run/systemd/system")) ?? nil) != nil
    }
}
