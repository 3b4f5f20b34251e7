internal import LinuxIO
package import Logging
internal import Repository

/// How long to wait while other commands lock a repository.
package struct Patience: Sendable {
    package let seconds: Int64

    package init(seconds: Int64) { self.seconds = seconds }

    /// A locked repository is an error at once.
    package static let none = Patience(seconds: 0)

    /// Runs `body`, and repeats it each second while the repository is locked by others.
    ///
    /// - Parameters:
    ///   - logger: gets the reason for the wait.
    ///   - body: the work; a failed attempt leaves nothing behind.
    /// - Returns: the result of `body`.
    /// - Throws: errors of `body`, and at the end of the wait that the repository is locked.
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
