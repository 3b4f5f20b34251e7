import LinuxIO

/// Processes of this program that outlive the command that started them.
enum Background {
    /// Starts `varve` with these arguments, apart from this process.
    ///
    /// It is a unit of systemd where that runs the machine, so that it does not end with the service
    /// that this command may belong to. Nothing waits for it: at the start of a machine it runs only
    /// after the unit that asks for it.
    static func start(_ arguments: [String]) throws {
        guard let program = Directory.resolve("/proc/self/exe") else {
            throw SystemError(.open, "/proc/self/exe")
        }
        if Boot.isBySystemd, let run = Program.path(of: "systemd-run"),
            try Program.run(
                [run, "--quiet", "--collect", "--no-block", "--unit=varve-watch", program]
                    + arguments) == 0
        {
            return
        }
        try Program.start([program] + arguments)
    }
}
