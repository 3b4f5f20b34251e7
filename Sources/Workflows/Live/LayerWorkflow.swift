internal import Glibc
package import LiveVolumes
package import Logging

/// The layer under a root that is a plain partition: put into the start of the machine, and taken out.
package struct LayerWorkflow {
    /// What is installed.
    package struct Layer: Sendable {
        /// The partition of the root.
        package let partition: String
        /// What trials of the root overwrite is kept there; nil where there are none.
        package let store: String?

        init(_ configuration: BootLayer.Configuration) {
            partition = configuration.partition
            store = configuration.store
        }
    }

    /// The root, where the layer is under it.
    package static let devicePath = "/dev/mapper/\(BootLayer.deviceName)"

    private let states: StateDirectory
    private let logger: Logger

    package init(states: StateDirectory, logger: Logger) {
        self.states = states
        self.logger = logger
    }

    /// Puts the layer into the start of this machine; what programs say goes to standard error.
    package func install(store: String?) throws -> Layer {
        Layer(try BootLayer.install(store: store, output: STDERR_FILENO))
    }

    /// Takes it out.
    package func remove() throws { try BootLayer.remove(states: states, output: STDERR_FILENO) }

    /// What is installed; nil when nothing is.
    package func installed() -> Layer? { BootLayer.configuration().map(Layer.init) }

    /// Whether this start of the machine made it.
    package var isActive: Bool { BootLayer.startOutcome() != nil }

    /// Takes trials up after a start of the machine.
    package func takeUpTrials() throws {
        do {
            if let text = try BootLayer.note(states: states) { logger.warning("\(text)") }
        } catch {
            // Trials of other volumes are taken up all the same.
            logger.warning("\(error)")
        }
        let trial = Trial(states: states)
        for (name, outcome) in try trial.resume() {
            if case .active = outcome { continue }
            logger.warning("/dev/mapper/\(name): \(outcome)")
        }
        if try !trial.status().isEmpty { StoreWatch(states: states, logger: logger).start() }
    }

    /// Puts trials to rest when the machine ends.
    ///
    /// - Parameter isLast: whether the root was written for the last time.
    package func putTrialsToRest(isLast: Bool) {
        for warning in Trial(states: states).stop(isLast: isLast) { logger.warning("\(warning)") }
    }
}
