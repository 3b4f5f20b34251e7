internal import BlockModel
package import Configuration
internal import LinuxIO
package import LiveVolumes
package import Logging
internal import SnapshotService

/// The configuration that the administrator wrote, and the last one in which nothing was wrong.
package struct ConfigurationFile {
    /// Where it is if nothing else is said.
    package static let standardPath = standardDirectory + "/varve.toml"
    package static let standardDirectory = "/etc/varve"

    package let path: String
    private let states: StateDirectory

    package init(_ path: String, states: StateDirectory) {
        self.path = path
        self.states = states
    }

    /// Reads and validates it.
    ///
    /// - Parameters:
    ///   - asksSystemd: whether systemd is asked for its opinion of times.
    ///   - isFollowed: whether it is the one by which jobs are run and watched.
    /// - Returns: the configuration.
    /// - Throws: `ConfigurationError` with all that is wrong in it; ``ServiceError`` of kind `usage` where it
    ///   cannot be read; `Trust.Refusal` where others can change it, or a program that it names.
    package func read(asksSystemd: Bool, isFollowed: Bool) throws -> Configuration {
        try Trust.require(path, as: "the configuration")
        let text: String
        do {
            text = try Directory.wholeText(of: path)
        } catch {
            throw ServiceError(
                .usage,
                "\(error); create it (see 'varve config example'), or name another file with "
                    + "--config")
        }
        let found = try Configuration(
            parsing: text, knowsTimeZone: SystemClock.knowsZone,
            knowsCalendar: { asksSystemd ? Self.isTime($0) : true })
        for job in found.jobs {
            for program in job.programs {
                try Trust.require(program: program, as: "the program of job '\(job.name)'")
            }
        }
        if isFollowed { keep(text) }
        return found
    }

    /// Whether systemd takes a text for a time; where it is not installed, anything is.
    private static func isTime(_ text: String) -> Bool {
        guard let program = Program.path(of: "systemd-analyze") else { return true }
        return (try? Program.run([program, "calendar", "--", text])) == 0
    }

    /// The jobs that are named, in that order; all of them if there is no name.
    ///
    /// - Throws: ``ServiceError`` of kind `usage` where there is no such job.
    package func jobs(_ names: [String], of configuration: Configuration) throws -> [Job] {
        guard !names.isEmpty else {
            guard !configuration.jobs.isEmpty else {
                throw ServiceError(.usage, "\(path) has no jobs")
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

    // MARK: The last one that was right

    /// It says who is to be told when that changes.
    private var lastPath: String { states.path + "/configuration.toml" }

    /// Keeps it, where that is possible and it is another one than before.
    private func keep(_ text: String) {
        guard Directory.text(of: lastPath) != text else { return }
        let bytes = Array(text.utf8)
        try? Directory.makeAll(states.path)
        try? FileOperation.replace(lastPath, with: bytes.rawSpan)
    }

    /// Tells everybody whom the last one names that the one of now cannot be used.
    package func tell(_ error: any Error, logger: Logger) {
        guard (try? states.requireTrusted()) != nil, let text = Directory.text(of: lastPath),
            let last = try? Configuration(parsing: text)
        else { return }
        let alarms = Alarms(records: JobRecords(stateDirectory: states.path), logger: logger)
        for job in last.jobs {
            alarms.tell(
                of: job, [Trouble("configuration", "\(error)")], now: SystemClock.now().seconds)
        }
    }
}
