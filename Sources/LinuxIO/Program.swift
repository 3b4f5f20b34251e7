internal import CShims
internal import Glibc

/// Other programs.
package enum Program {
    /// Where a program is, on the path of the system's administration; nil when it is not installed.
    package static func path(of name: String) -> String? {
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map { "\($0)/\(name)" }
            .first { unsafe access($0.systemBytes, X_OK) == 0 }
    }

    /// Where this program is.
    ///
    /// - Throws: ``SystemError`` when that cannot be found out: it was removed, or run by a path that leads
    ///   nowhere from here, and `/proc` is not mounted.
    package static func own() throws(SystemError) -> String {
        let link = "/proc/self/exe"
        if let path = Directory.resolve(link), unsafe access(path.systemBytes, X_OK) == 0 {
            return path
        }
        // Source: `getauxval(3)`.
        let executed = unsafe varve_executed_path().map { unsafe String(fromSystem: $0) }
        guard let path = executed.flatMap(Directory.resolve) else { throw SystemError(.open, link) }
        return path
    }

    /// Where a file is that is installed with this program: beside it, or in `../lib/varve`; nil when it is
    /// not there.
    package static func companion(_ name: String) -> String? {
        let folder = Directory.parent(of: (try? own()) ?? "/usr/bin/varve")
        return [folder, "\(folder)/../lib/varve", "\(folder)/../lib"].map { "\($0)/\(name)" }
            .first { unsafe access($0.systemBytes, R_OK) == 0 }
    }

    /// Runs a program to its end; gives its status, 128 and the signal when one ended it.
    ///
    /// What it says goes to `output`, a descriptor; nowhere when that is nil. A `file` is given to it
    /// as ``ChildProcess/fileDescriptor``; it gets no other descriptors.
    package static func run(
        _ arguments: [String],
        output: Int32? = nil,
        errors: Int32? = nil,
        file: Int32? = nil
    ) throws(SystemError) -> Int32 {
        let process = try spawn(
            arguments, output: output, errors: errors, file: file, isDetached: false)
        var status: Int32 = 0
        while unsafe waitpid(process, &status, 0) < 0 {
            guard errno == EINTR else { throw SystemError(.start, arguments[0]) }
        }
        return exitStatus(status)
    }

    fileprivate static func exitStatus(_ status: Int32) -> Int32 {
        status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
    }

    /// Starts a program in a session of its own: no terminal's end reaches it.
    package static func start(_ arguments: [String]) throws(SystemError) {
        _ = try spawn(arguments, output: nil, errors: nil, isDetached: true)
    }

    fileprivate static func spawn(
        _ arguments: [String],
        environment more: [String: String] = [:],
        input: Int32? = nil,
        output: Int32?,
        errors: Int32?,
        file: Int32? = nil,
        isDetached: Bool
    ) throws(SystemError) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { _ = unsafe posix_spawn_file_actions_destroy(&actions) }
        for (descriptor, given) in [
            (STDIN_FILENO, input), (STDOUT_FILENO, output), (STDERR_FILENO, errors),
        ] {
            if let given, isUsable(given, writing: descriptor != STDIN_FILENO) {
                unsafe posix_spawn_file_actions_adddup2(&actions, given, descriptor)
            } else {
                unsafe posix_spawn_file_actions_addopen(
                    &actions, descriptor, "/dev/null",
                    descriptor == STDIN_FILENO ? O_RDONLY : O_WRONLY, 0)
            }
        }
        // Whatever else is open here, by this program or a library, is nobody else's.
        if let file {
            unsafe posix_spawn_file_actions_adddup2(&actions, file, ChildProcess.fileDescriptor)
        }
        let code = unsafe varve_spawn_close_from(
            &actions, file == nil ? STDERR_FILENO + 1 : ChildProcess.fileDescriptor + 1)
        guard code == 0 else { throw SystemError(.start, arguments[0], errno: code) }
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { _ = unsafe posix_spawnattr_destroy(&attributes) }
        // POSIX_SPAWN_SETSID, which the header shows to GNU sources only.
        if isDetached { _ = unsafe posix_spawnattr_setflags(&attributes, 0x80) }
        var process = pid_t()
        var pointers = unsafe arguments.map { unsafe strdup($0.systemBytes) } + [nil]
        defer { while let pointer = unsafe pointers.popLast() { unsafe free(pointer) } }
        var variables = unsafe variables(and: more).map { unsafe strdup($0.systemBytes) } + [nil]
        defer { while let pointer = unsafe variables.popLast() { unsafe free(pointer) } }
        let result = unsafe posix_spawnp(
            &process, arguments[0].systemBytes, &actions, &attributes, &pointers, &variables)
        guard result == 0 else { throw SystemError(.start, arguments[0], errno: result) }
        return process
    }

    /// Whether it can be used so; one that was closed when this process began stands on `/dev/null` the
    /// wrong way round.
    private static func isUsable(_ descriptor: Int32, writing: Bool) -> Bool {
        let mode = fcntl(descriptor, F_GETFL) & O_ACCMODE
        return mode == O_RDWR || mode == (writing ? O_WRONLY : O_RDONLY)
    }

    /// The environment of this process, in which those of `more` stand for theirs.
    private static func variables(and more: [String: String]) -> [String] {
        var variables = more.map { "\($0.key)=\($0.value)" }
        for text in SystemEnvironment.texts
        where more[SystemEnvironment.divided(text).name] == nil { variables.append(text) }
        return variables
    }
}

