import ArgumentParser
import BlockModel
import Configuration
import LinuxIO
import ProcessStart
import SnapshotService

/// Which configuration a command follows.
struct ConfigurationOptions: ParsableArguments {
    @Option(help: "The configuration (or VARVE_CONFIG).")
    var config: String?

    static let standardPath = "/etc/varve/varve.toml"

    var path: String {
        config ?? ProcessStart.environment["VARVE_CONFIG"] ?? Self.standardPath
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
        try Trust.require(path, as: "the configuration")
        let text: String
        do {
            text = try Directory.wholeText(of: path)
        } catch {
            throw ServiceError(
                .usage,
                "\(error); write it (see 'varve config example'), or name another with --config")
        }
        let found: Configuration
        do throws(ConfigurationError) {
            found = try Configuration(
                parsing: text, knowsTimeZone: SystemClock.knowsZone,
                knowsCalendar: { asksSystemd ? Self.isTime($0) : true })
        } catch {
            for problem in error.problems {
                if output.json {
                    JSONLine.write(
                        ProblemMessage(
                            file: path, line: problem.line, reason: problem.reason))
                } else {
                    Terminal.errorLine("\(path):\(problem.line): \(problem.reason)")
                }
            }
            throw ServiceError(
                .usage,
                "\(path) has \(Human.count(error.problems.count, "error")); nothing was done")
        }
        for job in found.jobs {
            for program in job.programs {
                try Trust.require(program: program, as: "the program of job '\(job.name)'")
            }
        }
        if isFollowed { LastConfiguration.keep(text) }
        return found
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

        func run() throws { Terminal.write(ProgramText(ExampleConfiguration.text)) }
    }
}
