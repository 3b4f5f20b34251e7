internal import DiskContents
internal import Glibc
internal import LinuxIO
internal import Repository

/// Why a command failed; the kind decides the exit status.
package struct ServiceError: Error, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        case usage, failed, noRepository, locked, damaged, partial
        /// The user asked to stop.
        case interrupted
    }

    package let kind: Kind
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

extension ServiceError.Kind {
    /// The kind of failure that an error of any layer is.
    package init(_ error: any Error) {
        self =
            switch error {
            case let error as ServiceError: error.kind
            case let error as RepositoryError:
                switch error.kind {
                case .noRepository: .noRepository
                case .locked: .locked
                case .damaged: .damaged
                default: .failed
                }
            case is Interrupted: .interrupted
            case is Trust.Refusal: .usage
            case let error as ContentsError: error.kind == .damaged ? .damaged : .failed
            // What a signal ended in the middle fails in many ways.
            default: Interruption.isRequested ? .interrupted : .failed
            }
    }
}

extension ServiceError {
    /// What an error of any layer says.
    package static func text(of error: any Error) -> String {
        // A call that a signal ended says only that there was one.
        Interruption.isRequested && (error as? SystemError)?.errno == EINTR
            ? "interrupted" : "\(error)"
    }

    /// Whether nobody reads any more what a command writes to standard output.
    package static func isBrokenPipe(_ error: any Error) -> Bool {
        error as? SystemError == SystemError(.write, "standard output", errno: EPIPE)
    }
}
