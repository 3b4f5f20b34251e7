import ArgumentParser
import BlockModel
import Configuration
import FoundationEssentials
import JobService
import LinuxIO
import LiveVolumes
import Logging
import SnapshotService

/// Which configuration a command follows.
struct ConfigurationOptions: ParsableArguments {
    @Option(help: "The configuration (or VARVE_CONFIG).")
    var config: String?

    static let standardPath = "/etc/varve/varve.toml"

    var path: String {
        config ?? ProcessInfo.processInfo.environment["VARVE_CONFIG"] ?? Self.standardPath
    }

    /// Reads and validates it; what is wrong goes to standard error, a line each.
    ///
    /// - Parameters:
    ///   - output: how it is said.
    ///   - asksSystemd: whether systemd is asked for its opinion of times.
    ///   - isFollowed: whether it is the one by which jobs are run and watched.
    /// - Returns: the configuration.
    /// - Throws: ``ServiceError`` of kind `usage` where there is anything wrong with it.
    func read(
        _ output: OutputOptions,
        asksSystemd: Bool = false,
        isFollowed: Bool = false
    ) throws -> Configuration {
        let text: String
        do {
            text = try Directory.wholeText(of: path)
        } catch {
            throw ServiceError(
                .usage,
                "\(error); write it (see 'varve config example'), or name another with --config")
        }
        do throws(ConfigurationError) {
            let found = try Configuration(
                parsing: text, knowsTimeZone: SystemClock.knowsZone,
                knowsCalendar: { asksSystemd ? Self.isTime($0) : true })
            if isFollowed { LastConfiguration.keep(text) }
            return found
        } catch {
            for problem in error.problems {
                if output.json {
                    JSONLine.write(
                        ProblemMessage(
                            file: path, line: problem.line, reason: problem.reason))
                } else {
                    Terminal.writeError("\(path):\(problem.line): \(problem.reason)\n")
                }
            }
            throw ServiceError(
                .usage,
                "\(path) has \(Human.count(error.problems.count, "error")); nothing was done")
        }
    }

    /// Whether systemd takes a text for a time; where it is not installed, anything is.
    private static func isTime(_ text: String) -> Bool {
        guard let program = Program.path(of: "systemd-analyze") else { return true }
        return (try? Program.run([program, "calendar", "--", text])) == 0
    }

    func jobs(_ names: [String], _ configuration: Configuration) throws -> [Job] {
        guard !names.isEmpty else {
            guard !configuration.jobs.isEmpty else {
                throw ServiceError(.usage, "\(path) has no job")
            }
            return configuration.jobs
        }
        return try names.map { name in
            guard let job = configuration.job(name) else {
                let known = configuration.jobs.map(\.name).joined(separator: ", ")
                throw ServiceError(
                    .usage, "\(path) has no job '\(name)'; it has \(known.isEmpty ? "none" : known)"
                )
            }
            return job
        }
    }

    private struct ProblemMessage: Encodable {
        var messageType = "problem"
        let file: String
        let line: Int
        let reason: String
    }
}

