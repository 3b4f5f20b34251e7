internal import Glibc

/// Other programs.
package enum Program {
    /// Where a program is, on the path of the system's administration; nil when it is not installed.
    package static func path(of name: String) -> String? {
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map { "\($0)/\(name)" }
            .first { unsafe access($0, X_OK) == 0 }
    }

    /// Runs a program to its end; gives its status, 128 and the signal when one ended it.
    ///
    /// What it says goes to `output`, a descriptor; nowhere when that is nil.
    package static func run(
        _ arguments: [String],
        output: Int32? = nil,
        errors: Int32? = nil
    ) throws(SystemError) -> Int32 {
        let process = try spawn(arguments, output: output, errors: errors, isDetached: false)
        var status: Int32 = 0
        while unsafe waitpid(process, &status, 0) < 0 {
            guard errno == EINTR else { throw SystemError(.start, arguments[0]) }
        }
        return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
    }

    /// Starts a program in a session of its own: no terminal's end reaches it.
    package static func start(_ arguments: [String]) throws(SystemError) {
        _ = try spawn(arguments, output: nil, errors: nil, isDetached: true)
    }

    private static func spawn(
        _ arguments: [String],
        output: Int32?,
        errors: Int32?,
        isDetached: Bool
    ) throws(SystemError) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { _ = unsafe posix_spawn_file_actions_destroy(&actions) }
        for (descriptor, given) in [
            (STDIN_FILENO, nil), (STDOUT_FILENO, output), (STDERR_FILENO, errors),
        ] {
            if let given {
                unsafe posix_spawn_file_actions_adddup2(&actions, given, descriptor)
            } else {
                unsafe posix_spawn_file_actions_addopen(
                    &actions, descriptor, "/dev/null",
                    descriptor == STDIN_FILENO ? O_RDONLY : O_WRONLY, 0)
            }
        }
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { _ = unsafe posix_spawnattr_destroy(&attributes) }
        // POSIX_SPAWN_SETSID, which the header shows to GNU sources only.
        if isDetached { _ = unsafe posix_spawnattr_setflags(&attributes, 0x80) }
        var process = pid_t()
        var pointers = unsafe arguments.map { unsafe strdup($0) } + [nil]
        defer { while let pointer = unsafe pointers.popLast() { unsafe free(pointer) } }
        let code = unsafe posix_spawnp(
            &process, arguments[0], &actions, &attributes, &pointers, environ)
        guard code == 0 else { throw SystemError(.start, arguments[0], errno: code) }
        return process
    }
}