/// A program that runs beside this one, and is ended with it.
package final class ChildProcess {
    /// What a file that is given to a program is there, and its path there.
    package static let fileDescriptor: Int32 = 3
    package static let filePath = "/proc/self/fd/3"

    private let name: String
    private let process: pid_t
    /// Whether it leads a session of its own, which ends with it.
    private let isLeader: Bool
    private var status: Int32?

    /// Starts it, with the standard descriptors given and nothing for those that are nil.
    ///
    /// - Parameters:
    ///   - arguments: the program, and what it is told.
    ///   - environment: what it has beside the environment of this process.
    ///   - input: descriptor of its standard input; nil for nothing.
    ///   - output: the same of its standard output.
    ///   - errors: the same of its standard error.
    ///   - file: an open file that it gets as ``fileDescriptor``. It has no other descriptors.
    ///   - isLeader: whether it gets a session of its own: what ends it ends also what it started.
    /// - Throws: ``SystemError`` when there is no such program, or no room for it.
    package init(
        _ arguments: [String],
        environment: [String: String] = [:],
        input: Int32? = nil,
        output: Int32? = nil,
        errors: Int32? = STDERR_FILENO,
        file: Int32? = nil,
        isLeader: Bool = false
    ) throws(SystemError) {
        name = arguments[0]
        self.isLeader = isLeader
        process = try Program.spawn(
            arguments, environment: environment, input: input, output: output, errors: errors,
            file: file, isDetached: isLeader)
    }

    deinit { if status == nil { send(SIGKILL) } }

    private func send(_ signal: Int32) { kill(isLeader ? -process : process, signal) }

    /// Its exit status, 128 and the signal when one ended it; nil while it runs.
    package func poll() -> Int32? {
        guard status == nil else { return status }
        var found: Int32 = 0
        let result = unsafe waitpid(process, &found, WNOHANG)
        if result == process {
            status = Program.exitStatus(found)
        } else if result < 0, errno != EINTR {
            status = 127
        }
        return status
    }

    /// Waits until it ends; `idle` is called a few times a second meanwhile.
    package func wait(idle: () -> Void = {}) -> Int32 {
        var pause: UInt32 = 1_000
        while true {
            if let status = poll() { return status }
            idle()
            usleep(pause)
            pause = min(pause * 2, 100_000)
        }
    }

    /// Asks it to end, and kills it when it does not within some seconds; with it, what it started and left
    /// in its session.
    package func end(seconds: Int = 10) {
        guard poll() == nil else { return }
        send(SIGTERM)
        for _ in 0..<seconds * 100 where poll() == nil { usleep(10_000) }
        // Its group is there for as long as anybody of it is.
        if isLeader || poll() == nil { send(SIGKILL) }
        _ = wait()
    }
}
