internal import Glibc
internal import LinuxIO
internal import SnapshotService

/// A program that the configuration names.
package struct UserCommand {
    let arguments: [String]
    let timeLimitSeconds: Int64
    /// Whether it is ended when this process is asked to stop.
    var isInterruptible = true

    /// Runs it to its end; what it says goes to this process's standard error.
    ///
    /// - Parameters:
    ///   - environment: what it has beside the environment of this process.
    ///   - input: what it reads from its standard input.
    ///   - log: a file that gets what it says instead.
    /// - Throws: ``ServiceError`` when it fails, or takes too long.
    func run(
        environment: [String: String],
        input: String = "",
        log: Int32 = STDERR_FILENO
    ) throws {
        let name = arguments.first ?? ""
        // What somebody else named has to be one that others cannot change.
        try Trust.require(program: arguments, as: "the program")
        let child = try withExtendedLifetime(Pipe.giving(Array(input.utf8))) { pipe in
            try ChildProcess(
                arguments, environment: environment, input: pipe.descriptor, output: log,
                errors: log, isLeader: true)
        }
        let end = SystemClock.monotonicNanoseconds() + UInt64(timeLimitSeconds) * 1_000_000_000
        var isLate = false
        var isInterrupted = false
        while child.poll() == nil {
            isLate = SystemClock.monotonicNanoseconds() > end
            isInterrupted = isInterruptible && Interruption.isRequested
            if isLate || isInterrupted {
                child.end()
                break
            }
            SystemClock.sleep(milliseconds: 20)
        }
        if isInterrupted { throw Interrupted() }
        guard !isLate else {
            throw ServiceError(
                .failed,
                "\(name) took longer than \(JobHealth.duration(timeLimitSeconds)) and was "
                    + "ended")
        }
        let status = child.wait()
        guard status == 0 else {
            throw ServiceError(.failed, "\(name) failed with status \(status)")
        }
    }
}