extension JobRecords {
    static var standard: JobRecords {
        JobRecords(stateDirectory: StateDirectory.standard.path)
    }
}

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Look at the configuration.",
        subcommands: [CheckCommand.self, Example.self])

    struct CheckCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "check",
            abstract: "Say what is wrong with the configuration, by line.",
            discussion: "Exit status 2 says that something is.")

        @OptionGroup var configuration: ConfigurationOptions
        @OptionGroup var output: OutputOptions

        private struct Summary: Encodable {
            var messageType = "summary"
            let file: String
            let repositories: [String]
            let jobs: [String]
        }

        func run() throws {
            let found = try configuration.read(output, asksSystemd: true)
            if output.json {
                JSONLine.write(
                    Summary(
                        file: configuration.path, repositories: found.repositories.map(\.name),
                        jobs: found.jobs.map(\.name)))
            }
            output.say(
                "\(configuration.path): \(Human.count(found.repositories.count, "repository")), "
                    + "\(Human.count(found.jobs.count, "job")), nothing wrong")
        }
    }

    struct Example: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a configuration to begin with.")

        func run() throws { Terminal.write(ExampleConfiguration.text) }
    }
}

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Do jobs of the configuration: back up, forget, and what else is due.",
        discussion: """
            Of each JOB: hooks, backup of its volumes at one moment, retention, and pruning, check \
            and boot test when they are due. A job that runs already is left out (status 11).
            """)

    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The jobs (default: all).")
    var jobs: [String] = []

    @Option(
        help: ArgumentHelp(
            "How long to wait for others that use the repository, such as 30m.",
            valueName: "duration"))
    var wait = ShortDuration(seconds: 3600)

    func run() throws {
        let found = try configuration.read(output, isFollowed: true)
        var failure: (any Error)?
        var failureCount = 0
        let chosen = try configuration.jobs(jobs, found)
        for job in chosen {
            let run = JobRun(
                job, records: .standard, states: .standard,
                environment: ProcessInfo.processInfo.environment, patienceSeconds: wait.seconds,
                logger: output.logger
            ) { step in
                if output.json { return JSONLine.write(step) }
                let name = [job.name, step.step, step.volume].compactMap { $0 }
                    .joined(separator: " ")
                output.say(
                    "\(name): \(step.text)\(step.good ? "" : " (failed)"), "
                        + Human.duration(step.seconds))
            }
            do {
                try run.run()
            } catch {
                failure = error
                failureCount += 1
                Exit.report(error, about: "job '\(job.name)'")
            }
            JobWatch(configuration: found, output: output).look(at: job)
            if Interruption.isRequested { break }
        }
        let isMeasured = JobWatch(configuration: found, output: output).writeMetrics()
        guard let failure else {
            if !isMeasured { throw ExitCode(Exit.partial) }
            return
        }
        throw ExitCode(failureCount < chosen.count ? Exit.partial : Exit.status(of: failure))
    }
}

/// Alarms and metrics, after a run and between runs.
struct JobWatch {
    let configuration: Configuration
    let output: OutputOptions

    /// Tells what is new of a job; gives what is wrong with it.
    @discardableResult
    func look(at job: Job) -> [Trouble] {
        let now = SystemClock.now().seconds
        let troubles = JobHealth.troubles(
            of: job, JobRecords.standard.read(job.name),
            isRunning: JobRecords.standard.isRunning(job.name), now: now)
        Alarms(records: .standard, logger: output.logger).tell(of: job, troubles, now: now)
        return troubles
    }

    /// Writes metrics, if they are wanted; false when that failed, which was said then.
    func writeMetrics() -> Bool {
        guard let path = configuration.metricsPath else { return true }
        let now = SystemClock.now().seconds
        let jobs = configuration.jobs.map { job in
            let record = JobRecords.standard.read(job.name)
            let isRunning = JobRecords.standard.isRunning(job.name)
            return (
                job, record,
                JobHealth.troubles(of: job, record, isRunning: isRunning, now: now)
            )
        }
        do {
            let bytes = Array(Metrics(jobs).text.utf8)
            try FileOperation.replace(path, with: bytes.rawSpan, mode: 0o644)
            return true
        } catch {
            Exit.report(error, about: "metrics could not be written")
            return false
        }
    }
}

/// The last configuration in which nothing was wrong: it says who is to be told when that changes.
enum LastConfiguration {
    private static var path: String { StateDirectory.standard.path + "/configuration.toml" }

    /// Keeps it, where that is possible and it is another one than before.
    static func keep(_ text: String) {
        guard Directory.text(of: path) != text else { return }
        let bytes = Array(text.utf8)
        try? Directory.makeAll(StateDirectory.standard.path)
        try? FileOperation.replace(path, with: bytes.rawSpan)
    }

