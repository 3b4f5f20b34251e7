import ArgumentParser
import ProcessStart
import SnapshotService

/// The exit statuses of the program, and how errors map to them.
enum Exit {
    static let partial: Int32 = 3

    /// Reports `error` and ends the process.
    static func withError(_ error: any Error) -> Never {
        if let code = error as? ExitCode { end(code.rawValue) }
        if error is CleanExit || isHelp(error) {
            let text = Varve.fullMessage(for: error)
            if !text.isEmpty { Terminal.write(ProgramText(text)) }
            end(0)
        }
        let status = status(of: error)
        if isOfParser(error) {
            let hint = Suggestion.text(for: arguments)
            Terminal.writeError(ProgramText(usage(error)))
            if let hint { Terminal.errorLine(hint) }
            end(2)
        }
        if ServiceError.isBrokenPipe(error) { StandardStream.endByBrokenPipe() }
        if !Terminal.hasEndedCommand { report(error, about: nil) }
        end(status)
    }

    /// Ends the process, with 0 only when its output has arrived.
    static func end(_ status: Int32) -> Never {
        guard let failure = Terminal.finish() else { StandardStream.endProcess(status) }
        // What went wrong besides is what matters more.
        let isAll = status == 0 || Terminal.hasEndedCommand
        if failure == StandardStream.brokenPipe {
            if isAll { StandardStream.endByBrokenPipe() }
        } else {
            let cause =
                StandardStream.output.isOpen ? StandardStream.reason(failure) : "it is closed"
            report(OutputError(cause: cause), about: nil)
        }
        StandardStream.endProcess(isAll ? 1 : status)
    }

    /// Says how the program, or a group of its commands, is used: none was given.
    static func withoutCommand(_ command: any ParsableCommand.Type) -> Never {
        Terminal.writeError(ProgramText(Varve.helpMessage(for: command)))
        end(2)
    }

    private static var arguments: [String] { Array(ProcessStart.arguments.dropFirst()) }

    /// What the parser says, in which arguments forge no line.
    private static func usage(_ error: any Error) -> String {
        var text = Varve.fullMessage(for: error)
        for argument in arguments {
            let values = argument.split(separator: "=", maxSplits: 1).map(String.init)
            for value in [argument] + values where Terminal.printable(value) != value {
                text.replace(value, with: Terminal.printable(value))
            }
        }
        return text
    }

    /// Says what went wrong, on standard error.
    static func report(_ error: any Error, about subject: String?) {
        let message = (subject.map { "\($0): " } ?? "") + ServiceError.text(of: error)
        if arguments.prefix(while: { $0 != "--" }).contains("--json") {
            JSONLine.writeError(ErrorMessage(code: status(of: error), message: message))
        } else {
            Terminal.errorLine("varve: \(message)")
        }
    }

    private static func isHelp(_ error: any Error) -> Bool {
        Varve.exitCode(for: error) == .success
    }

    /// Whether the parser of the command line refused it.
    private static func isOfParser(_ error: any Error) -> Bool {
        Varve.exitCode(for: error) == .validationFailure
    }

    static func status(of error: any Error) -> Int32 {
        if error is OutputError { return 1 }
        if isOfParser(error) { return 2 }
        switch ServiceError.Kind(error) {
        case .failed: return 1
        case .usage: return 2
        case .partial: return partial
        case .noRepository: return 10
        case .locked: return 11
        case .damaged: return 13
        case .interrupted: return 130
        }
    }
}

/// Standard output did not take what was written.
struct OutputError: Error, CustomStringConvertible {
    let cause: String

    var description: String { "cannot write to standard output: \(cause)" }
}

/// An error as JSON, on standard error.
struct ErrorMessage: Encodable {
    var messageType = "error"
    let code: Int32
    let message: String
}
