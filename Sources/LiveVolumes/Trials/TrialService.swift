internal import BlockModel
internal import LinuxIO

/// The unit of systemd that puts trials of data volumes to rest when the machine ends, where none of
/// `varve layer install` does.
enum TrialService {
    /// The name of no unit of a job, which begins with `varve-`.
    private static let name = "varve.trial-rest.service"
    /// Gone after a restart, as the layers are.
    private static let path = "/run/systemd/system/\(name)"

    /// Starts it, where systemd runs; without it a trial does not outlive a restart.
    static func start(_ states: StateDirectory) {
        guard BootLayer.configuration() == nil,
            ((try? FileStatus(path: Directory.parent(of: path))) ?? nil) != nil,
            let program = try? Program.own()
        else { return }
        let text = String(decoding: PackageResources.varve_trial_service, as: UTF8.self)
            .split(separator: "@VARVE@", omittingEmptySubsequences: false)
            .joined(separator: program)
            .split(separator: "@STATES@", omittingEmptySubsequences: false)
            .joined(separator: states.path)
        if Directory.text(of: path) != text {
            let bytes = Array(text.utf8)
            guard (try? FileOperation.replace(path, with: bytes.rawSpan)) != nil else { return }
            _ = try? Program.run(["systemctl", "daemon-reload"])
        }
        _ = try? Program.run(["systemctl", "start", "--no-block", name])
    }
}