    /// Tells everybody whom it names that the one of now cannot be used.
    static func tell(_ error: any Error, _ output: OutputOptions) {
        guard let text = Directory.text(of: path), let last = try? Configuration(parsing: text)
        else { return }
        let alarms = Alarms(records: .standard, logger: output.logger)
        for job in last.jobs {
            alarms.tell(
                of: job, [Trouble("configuration", "\(error)")], now: SystemClock.now().seconds)
        }
    }
}

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Say whether all jobs are well, and why not.",
        discussion: """
            From what the last runs left, without reading repositories. Exit status 0 says that all \
            is well, 1 that something is not.
            """)

    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The jobs (default: all).")
    var jobs: [String] = []

    @Flag(help: "Tell who is to be told of what is new, and write metrics.")
    var notify = false

    private struct VolumeMessage: Encodable {
        let volume: String
        let newestSnapshot: String?
        let generation: UInt64?
        let bytesStored: UInt64
    }

    private struct Message: Encodable {
        var messageType = "job"
        let job: String
        let healthy: Bool
        let troubles: [String]
        let lastStart: String?
        let lastSuccess: String?
        let seconds: Double
        let volumes: [VolumeMessage]
        let lastPrune: String?
        let lastCheck: String?
        let lastBootTest: String?
        let repositoryBytes: UInt64?
    }

    func run() throws {
        let found: Configuration
        do {
            found = try configuration.read(output, isFollowed: notify)
        } catch {
            if notify { LastConfiguration.tell(error, output) }
            throw error
        }
        let now = SystemClock.now().seconds
        var unwell = 0
        for job in try configuration.jobs(jobs, found) {
            let record = JobRecords.standard.read(job.name)
            let watch = JobWatch(configuration: found, output: output)
            let isRunning = JobRecords.standard.isRunning(job.name)
            let troubles =
                notify
                ? watch.look(at: job)
                : JobHealth.troubles(of: job, record, isRunning: isRunning, now: now)
            if !troubles.isEmpty { unwell += 1 }
            show(job, record, troubles, now: now)
        }
        let isMeasured =
            !notify || JobWatch(configuration: found, output: output).writeMetrics()
        guard unwell == 0, isMeasured else { throw ExitCode(1) }
    }

    private func show(_ job: Job, _ record: JobRecord, _ troubles: [Trouble], now: Int64) {
        let time = { (seconds: Int64?) in seconds.map { Timestamp(seconds: $0).rfc3339 } }
        guard !output.json else {
            return JSONLine.write(
                Message(
                    job: job.name, healthy: troubles.isEmpty, troubles: troubles.map(\.text),
                    lastStart: time(record.lastStart), lastSuccess: time(record.lastSuccess),
                    seconds: record.seconds,
                    volumes: job.volumes.map { volume in
                        let last = record.volumes[volume.name.rawValue]
                        return VolumeMessage(
                            volume: volume.name.rawValue,
                            newestSnapshot: time(last?.snapshotTime),
                            generation: last?.generation, bytesStored: last?.bytesStored ?? 0)
                    },
                    lastPrune: time(record.prune.time), lastCheck: time(record.check.time),
                    lastBootTest: time(record.bootTest.time),
                    repositoryBytes: record.repositoryByteCount))
        }
        let ago = { (seconds: Int64?) in
            seconds.map { "\(JobHealth.duration(max(0, now - $0))) ago" } ?? "never"
        }
        output.say("\(troubles.isEmpty ? "green" : "RED  ")  \(job.name)")
        for trouble in troubles { output.say("       \(Terminal.printable(trouble.text))") }
        for volume in job.volumes {
            let last = record.volumes[volume.name.rawValue]
            let generation = last?.generation.map { "@\($0)" } ?? ""
            output.say(
                "       \(volume.name)\(generation): \(ago(last?.snapshotTime)), stored "
                    + Human.bytes(last?.bytesStored ?? 0))
        }
        var steps = ["last success \(ago(record.lastSuccess))"]
        if job.prune != nil { steps.append("pruned \(ago(record.prune.time))") }
        if job.check != nil { steps.append("checked \(ago(record.check.time))") }
        if job.bootTest != nil { steps.append("booted \(ago(record.bootTest.time))") }
        if let count = record.repositoryByteCount {
            steps.append("repository \(Human.bytes(count))")
        }
        output.say("       \(steps.joined(separator: ", "))")
    }
}

