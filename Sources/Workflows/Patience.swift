internal import LinuxIO
package import Logging
internal import Repository

/// For how long is waited while others use a repository in a way that excludes a command.
package struct Patience: Sendable {
    package let seconds: Int64

    package init(seconds: Int64) { self.seconds = seconds }

    /// What others have locked is an error at once.
    package static let none = Patience(seconds: 0)

    /// Runs `body`, and again each second while it fails because others have locked the repository.
    ///
    /// - Parameters:
    ///   - logger: hears why it waits.
    ///   - body: the work; nothing is left of what failed.
    /// - Returns: what `body` gives.
    /// - Throws: what `body` throws, and in the end that the repository is locked.
    package func run<Result>(logger: Logger, _ body: () throws -> Result) throws -> Result {
        let end = SystemClock.monotonicNanoseconds() + UInt64(max(0, seconds)) * 1_000_000_000
        while true {
            do {
                return try body()
            } catch let error as RepositoryError
                where error.kind == .locked && SystemClock.monotonicNanoseconds() < end
                && !Interruption.isRequested
            {
                logger.info("\(error)")
                SystemClock.sleep(milliseconds: 1000)
            }
        }
    }
}
