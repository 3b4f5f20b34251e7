internal import Glibc

/// The run of this machine since it was switched on.
package enum Boot {
    /// The kernel's random id of it.
    ///
    /// Source: `random(4)`.
    package static let id = (Directory.text(of: "/proc/sys/kernel/random/boot_id") ?? "")
        .filter { !$0.isWhitespace }

    /// Refuses what needs to know the run of the machine, and what is mounted.
    ///
    /// Without it, what was written down in another run would look as if it were of this one.
    package static func requireSystem(for purpose: String) throws(SystemError) {
        guard !id.isEmpty else {
            throw SystemError(
                .open, "/proc, which \(purpose) needs (is it mounted?)", errno: ENOENT)
        }
    }

    /// Whether systemd runs this machine.
    package static var isBySystemd: Bool {
        ((try? FileStatus(path: "/run/systemd/system")) ?? nil) != nil
    }
}
