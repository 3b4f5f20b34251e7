import Glibc
import LinuxIO

/// A program, found on the path, with its arguments.
struct Command {
    let arguments: [String]
    /// File that takes its standard output; the runner's log when nil.
    var output: String?
    /// Added to the runner's environment.
    var environment: [String: String] = [:]

    init(_ arguments: String..., output: String? = nil) {
        self.arguments = arguments
        self.output = output
    }

    init(_ arguments: [String], output: String? = nil) {
        self.arguments = arguments
        self.output = output
    }
}

/// What one run of one or several programs cost.
struct Measurement: Encodable {
    var wallSeconds = 0.0
    /// User and system time of the children and of theirs.
    var cpuSeconds = 0.0
    /// Most anonymous and shared memory seen at once; nil when the run was too short to look.
    var peakMemoryByteCount: UInt64?
    var memorySampleCount = 0
    /// Cores that anything else kept busy meanwhile.
    var otherBusyCores = 0.0
    /// Share of the input that was in the page cache, before and after; nil where it is not asked.
    var residentShareBefore: Double?
    var residentShareAfter: Double?
}

/// Something that went wrong, in words.
struct BenchmarkError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Starts programs, waits for them, and measures what they cost.
final class ProcessRunner {
    private let environment: [String: String]
    private let log: String

    private static let sampleNanoseconds = 10_000_000

    /// `log` takes what the programs print.
    ///
    /// Blocks SIGCHLD for the whole process, so that an end is noticed at once; create it before
    /// any thread.
    init(environment: [String: String], log: String) {
        self.environment = environment
        self.log = log
        var signals = Self.childSignals()
        sigprocmask(SIG_BLOCK, &signals, nil)
    }

    /// Runs `commands` side by side, then syncs `paths`: all of it is measured.
    func run(_ commands: [Command], thenSync paths: [String] = []) throws -> Measurement {
        var result = Measurement()
        let busyBefore = MachineLoad.busySeconds()
        let start = SystemClock.monotonicNanoseconds()
        var running: [(pid: pid_t, command: Command)] = []
        for command in commands { running.append((try spawn(command), command)) }
        let ownBefore = Self.ownSeconds()
        while true {
            try reap(&running, &result)
            if running.isEmpty { break }
            if !Self.waitForChild() { sample(running.map(\.pid), &result) }
        }
        let ownWaiting = Self.ownSeconds() - ownBefore
        let syncBefore = Self.ownSeconds()
        for path in paths { try Self.synchronize(path) }
        result.cpuSeconds += paths.isEmpty ? 0 : Self.ownSeconds() - syncBefore
        result.wallSeconds = Double(SystemClock.monotonicNanoseconds() - start) / 1e9
        let busy = MachineLoad.busySeconds() - busyBefore - result.cpuSeconds - ownWaiting
        result.otherBusyCores = max(0, busy / max(result.wallSeconds, 1e-9))
        return result
    }

    func run(_ command: Command, thenSync paths: [String] = []) throws -> Measurement {
        try run([command], thenSync: paths)
    }

    /// What `command` prints on standard output.
    func text(of command: Command) throws -> String {
        var command = command
        let path = log + ".output"
        command.output = path
        _ = try run(command)
        defer { unlink(path) }
        return Directory.text(of: path, limit: 1 << 30) ?? ""
    }

    /// Makes the content of `path` durable.
    static func synchronize(_ path: String) throws {
        let handle = try FileHandle(path, .readWrite)
        guard fsync(handle.descriptor) == 0 else { throw SystemError(.sync, path) }
    }

    // MARK: Children

    private func spawn(_ command: Command) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        let flags = O_WRONLY | O_CREAT
        posix_spawn_file_actions_addopen(
            &actions, 1, command.output ?? log,
            flags | (command.output == nil ? O_APPEND : O_TRUNC), 0o644)
        posix_spawn_file_actions_addopen(&actions, 2, log, flags | O_APPEND, 0o644)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

        var arguments: [UnsafeMutablePointer<CChar>?] = command.arguments.map { strdup($0) }
        arguments.append(nil)
        var variables: [UnsafeMutablePointer<CChar>?] =
            environment
            .merging(command.environment) { $1 }
            .map { strdup("\($0)=\($1)") }
        variables.append(nil)
        defer { for pointer in arguments + variables { free(pointer) } }
        var pid = pid_t()
        let code = posix_spawnp(
            &pid, command.arguments[0], &actions, &attributes, arguments, variables)
        guard code == 0 else {
            throw BenchmarkError(
                "cannot start \(command.arguments[0]): \(String(cString: strerror(code)))")
        }
        return pid
    }

    /// Takes the ended children away and adds what they used.
    private func reap(
        _ running: inout [(pid: pid_t, command: Command)],
        _ result: inout Measurement
    ) throws {
        for (pid, command) in running {
            var status: Int32 = 0
            var usage = rusage()
            guard wait4(pid, &status, WNOHANG, &usage) == pid else { continue }
            running.removeAll { $0.pid == pid }
            result.cpuSeconds += Self.seconds(usage)
            guard status != 0 else { continue }
            let cause =
                status & 0x7f == 0 ? "exit status \(status >> 8)" : "signal \(status & 0x7f)"
            throw BenchmarkError(
                "\(command.arguments.joined(separator: " ")): \(cause)\n\(logTail())")
        }
    }

    /// Waits for the end of any child; false when none ended within the time between two samples.
    private static func waitForChild() -> Bool {
        var signals = childSignals()
        var time = timespec(tv_sec: 0, tv_nsec: sampleNanoseconds)
        return sigtimedwait(&signals, nil, &time) > 0
    }

    private static func childSignals() -> sigset_t {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGCHLD)
        return signals
    }

    private func sample(_ pids: [pid_t], _ result: inout Measurement) {
        var sum: UInt64 = 0
        for pid in pids {
            guard let text = Directory.text(of: "/proc/\(pid)/status") else { return }
            for line in text.split(separator: "\n")
            where line.hasPrefix("RssAnon:") || line.hasPrefix("RssShmem:") {
                sum += 1024 * (UInt64(line.filter(\.isNumber)) ?? 0)
            }
        }
        // A child that has just ended shows no memory at all.
        guard sum > 0 else { return }
        result.memorySampleCount += 1
        result.peakMemoryByteCount = max(result.peakMemoryByteCount ?? 0, sum)
    }

    private static func seconds(_ usage: rusage) -> Double {
        Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
    }

    private static func ownSeconds() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return seconds(usage)
    }

    private func logTail() -> String {
        let text = Directory.text(of: log, limit: 1 << 24) ?? ""
        return text.split(separator: "\n").suffix(8).joined(separator: "\n")
    }
}
