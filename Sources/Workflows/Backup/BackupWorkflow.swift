package import BlockModel
internal import CaptureEngine
internal import LinuxIO
package import LiveVolumes
internal import Logging
internal import RepositoryFormat
package import SnapshotService

/// Backs up sources as they are at one moment; the one place where that is put together.
///
/// Order, always: devices that are meant → volumes → watch of trials → one frozen view of all → one
/// capture after the other. Whatever can be refused before the window is.
package struct BackupWorkflow {
    /// What is backed up, into which volume, and how.
    package struct Source {
        /// The device that is meant.
        package let path: String
        package let volume: VolumeName
        package let options: BackupOptions

        /// Finds the device that is meant, and the volume.
        ///
        /// - Parameters:
        ///   - path: a disk, a partition, an image file, '-' for standard input, or where a tracked device is
        ///     mounted.
        ///   - volume: the volume's name; one is made of host and source if not given.
        ///   - options: how it is backed up.
        ///   - states: where is known what is tracked.
        /// - Throws: ``ServiceError`` where no name can be made.
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

        /// A file, or a device that is named itself.
        package init(file path: String, volume: VolumeName, options: BackupOptions) {
            self.path = path
            self.volume = volume
            self.options = options
        }
    }

    /// What the caller hears meanwhile.
    package struct Events {
        /// Bytes of a source that are read, and that it has, where that is known.
        package var progress: (UInt64, UInt64?) -> Void = { _, _ in }
        /// A source is begun.
        package var began: (Source) -> Void = { _ in }
        /// A source is backed up, or is not.
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

    /// Backs up all sources; one that fails does not keep the others from it.
    ///
    /// - Parameters:
    ///   - sources: what is backed up.
    ///   - events: hears of each.
    /// - Returns: why some were not backed up, in order.
    /// - Throws: ``Interrupted``, or what an interruption made of it.
    package func run(_ sources: [Source], events: Events) throws -> [any Error] {
        lookAfterTrials()
        let frozen = OpenRepository.freeze(sources.map(\.path), states: states)
        return try run(sources, frozen, events)
    }

    /// Says which trials cannot be discarded any more, and sees to it that the stores of the others are
    /// watched: their watch may have been killed.
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
    ///   - source: what is backed up.
    ///   - progress: hears how far it is.
    /// - Returns: what was done.
    /// - Throws: why it was not backed up.
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

    /// The same with views that stand already.
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
