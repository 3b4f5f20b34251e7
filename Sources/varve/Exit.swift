import ArgumentParser
import BootService
import CaptureEngine
import DiskContents
import Glibc
import LinuxIO
import ObjectStore
import Repository
import RestoreEngine
import SnapshotService

/// The exit statuses of the program, and how errors map to them.
enum Exit {
    static let partial: Int32 = 3

    /// Reports `error` and ends the process.
    static func withError(_ error: any Error) -> Never {
        if error is CleanExit || isHelp(error) {
            Varve.exit(withError: error)
        }
        if let code = error as? ExitCode { exit(code.rawValue) }
        let status = status(of: error)
        if status == 2 && !(error is ServiceError) {
            let hint = Suggestion.text(for: Array(CommandLine.arguments.dropFirst()))
            Terminal.writeError(Varve.fullMessage(for: error) + "\n")
            if let hint { Terminal.writeError(hint + "\n") }
            exit(2)
        }
        report(error, about: nil)
        exit(status)
    }

    /// Says what went wrong, on standard error.
    static func report(_ error: any Error, about subject: String?) {
        // A call that a signal ended says only that there was one.
        let isSignal = Interruption.isRequested && (error as? SystemError)?.errno == EINTR
        let message = (subject.map { "\($0): " } ?? "") + (isSignal ? "interrupted" : "\(error)")
        if CommandLine.arguments.contains("--json") {
            JSONLine.writeError(ErrorMessage(code: status(of: error), message: message))
        } else {
            Terminal.writeError("varve: \(message)\n")
        }
    }

    private static func isHelp(_ error: any Error) -> Bool {
        Varve.exitCode(for: error) == .success
    }

    static func status(of error: any Error) -> Int32 {
        switch error {
        case let error as ServiceError:
            switch error.kind {
            case .usage: return 2
            case .failed: return 1
            case .noRepository: return 10
            case .locked: return 11
            case .damaged: return 13
            case .partial: return partial
            case .interrupted: return 130
            }
        case let error as RepositoryError:
            switch error.kind {
            case .noRepository: return 10
            case .locked: return 11
            case .damaged: return 13
            default: return 1
            }
        case is InterruptedError, is RestoreInterrupted, is CheckInterrupted,
            is ExtractionInterrupted, is BootInterrupted, is PruneInterrupted, is CopyInterrupted:
            return 130
        case let error as ContentsError: return error.kind == .damaged ? 13 : 1
        default:
            if Varve.exitCode(for: error) == .validationFailure { return 2 }
            return Interruption.isRequested ? 130 : 1
        }
    }
}

/// An error as JSON, on standard error.
struct ErrorMessage: Encodable {
    var messageType = "error"
    let code: Int32
    let message: String
}
