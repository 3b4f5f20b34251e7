package import BlockModel
package import LiveVolumes
package import SnapshotService

/// A trial of a volume from beginning to end, with its snapshots.
///
/// Order, always: the trial begins → its store is watched → the old contents are captured; the trial
/// ends → the new contents are captured.
package struct TrialWorkflow {
    /// What is captured, and where.
    package struct Capture {
        package let repository: OpenRepository
        /// Default: the name of the host and the device.
        package let volume: VolumeName?
        package let events: BackupWorkflow.Events

        package init(
            _ repository: OpenRepository,
            volume: VolumeName?,
            events: BackupWorkflow.Events
        ) {
            self.repository = repository
            self.volume = volume
            self.events = events
        }
    }

    /// A volume on trial.
    package struct Subject: Sendable {
        /// The device that is mounted.
        package let path: String
        /// The plain device under a layer of ours; nil where the device was one of device-mapper before.
        package let plainDevice: String?
        /// Where the store is.
        package let store: String
        /// Whether it is the root of the system.
        package let isRoot: Bool
        package let began: Timestamp

        init(_ state: TrialState) {
            path = "/dev/mapper/\(state.device)"
            plainDevice = state.plainDevice
            store = state.place.path
            isRoot = state.isRoot
            began = Timestamp(seconds: state.began)
        }
    }

    /// How a trial stands.
    package struct Status: Sendable {
        package enum Condition: Hashable, Sendable {
            case active
            /// What it held when the trial began is written back.
            case merging
            /// The machine was restarted, and the trial not taken up again.
            case interrupted
            /// What is kept does not count any more.
            case lost(String)
            case over
        }

        package let subject: Subject
        package let condition: Condition
        package let usedByteCount: UInt64
        package let storeByteCount: UInt64
        package let mounts: [String]

        init(_ status: TrialStatus) {
            subject = Subject(status.state)
            condition =
                switch status.condition {
                case .active: .active
                case .merging: .merging
                case .interrupted: .interrupted
                case .lost(let reason): .lost(reason)
                case .over: .over
                }
            usedByteCount = status.usedByteCount
            storeByteCount = status.storeByteCount
            mounts = status.mounts
        }
    }

    /// What became of a trial after a restart.
    package enum Outcome: Hashable, Sendable {
        case active, discarded
        case lost(String)
        case failed(String)

        init(_ outcome: Trial.Outcome) {
            self =
                switch outcome {
                case .active: .active
                case .discarded: .discarded
                case .lost(let reason): .lost(reason)
                case .failed(let reason): .failed(reason)
                }
        }
    }

    /// A trial that began.
    package struct Begun {
        package let subject: Subject
        /// How long the device was paused.
        package let windowNanoseconds: UInt64
        /// Warnings, such as why a discard after a restart will not work.
        package let cautions: [String]
    }

    private let states: StateDirectory
    private let watch: StoreWatch

    package init(states: StateDirectory, watch: StoreWatch) {
        self.states = states
        self.watch = watch
    }

    /// Begins a trial.
    ///
    /// - Parameters:
    ///   - device: the device or its mount point.
    ///   - store: see ``Trial/begin(_:store:storeByteCount:now:)``.
    ///   - storeByteCount: see there.
    ///   - capture: takes a snapshot of the old contents; nil for none.
    ///   - began: called before the snapshot is taken.
    /// - Throws: ``VolumeError`` when it cannot begin; errors of the backup, while the trial continues.
    package func begin(
        _ device: String,
        store: String?,
        storeByteCount: UInt64?,
        capture: Capture?,
        began: (Begun) -> Void
    ) throws {
        let trial = Trial(states: states)
        let (state, window) = try trial.begin(
            device, store: store, storeByteCount: storeByteCount, now: Moment.now().seconds)
        watch.start()
        began(
            Begun(
                subject: Subject(state), windowNanoseconds: window,
                cautions: try trial.cautions(state)))
        guard let capture else { return }
        let path = "/dev/mapper/\(state.device)"
        try run(capture, path, try trial.freeze(state, path))
    }

    /// Ends a trial; everything stays as it is now.
    ///
    /// - Parameters:
    ///   - device: the device or its mount point.
    ///   - capture: takes a snapshot of what is there now; nil for none.
    ///   - ended: gets the device before the snapshot is taken.
    /// - Throws: ``VolumeError`` when it is not on trial; errors of the backup, after the trial ended.
    package func keep(
        _ device: String,
        capture: Capture?,
        ended: (String) -> Void
    ) throws {
        let trial = Trial(states: states)
        let (kept, state) = try trial.keep(device)
        defer { trial.release(kept, of: state) }
        ended(kept.path)
        // Of a volume that was removed there is nothing to capture.
        guard let capture, kept.sectorCount > 0 else { return }
        let tracking = Tracking(states: states)
        let isTracked = try tracking.trackedDevice(kept.path) != nil
        if !isTracked {
            _ = try tracking.begin(
                kept.path, store: state?.place.path, storeByteCount: nil,
                now: Moment.now().seconds)
        }
        defer { if !isTracked { _ = try? tracking.end(kept.path) } }
        try run(capture, kept.path, OpenRepository.freeze([kept.path], states: states))
    }

    private func run(_ capture: Capture, _ path: String, _ frozen: FrozenSources) throws {
        let source = try BackupWorkflow.Source(
            path, volume: capture.volume, options: BackupOptions(), states: states)
        let failures = try BackupWorkflow(capture.repository, states: states)
            .run([source], frozen, capture.events)
        if let failure = failures.first { throw failure }
    }

    /// Resumes trials after a restart, before their volumes are mounted.
    ///
    /// - Returns: the devices, and the outcome for each.
    /// - Throws: ``VolumeError`` when the list of trials cannot be read.
    package func resume() throws -> [(path: String, outcome: Outcome)] {
        let outcomes = try Trial(states: states).resume()
        watch.start()
        return outcomes.map { ("/dev/mapper/\($0.device)", Outcome($0.outcome)) }
    }

    /// Ends a trial, and throws away what was written since it began.
    ///
    /// - Parameters:
    ///   - device: the device or its mount point.
    ///   - progress: gets bytes that are written back, and all that are to be.
    /// - Returns: whether it is done; of a root it is when the machine starts again.
    /// - Throws: ``VolumeError``; nothing is changed then.
    package func discard(
        _ device: String,
        progress: (UInt64, UInt64) -> Void
    ) throws -> Bool {
        try Trial(states: states).discard(device, progress: progress) == .done
    }

    /// How each trial stands, or that of the device that is named.
    package func status(_ device: String?) throws -> [Status] {
        try Trial(states: states).status(device).map(Status.init)
    }

    /// What every command has to say that has to do with disks in use: of trials that cannot be discarded
    /// any more.
    package func warnings() -> [String] { Trial(states: states).warnings() }
}
