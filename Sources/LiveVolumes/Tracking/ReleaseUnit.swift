internal import LinuxIO

/// A unit of systemd that takes the layer from under a tracked device when the machine is switched off,
/// before the file system is unmounted that its store lies on: a store that is in use keeps a file system
/// from being unmounted.
///
/// It is there from the first view until tracking ends, and gone after a restart, as the layer is. Its
/// name begins with `varve.`, as that of no unit of a job does.
enum ReleaseUnit {
    private static let timeLimitSeconds = 90
    /// How often, and how far apart, the unit is begun while systemd still has the one before it.
    private static let beginCount = 20
    private static let beginIntervalMilliseconds: UInt32 = 100

    static func name(_ device: String) -> String {
        let escaped = device.utf8.map { byte -> String in
            let isPlain =
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF)
                || byte == 0x2E || byte == 0x5F || byte == 0x3A
            return isPlain
                ? String(UnicodeScalar(byte))
                : "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return "varve.tracked-\(escaped.joined()).service"
    }

    /// Begins the unit, where systemd runs the machine and the unit is not there.
    ///
    /// A machine without it is switched off all the same; only a failed unmount is told then.
    static func begin(_ state: TrackingState, _ states: StateDirectory) {
        guard Boot.isBySystemd, let place = state.mechanism.place,
            let run = Program.path(of: "systemd-run"),
            let control = Program.path(of: "systemctl"),
            let program = try? Program.own()
        else { return }
        let name = name(state.device)
        let beginning =
            [
                run, "--quiet", "--collect", "--no-block", "--unit=\(name)",
                "--description=Varve: tracking of \(state.device)",
            ]
            + properties(state.device, place, program: program, stateDirectory: states.path)
            .map { "--property=\($0)" } + ["/bin/true"]
        // One that was stopped a moment ago is still known, and keeps its name from another.
        for _ in 0..<beginCount {
            let isKnown = isKnown(state.device)
            if isKnown, (try? Program.run([control, "--quiet", "is-active", name])) == 0 { return }
            if (try? Program.run(beginning)) == 0 || !isKnown { return }
            SystemClock.sleep(milliseconds: beginIntervalMilliseconds)
        }
    }

    private static func isKnown(_ device: String) -> Bool {
        (try? FileStatus(path: "/run/systemd/transient/\(name(device))"))?.kind == .regular
    }

    static func properties(
        _ device: String,
        _ place: StorePlace,
        program: String,
        stateDirectory: String
    ) -> [String] {
        var properties = [
            "Type=oneshot", "RemainAfterExit=yes", "After=local-fs.target",
            // What LVM takes away at the end it takes away after us.
            "After=blk-availability.service",
            "Environment=\(quoted("VARVE_STATE_DIR=" + stateDirectory))",
            "ExecStop=\(quoted(program)) track release \(quoted(device))",
            // A command that is killed in its window leaves the device standing still.
            "TimeoutStopSec=\(timeLimitSeconds)", "SendSIGKILL=no",
        ]
        if case .directory(let path) = place {
            properties.append("RequiresMountsFor=\(quoted(path))")
        }
        return properties
    }

    /// Ends it: it finds that nothing is tracked any more.
    static func end(_ device: String) {
        guard Boot.isBySystemd, let program = Program.path(of: "systemctl"), isKnown(device)
        else { return }
        _ = try? Program.run([program, "--quiet", "stop", name(device)])
    }

    private static func quoted(_ text: String) -> String {
        "\""
            + text.map { character -> String in
                switch character {
                case "\\": "\\\\"
                case "\"": "\\\""
                case "$": "$$"
                default: String(character)
                }
            }.joined() + "\""
    }
}