struct ScheduleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedule",
        abstract: "Run jobs by timers of systemd.",
        subcommands: [Install.self, ScheduleStatus.self, Remove.self])

    struct UnitOptions: ParsableArguments {
        @OptionGroup var configuration: ConfigurationOptions
        @OptionGroup var output: OutputOptions

        @Option(help: "Where units are written (default: /etc/systemd/system).")
        var unitDirectory: String?

        @Flag(inversion: .prefixedNo, help: "Tell systemd, and begin or end the timers.")
        var start = true

        func units(_ found: Configuration) -> ScheduleUnits {
            let environment = ProcessInfo.processInfo.environment
            let path = configuration.path
            var places = ScheduleUnits.Places(
                program: Directory.resolve("/proc/self/exe") ?? "/usr/bin/varve",
                configuration: Directory.resolve(path) ?? path,
                stateDirectory: StateDirectory.standard.path,
                cacheDirectory: environment["VARVE_CACHE_DIR"] ?? "/var/cache/varve")
            if let unitDirectory { places.unitDirectory = unitDirectory }
            return ScheduleUnits(found, places: places)
        }
    }

    private struct Summary: Encodable {
        var messageType = "summary"
        let action: String
        let units: [String]
    }

    struct Install: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write units for the jobs that have a schedule, and begin their timers.")

        @OptionGroup var options: UnitOptions

        func run() throws {
            let found = try options.configuration.read(options.output, asksSystemd: true)
            let names = try options.units(found).install(isStarting: options.start)
            if options.output.json { JSONLine.write(Summary(action: "install", units: names)) }
            for name in names { options.output.say("wrote \(name)") }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End the timers, and remove the units that were written.")

        @OptionGroup var options: UnitOptions

        func run() throws {
            // What is to be removed is known by itself, whatever became of the configuration.
            let names = try options.units(Configuration()).remove(isStarting: options.start)
            if options.output.json { JSONLine.write(Summary(action: "remove", units: names)) }
            for name in names { options.output.say("removed \(name)") }
            if names.isEmpty { options.output.say("nothing was installed") }
        }
    }

    struct ScheduleStatus: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "status", abstract: "Show the units, and when the timers are next due.")

        @OptionGroup var options: UnitOptions

        private struct Status: Encodable {
            var messageType = "summary"
            var action = "status"
            let units: [String]
            let missing: [String]
            let ofNoJob: [String]
            let outdated: [String]
        }

        func run() throws {
            let found = try options.configuration.read(options.output)
            let units = options.units(found)
            let installed = try units.installed()
            let wanted = units.units.map(\.name)
            let outdated = try units.outdated()
            if options.output.json {
                JSONLine.write(
                    Status(
                        units: installed, missing: wanted.filter { !installed.contains($0) },
                        ofNoJob: installed.filter { !wanted.contains($0) }, outdated: outdated))
            }
            for name in outdated {
                options.output.say(
                    "\(name) is not what the configuration says now; run 'varve schedule install'")
            }
            for name in wanted where !installed.contains(name) {
                options.output.say("\(name) is missing; run 'varve schedule install'")
            }
            for name in installed where !wanted.contains(name) {
                options.output.say("\(name) is of no job any more; run 'varve schedule install'")
            }
            let timers = installed.filter { $0.hasSuffix(".timer") }
            if options.start, !options.output.json, !timers.isEmpty,
                let program = Program.path(of: "systemctl")
            {
                _ = try Program.run(
                    [program, "--no-pager", "list-timers", "--all"] + timers, output: 1, errors: 2)
            }
            guard Set(installed) == Set(wanted), outdated.isEmpty else { throw ExitCode(1) }
        }
    }
}
