import FoundationEssentials
import Glibc
import LinuxIO
import LiveVolumes
import Logging

/// The process that lets stores grow: one for the machine, started when it is needed.
enum StoreWatch {
    /// Looks so often: a store that begins half empty would have to fill within this.
    private static let pauseMicroseconds: UInt32 = 100_000

    /// Starts the watch in the background, if none runs.
    static func start(_ output: OutputOptions) {
        do {
            // Whoever gets the lock shows that no watch runs; it is let go of at once.
            guard try Watch(states: .standard).lock() != nil else { return }
            try Background.start(["track", "watch"])
        } catch {
            output.logger.warning(
                "\(error); run 'varve track watch' so that stores grow before they are full")
        }
    }

    static func run(once: Bool, _ output: OutputOptions) throws {
        let watch = Watch(states: .standard)
        guard !once else {
            _ = try watch.look { output.logger.warning("\($0)") }
            return
        }
        guard let lock = try watch.lock() else { return }
        defer { withExtendedLifetime(lock) {} }
        while !Interruption.isRequested {
            let isNeeded = try watch.look { output.logger.warning("\($0)") }
            guard isNeeded else { return }
            usleep(pauseMicroseconds)
        }
    }
}
