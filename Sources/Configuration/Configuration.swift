package import BlockModel
package import Retention

/// What `varve.toml` says: repositories, jobs, and where metrics go.
package struct Configuration: Hashable, Sendable {
    /// A place where snapshots are kept.
    package struct Repository: Hashable, Sendable {
        package let name: String
        package let path: String
    }

    /// In order of their names.
    package var repositories: [Repository] = []
    /// In the order of the file.
    package var jobs: [Job] = []
    /// The file that gets metrics in the text format of Prometheus.
    package var metricsPath: String?

    /// One that wants nothing.
    package init() {}

    package func job(_ name: String) -> Job? { jobs.first { $0.name == name } }
}

/// One thing that `varve run` does: some volumes, backed up together, thinned out and looked after.
package struct Job: Hashable, Sendable {
    /// The unit of a job is called `varve-NAME`, as are that which looks after all jobs and that of
    /// `varve layer install`.
    package static let reservedNames: Set<String> = ["layer", "watch"]

    /// A disk, and what it is called in the repository.
    package struct Volume: Hashable, Sendable {
        package let name: VolumeName
        package let source: String
        /// Whether it is tracked from the first run on.
        package var isTracked = false
        /// Where is kept what is overwritten; nil where nothing has to be.
        package var store: String?
        package var storeByteCount: UInt64?
        package var allowsUse = false
    }

    /// When the job is run.
    package struct Schedule: Hashable, Sendable {
        /// Times in the words of systemd.time(7).
        package var calendar: [String] = []
        package var randomizedDelaySeconds: Int64 = 0
    }

    package struct Retention: Hashable, Sendable {
        package var policy = RetentionPolicy()
        package var timeZone: String?
    }

    package struct Prune: Hashable, Sendable {
        package var everySeconds: Int64 = 86_400
        /// As `varve prune --max-unused` takes it.
        package var maxUnused = "5%"
        package var maxRepackByteCount: UInt64?
        /// Whether small packs are written together.
        package var repacksSmallPacks = true
    }

    package struct Check: Hashable, Sendable {
        package var everySeconds: Int64 = 7 * 86_400
        /// Percent of the packs that are read.
        package var percent = 5.0
    }

    package struct BootTest: Hashable, Sendable {
        package var everySeconds: Int64 = 30 * 86_400
        package var volume: VolumeName
        package var expect: String?
        /// Whether a screen that stays the same is a proof too.
        package var acceptsStableScreen = false
        package var timeoutSeconds: Int64 = 300
        /// Of the machine that is emulated; nil is what `boot-test` takes when nothing is said.
        package var memoryByteCount: UInt64?
    }

    /// Commands of the user, each a program with its arguments.
    package struct Hooks: Hashable, Sendable {
        package var before: [[String]] = []
        package var after: [[String]] = []
        package var onFailure: [[String]] = []
        package var timeLimitSeconds: Int64 = 300
    }

    package struct Limits: Hashable, Sendable {
        package var nice = 0
        /// Whether disks serve others first.
        package var isIdle = false
        package var threads: Int?
        /// Bytes a second that are written to, and read from, the repository.
        package var bandwidth: UInt64?
        /// Percent of one processor that the job's unit gets at most.
        package var cpuPercent: Int?
    }

    /// Who is told of failures, and of silence.
    package struct Alarm: Hashable, Sendable {
        /// Silence that a job with a schedule may keep when nothing is said: whoever backs up less often
        /// says so.
        package static let standardAgeSeconds: Int64 = 7 * 86_400

        package var command: [String] = []
        package var webhook: String?
        /// A volume without a snapshot for longer is not well.
        package var maximumAgeSeconds: Int64?
    }

    /// All programs that it names, with their arguments.
    package var programs: [[String]] {
        hooks.before + hooks.after + hooks.onFailure + [alarm.command].filter { !$0.isEmpty }
    }

    package let name: String
    package let repository: Configuration.Repository
    package var volumes: [Volume] = []
    package var tags: [String] = []
    package var schedule: Schedule?
    package var retention: Retention?
    package var prune: Prune?
    package var check: Check?
    package var bootTest: BootTest?
    package var hooks = Hooks()
    package var limits = Limits()
    package var alarm = Alarm()

    package init(name: String, repository: Configuration.Repository) {
        self.name = name
        self.repository = repository
    }
}

/// Something wrong with a configuration.
package struct ConfigurationProblem: Hashable, Sendable, CustomStringConvertible {
    package let line: Int
    package let reason: String

    package var description: String { "line \(line): \(reason)" }
}

/// A configuration that is not used, with everything that is wrong with it.
package struct ConfigurationError: Error {
    package let problems: [ConfigurationProblem]
}
