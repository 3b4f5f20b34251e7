import ArgumentParser
import BlockModel
import Configuration
import JobService
import ProcessStart
import SnapshotService

/// Which configuration a command follows.
struct ConfigurationOptions: ParsableArguments {
    @Option(help: "The configuration file (or VARVE_CONFIG).")
    var config: String?

    var path: String {
        config ?? ProcessStart.environment["VARVE_CONFIG"] ?? ConfigurationFile.standardPath
    }

    var file: ConfigurationFile { ConfigurationFile(path, states: Local.states) }

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
        do {
            return try file.read(asksSystemd: asksSystemd, isFollowed: isFollowed)
        } catch let error as ConfigurationError {
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
        commandName: "config", abstract: "Check the configuration.",
        subcommands: [CheckCommand.self, Example.self])

    struct CheckCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "check",
            abstract: "Report errors in the configuration, with line numbers.",
            discussion: "Exit status 2 means that there are errors.")

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
                    + "\(Human.count(found.jobs.count, "job")), no errors")
        }
    }

    struct Example: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print an example configuration.")

        func run() throws { Terminal.write(ProgramText(ExampleConfiguration.text)) }
    }
}
