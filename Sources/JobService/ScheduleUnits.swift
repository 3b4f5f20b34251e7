internal import BlockModel
package import Configuration
internal import Glibc
internal import LinuxIO
package import LiveVolumes
internal import SnapshotService

/// Units of systemd that run the jobs of a configuration.
///
/// A job that has a schedule gets `varve-JOB.service` and `varve-JOB.timer`; all together get
/// `varve-watch.service` and `varve-watch.timer`, which look for silence and failures every ten minutes.
package struct ScheduleUnits {
    /// What a unit may write to, beside what the configuration names.
    package struct Places: Hashable, Sendable {
        package var program: String
        package var configuration: String
        package var unitDirectory = "/etc/systemd/system"
        package var stateDirectory: String
        package var cacheDirectory: String

        package init(
            program: String,
            configuration: String,
            stateDirectory: String,
            cacheDirectory: String
        ) {
            self.program = program
            self.configuration = configuration
            self.stateDirectory = stateDirectory
            self.cacheDirectory = cacheDirectory
        }
    }

    /// The first line of every unit that is written, by which it is known again.
    static let mark = markBeginning + ", which also replaces and removes it."
    /// How it begins in every version.
    private static let markBeginning = "# Written by 'varve schedule install'"

    private let configuration: Configuration
    private let places: Places

    /// Those of this machine.
    ///
    /// - Parameters:
    ///   - configuration: what the units are made from.
    ///   - path: where it is.
    ///   - states: where volumes' states are kept.
    ///   - environment: that of the process.
    ///   - unitDirectory: where units are written; nil for the standard.
    /// - Throws: when it is not known where this program is.
    package init(
        _ configuration: Configuration,
        at path: String,
        states: StateDirectory,
        environment: [String: String],
        unitDirectory: String?
    ) throws {
        var places = Places(
            program: try Program.own(), configuration: Directory.resolve(path) ?? path,
            stateDirectory: states.path,
            cacheDirectory: environment["VARVE_CACHE_DIR"] ?? "/var/cache/varve")
        if let unitDirectory { places.unitDirectory = unitDirectory }
        self.init(configuration, places: places)
    }

    /// Lets systemd say on standard output when timers are next due, where it is installed.
    package static func showTimers(_ names: [String]) throws {
        guard let program = Program.path(of: "systemctl") else { return }
        let status = try Program.run(
            [program, "--no-pager", "list-timers", "--all"] + names, output: 1, errors: 2)
        guard status == 0 else {
            throw ServiceError(
                .failed, "systemd did not report when the timers are due; is it running?")
        }
    }

    package init(_ configuration: Configuration, places: Places) {
        self.configuration = configuration
        self.places = places
    }

    private var jobs: [Job] { configuration.jobs.filter { $0.schedule != nil } }

    /// Each unit's name and text.
    package var units: [(name: String, text: String)] {
        guard !jobs.isEmpty else { return [] }
        var units: [(name: String, text: String)] = []
        for job in jobs {
            units.append(("varve-\(job.name).service", service(of: job)))
            units.append(("varve-\(job.name).timer", timer(of: job)))
        }
        units.append(("varve-watch.service", watchService))
        units.append(("varve-watch.timer", watchTimer))
        return units
    }

    /// Units that are begun and kept: the timers.
    package var timers: [String] { units.map(\.name).filter { $0.hasSuffix(".timer") } }

    private func service(of job: Job) -> String {
        var lines = [
            Self.mark, "[Unit]", "Description=Varve: job \(job.name)",
            "After=local-fs.target",
            "RequiresMountsFor=\(Self.quoted(job.repository.path))", "",
            "[Service]", "Type=oneshot",
            "ExecStart=\(execution("run", Self.quoted(job.name, isCommand: true)))",
            // A first backup may take long.
            "TimeoutStartSec=infinity", "TimeoutStopSec=5min", "KillSignal=SIGTERM",
            "SuccessExitStatus=130", "RuntimeDirectory=varve-\(job.name)",
        ]
        lines += confinement(
            writing: [job.repository.path] + job.volumes.compactMap(\.store),
            // Disks are read, frozen and mapped; files of all users are read.
            capabilities: [
                "SYS_ADMIN", "SYS_RAWIO", "SYS_NICE", "IPC_LOCK", "DAC_OVERRIDE",
                "DAC_READ_SEARCH", "FOWNER", "CHOWN", "SETUID", "SETGID", "KILL", "MKNOD",
            ])
        // What others see in /tmp is hidden from the unit unless the job is about it.
        let paths = [places.configuration, job.repository.path] + job.volumes.map(\.source)
        let isInTemporary = paths.contains { $0.hasPrefix("/tmp/") || $0.hasPrefix("/var/tmp/") }
        lines.append("PrivateTmp=\(isInTemporary ? "no" : "yes")")
        // A machine that is emulated is translated into code in memory.
        lines.append("MemoryDenyWriteExecute=\(job.bootTest == nil ? "yes" : "no")")
        if job.limits.nice > 0 { lines.append("Nice=\(job.limits.nice)") }
        if job.limits.isIdle { lines.append("IOSchedulingClass=idle") }
        if let percent = job.limits.cpuPercent { lines.append("CPUQuota=\(percent)%") }
        return lines.joined(separator: "\n") + "\n"
    }

    private func timer(of job: Job) -> String {
        var lines = [
            Self.mark, "[Unit]", "Description=Varve: timer of job \(job.name)", "", "[Timer]",
        ]
        lines += job.schedule?.calendar.map { "OnCalendar=\($0)" } ?? []
        // What was missed while the machine was off is caught up with once.
        lines += [
            "Persistent=true", "RandomizedDelaySec=\(job.schedule?.randomizedDelaySeconds ?? 0)",
        ]
        lines += ["AccuracySec=1s", "", "[Install]", "WantedBy=timers.target"]
        return lines.joined(separator: "\n") + "\n"
    }

    private var watchService: String {
        // The kernel tells those only how tracked volumes stand who may do everything with devices; this
        // unit reaches nothing but the device that answers such questions.
        let isTracking = configuration.jobs.contains { $0.volumes.contains(where: \.isTracked) }
        var lines = [
            Self.mark, "[Unit]", "Description=Varve: check that backups are healthy", "",
            "[Service]", "Type=oneshot", "ExecStart=\(execution("status", "--notify --quiet"))",
            // That something is wrong was told; it is no failure of this unit.
            "SuccessExitStatus=1", "TimeoutStartSec=10min", "PrivateTmp=yes",
            "MemoryDenyWriteExecute=yes",
        ]
        lines +=
            isTracking
            ? ["DevicePolicy=closed", "DeviceAllow=/dev/mapper/control rw"]
            : ["PrivateDevices=yes"]
        // What tells people may belong to another user.
        lines += confinement(
            writing: [],
            capabilities: [
                "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "CHOWN", "SETUID", "SETGID",
                "KILL",
            ] + (isTracking ? ["SYS_ADMIN"] : []))
        return lines.joined(separator: "\n") + "\n"
    }

    private var watchTimer: String {
        [
            Self.mark, "[Unit]", "Description=Varve: timer of the backup check", "",
            "[Timer]", "OnCalendar=*:0/10", "AccuracySec=1min", "", "[Install]",
            "WantedBy=timers.target", "",
        ].joined(separator: "\n")
    }

    private func execution(_ command: String, _ rest: String) -> String {
        "\(Self.quoted(places.program, isCommand: true)) \(command) --config "
            + "\(Self.quoted(places.configuration, isCommand: true)) \(rest)"
    }

    /// What keeps a unit from doing more than backups need.
    private func confinement(writing: [String], capabilities: [String]) -> [String] {
        var paths = [places.stateDirectory, places.cacheDirectory] + writing
        if let metrics = configuration.metricsPath { paths.append(Directory.parent(of: metrics)) }
        var lines = [
            "Environment=VARVE_STATE_DIR=\(Self.quoted(places.stateDirectory))",
            "Environment=VARVE_CACHE_DIR=\(Self.quoted(places.cacheDirectory))",
            "UMask=0077", "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=read-only",
            "ProtectHostname=yes", "ProtectClock=yes", "ProtectKernelLogs=yes",
            "ProtectControlGroups=yes", "ProtectKernelModules=yes", "ProtectKernelTunables=yes",
            "RestrictNamespaces=yes", "LockPersonality=yes", "RestrictRealtime=yes",
            "RestrictSUIDSGID=yes", "SystemCallArchitectures=native",
            "SystemCallFilter=~@clock @cpu-emulation @obsolete @reboot @swap",
            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
            "CapabilityBoundingSet=" + capabilities.map { "CAP_" + $0 }.joined(separator: " "),
        ]
        for path in paths { lines.append("ReadWritePaths=-\(Self.quoted(path))") }
        return lines
    }

    /// A word of a unit's line, in which nothing is expanded: in that of a command, variables would be too.
    static func quoted(_ text: String, isCommand: Bool = false) -> String {
        let escaped = text.unicodeScalars.map { scalar -> String in
            switch scalar {
            case "\\": return "\\\\"
            case "\"": return "\\\""
            case "%": return "%%"
            case "$": return isCommand ? "$$" : "$"
            default:
                let carried = ByteString(carrying: String(scalar))
                // systemd reads bytes that are no text in this form.
                guard carried.isUTF8, !scalar.properties.isWhitespace || scalar == " " else {
                    return carried.bytes.map { byte in
                        "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
                    }.joined()
                }
                return String(scalar)
            }
        }.joined()
        let isPlain = escaped.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0 & 0xDF) || $0 == 0x2F
                || $0 == 0x5F || $0 == 0x2D || $0 == 0x2E || $0 == 0x40
        }
        return isPlain && !escaped.isEmpty ? escaped : "\"\(escaped)\""
    }

    // MARK: Installing

    /// Writes the units, removes those of jobs that are gone, and begins the timers.
    ///
    /// - Parameter isStarting: whether systemd is told; not where another system is prepared.
    /// - Returns: the units that were written.
    /// - Throws: ``SystemError``, and ``ServiceError`` when systemd refuses something.
    package func install(isStarting: Bool) throws -> [String] {
        guard !jobs.isEmpty else {
            throw ServiceError(
                .failed,
                "no job has a schedule; add one, such as [jobs.NAME.schedule] with "
                    + "on-calendar = \"hourly\"")
        }
        try refuseForeign()
        try verify()
        let wanted = Set(units.map(\.name))
        try remove(installed().filter { !wanted.contains($0) }, isStarting: isStarting)
        // What a unit may write to has to be there when it begins.
        for directory in [places.unitDirectory, places.stateDirectory, places.cacheDirectory] {
            try Directory.makeAll(directory)
        }
        for (name, text) in units {
            let bytes = Array(text.utf8)
            try FileOperation.replace(
                "\(places.unitDirectory)/\(name)", with: bytes.rawSpan, mode: 0o644)
        }
        if isStarting {
            try Self.systemctl(["daemon-reload"])
            try Self.systemctl(["enable", "--now"] + timers)
        }
        return units.map(\.name)
    }

    /// Refuses to replace units that somebody else wrote.
    private func refuseForeign() throws {
        let ours = Set(try installed())
        for (name, _) in units where !ours.contains(name) {
            let path = "\(places.unitDirectory)/\(name)"
            guard try FileStatus(path: path) != nil else { continue }
            throw ServiceError(
                .failed,
                "\(path) exists and was not written by 'varve schedule install'; rename the job or "
                    + "the unit")
        }
    }

    /// Refuses units that systemd would not take, before any is replaced.
    private func verify() throws {
        guard let program = Program.path(of: "systemd-analyze") else { return }
        let folder = try PrivateDirectory()
        for (name, text) in units {
            let bytes = Array(text.utf8)
            try FileOperation.replace("\(folder.path)/\(name)", with: bytes.rawSpan)
        }
        let log = try FileHandle(folder.path + "/log", .create)
        let status = try Program.run(
            [program, "verify", "--man=no"] + units.map { "\(folder.path)/\($0.name)" },
            output: log.descriptor, errors: log.descriptor)
        guard status == 0 else {
            let said = Directory.text(of: folder.path + "/log") ?? ""
            throw ServiceError(
                .failed,
                "systemd rejected the units, and none were written: "
                    + said.split(separator: "\n").joined(separator: "; "))
        }
    }

    /// Installed units that are not what would be written now.
    package func outdated() throws -> [String] {
        let wanted = Dictionary(uniqueKeysWithValues: units)
        return try installed().filter { name in
            wanted[name].map {
                $0 != Directory.text(of: "\(places.unitDirectory)/\(name)")
            } ?? false
        }
    }

    /// Ends the timers and removes all units that were written; gives their names.
    package func remove(isStarting: Bool) throws -> [String] {
        let names = try installed()
        try remove(names, isStarting: isStarting)
        return names
    }

    private func remove(_ names: [String], isStarting: Bool) throws {
        guard !names.isEmpty else { return }
        if isStarting {
            try Self.systemctl(["disable", "--now"] + names.filter { $0.hasSuffix(".timer") })
        }
        for name in names { try FileOperation.remove("\(places.unitDirectory)/\(name)") }
        if isStarting { try Self.systemctl(["daemon-reload"]) }
    }

    /// Units that were written before.
    package func installed() throws -> [String] {
        try (Directory.names(in: places.unitDirectory) ?? []).filter { name in
            guard name.hasPrefix("varve-"), name.hasSuffix(".service") || name.hasSuffix(".timer"),
                let text = Directory.text(of: "\(places.unitDirectory)/\(name)")
            else { return false }
            return text.hasPrefix(Self.markBeginning)
        }.sorted()
    }

    private static func systemctl(_ arguments: [String]) throws {
        guard !arguments.isEmpty, let program = Program.path(of: "systemctl") else {
            throw ServiceError(
                .failed, "there is no systemctl; this system does not run systemd")
        }
        let status = try Program.run([program] + arguments, errors: STDERR_FILENO)
        guard status == 0 else {
            throw ServiceError(
                .failed, "systemctl \(arguments.joined(separator: " ")) failed with \(status)")
        }
    }
}
