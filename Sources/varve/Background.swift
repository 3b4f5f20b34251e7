import Glibc
import LinuxIO

/// Processes of this program that outlive the command that started them.
enum Background {
    /// Starts `varve` with these arguments, apart from this process: as a unit of systemd where that
    /// runs the machine, so that it does not end with the service that this command may belong to.
    static func start(_ arguments: [String]) throws {
        guard let program = Directory.resolve("/proc/self/exe") else {
            throw SystemError(.open, "/proc/self/exe")
        }
        if Boot.isBySystemd,
            try run(
                ["systemd-run", "--quiet", "--collect", "--unit=varve-watch", program] + arguments)
        {
            return
        }
        _ = try spawn([program] + arguments, isDetached: true)
    }

    /// Whether the command was there and succeeded.
    private static func run(_ arguments: [String]) throws -> Bool {
        guard let process = try? spawn(arguments, isDetached: false) else { return false }
        var status: Int32 = 0
        waitpid(process, &status, 0)
        return status == 0
    }

    private static func spawn(_ arguments: [String], isDetached: Bool) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for descriptor in 0..<3 as Range<Int32> {
            posix_spawn_file_actions_addopen(
                &actions, descriptor, "/dev/null", descriptor == 0 ? O_RDONLY : O_WRONLY, 0)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        if isDetached {
            // A session of its own: no terminal's end reaches it.
            posix_spawnattr_setflags(&attributes, 0x80)
        }
        var process = pid_t()
        var pointers = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        let code = posix_spawnp(&process, arguments[0], &actions, &attributes, &pointers, environ)
        guard code == 0 else { throw SystemError(.start, arguments[0], errno: code) }
        return process
    }
}
