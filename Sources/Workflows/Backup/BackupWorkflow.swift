package import BlockModel
internal import CaptureEngine
internal import LinuxIO
package import LiveVolumes
internal import Logging
internal import RepositoryFormat
package import SnapshotService

/// Backs up sources at one moment; the only place that combines the steps.
///
/// Order, always: find the devices → volumes → watch of trials → one frozen view of all → one capture
/// after the other. Everything that can be refused is refused before the window.
package struct BackupWorkflow {
    /// A source, its volume, and its options.
    package struct Source {
        /// The device to back up.
        package let path: String
        package let volume: VolumeName
        package let options: BackupOptions

        /// Finds the device and the volume.
        ///
        /// - Parameters:
        ///   - path: a disk, a partition, an image file, '-' for standard input, or the mount point of a
        ///     tracked device.
        ///   - volume: the volume's name; by default host and source.
        ///   - options: the backup options.
        ///   - states: the states of tracked devices.
        /// - Throws: ``ServiceError`` if there is no valid name.
        package init(
            _ path: String,
            volume: VolumeName?,
            options: BackupOptions,
            states: StateDirectory
        ) throws {
            self.path = OpenRepository.device(of: path, states: states)
            self.volume = try volume ?? OpenRepository.defaultVolumeName(for: self.path)
            self.options = options
        }

        /// A file, or a device named directly.
        package init(file path: String, volume: VolumeName, options: BackupOptions) {
            self.path = path
            self.volume = volume
            self.options = options
        }
    }

    /// Callbacks during the run.
    package struct Events {
        /// Bytes read from a source, and its size if known.
        package var progress: (UInt64, UInt64?) -> Void = { _, _ in }
        /// The backup of a source starts.
        package var began: (Source) -> Void = { _ in }
        /// The backup of a source succeeded or failed.
        package var ended: (Source, Result<BackupSummary, any Error>) -> Void = { _, _ in }

        package init() {}
    }

    private let repository: OpenRepository
    private let states: StateDirectory
    private let patience: Patience

    package init(
        _ repository: OpenRepository,
        states: StateDirectory,
        patience: Patience = .none
    ) {
        self.repository = repository
        self.states = states
        self.patience = patience
    }

    /// Backs up all sources; a failed one does not stop the others.
    ///
    /// - Parameters:
    ///   - sources: the sources.
    ///   - events: called for each.
    /// - Returns: the errors of failed sources, in order.
    /// - Throws: ``Interrupted``, or the error that an interruption caused.
    package func run(_ sources: [Source], events: Events) throws -> [any Error] {
        lookAfterTrials()
        let frozen = OpenRepository.freeze(sources.map(\.path), states: states)
        return try run(sources, frozen, events)
    }

    /// Reports trials that can no longer be discarded, and restarts the watch of the others if it was
    /// killed.
    private func lookAfterTrials() {
        let trial = Trial(states: states)
        for warning in trial.warnings() { repository.logger.warning("\(warning)") }
        if (try? trial.status().isEmpty) == false {
            StoreWatch(states: states, logger: repository.logger).start()
        }
    }

    /// Backs up one source.
    ///
    /// - Parameters:
    ///   - source: the source.
    ///   - progress: called with the progress.
    /// - Returns: the summary.
    /// - Throws: the reason for a failure.
    package func run(
        _ source: Source,
        progress: @escaping (UInt64, UInt64?) -> Void = { _, _ in }
    ) throws -> BackupSummary {
        var result: Result<BackupSummary, any Error>?
        var events = Events()
        events.progress = progress
        events.ended = { result = $1 }
        _ = try run([source], events: events)
        guard let result else { throw Interrupted() }
        return try result.get()
    }

    /// The same with existing views.
    func run(
        _ sources: [Source],
        _ frozen: FrozenSources,
        _ events: Events
    ) throws -> [any Error] {
        var failures: [any Error] = []
        for source in sources {
            events.began(source)
            let result = Result { try backUp(source, frozen, events) }
            events.ended(source, result)
            guard case .failure(let error) = result else { continue }
            if Interruption.isRequested || error is Interrupted { throw error }
            failures.append(error)
        }
        return failures
    }

    private func backUp(
        _ source: Source,
        _ frozen: FrozenSources,
        _ events: Events
    ) throws -> BackupSummary {
        try patience.run(logger: repository.logger) {
            let progress = CaptureProgress()
            return try repository.backUp(
                source.path, volume: source.volume, options: source.options, frozen: frozen,
                progress: progress, report: { events.progress(progress.doneByteCount, $0) })
        }
    }
}
