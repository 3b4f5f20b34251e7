import ArgumentParser
import BlockModel
import Logging
import ProcessStart
import SnapshotService
import Workflows

/// Which repository a command works on.
struct RepositoryOptions: ParsableArguments {
    @Option(
        name: [.short, .customLong("repo")],
        help: "The repository's directory (or VARVE_REPOSITORY, or VARVE_REPOSITORY_FILE).")
    var repo: String?

    func location() throws -> String {
        if let location = try locationIfNamed() { return location }
        throw ServiceError(
            .usage, "no repository was given; set one with --repo or VARVE_REPOSITORY")
    }

    func locationIfNamed() throws -> String? {
        try repo ?? RepositoryLocation.named(in: ProcessStart.environment)
    }

    func open(_ output: OutputOptions) throws -> OpenRepository {
        try OpenRepository(
            location: location(), environment: ProcessStart.environment,
            logger: output.logger)
    }
}

/// How much a command says, and in which form.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print JSON, one object per line.")
    var json = false

    @Flag(name: [.short, .long], help: "Print only the requested output and errors.")
    var quiet = false

    @Flag(name: [.short, .long], help: "Print each step.")
    var verbose = false

    var logger: Logger {
        var logger = Logger(label: "varve") { _ in StandardErrorLog() }
        logger.logLevel = quiet ? .error : verbose ? .info : .warning
        return logger
    }

    /// Prints a line for people; nothing with `--json` or `--quiet`.
    func say(_ text: String) {
        if !json && !quiet { Terminal.line(text) }
    }

    /// The same of a table.
    func say(_ rows: [String]) {
        for row in rows { say(row) }
    }

    /// Says what was asked for, which `--quiet` does not hold back.
    func answer(_ text: String) {
        if !json { Terminal.line(text) }
    }

    /// Says on standard error what a list on standard output does not show.
    func note(_ text: String) {
        if !json && !quiet { Terminal.errorLine("varve: \(text)", .information) }
    }
}

/// Log messages as lines on standard error, in the form of the program's errors.
struct StandardErrorLog: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .warning

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let kind = event.level >= .warning ? "\(event.level): " : ""
        let importance: Terminal.Importance =
            event.level >= .error ? .error : event.level == .warning ? .warning : .information
        Terminal.errorLine("varve: \(kind)\(event.message)", importance)
    }
}

/// What this machine knows of its disks in use, where the environment says that it is.
enum Local {
    static let states = LocalState.directory(ProcessStart.environment)
}
