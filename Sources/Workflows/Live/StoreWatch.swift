internal import LinuxIO
package import LiveVolumes
package import Logging

/// The process that watches the stores of trials: one per machine, started when needed.
package struct StoreWatch {
    private static let pauseMilliseconds: UInt32 = 500

    private let states: StateDirectory
    private let logger: Logger

    package init(states: StateDirectory, logger: Logger) {
        self.states = states
        self.logger = logger
    }

    /// Starts the watch in the background, if none runs.
    package func start() {
        do {
            // Who gets the lock shows that no watch runs; it is let go of at once.
            guard try Watch(states: states).withWatch({}) else { return }
            try startProcess(["track", "watch"])
        } catch {
            logger.warning(
                "\(error); run 'varve track watch', which watches the stores of trials")
        }
    }

    /// Watches as long as there are trials, or checks once.
    package func run(once: Bool) throws {
        let watch = Watch(states: states)
        func look() throws -> Bool { try watch.look { logger.warning("\($0)") } }
        guard !once else {
            _ = try look()
            return
        }
        try watch.withWatch {
            while !Interruption.isRequested {
                guard try look() else { return }
                SystemClock.sleep(milliseconds: Self.pauseMilliseconds)
            }
        }
    }

    /// Starts this program with these arguments, independent of this process.
    ///
    /// It is a unit of systemd where that runs the machine, so that it does not end with the service
    /// that this command may belong to. Nothing waits for it: at the start of a machine it runs only
    /// after the unit that asks for it. Its name is that of no unit of a job, which begins with `varve-`.
    private func startProcess(_ arguments: [String]) throws {
        let program = try Program.own()
        if Boot.isBySystemd, let run = Program.path(of: "systemd-run"),
            try Program.run(
                [
                    run, "--quiet", "--collect", "--no-block", "--unit=varve.trials",
                    "--setenv=VARVE_STATE_DIR=\(states.path)", program,
                ] + arguments) == 0
        {
            return
        }
        try Program.start([program] + arguments)
    }
}
