package import BlockModel
package import LiveVolumes
package import SnapshotService

/// A trial of a volume from its begin to its end, with the snapshots that belong to it.
///
/// Order, always: the trial begins → its store is watched → what it held is captured; the trial ends → what is
/// there now is captured.
package struct TrialWorkflow {
    /// What is captured, and where.
    package struct Capture {
        package let repository: OpenRepository
        /// One is made of host and device if not given.
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

    /// A trial that began.
    package struct Begun {
        package let state: TrialState
        /// For how long the device stood still.
        package let windowNanoseconds: UInt64
        /// What lies on the volume beside the system, and is thrown away with it.
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
    ///   - device: the device, or where it is mounted.
    ///   - store: see ``Trial/begin(_:store:storeByteCount:now:)``.
    ///   - storeByteCount: see there.
    ///   - capture: takes a snapshot of what the volume held; nil for none.
    ///   - began: hears of it before the snapshot is taken.
    /// - Throws: ``VolumeError`` when it cannot begin; what a backup throws, of a trial that goes on.
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
                state: state, windowNanoseconds: window, cautions: try trial.cautions(state)))
        guard let capture else { return }
        let path = "/dev/mapper/\(state.device)"
        try run(capture, path, try trial.freeze(state, path))
    }

    /// Ends a trial; everything stays as it is now.
    ///
    /// - Parameters:
    ///   - device: the device, or where it is mounted.
    ///   - capture: takes a snapshot of what is there now; nil for none.
    ///   - ended: gets the device before the snapshot is taken.
    /// - Throws: ``VolumeError`` when it is not on trial; what a backup throws, of a trial that is over.
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

    /// Takes trials up again after a restart, before they are mounted.
    ///
    /// - Returns: the devices, and what became of the trial of each.
    /// - Throws: ``VolumeError`` when it is not known what is on trial.
    package func resume() throws -> [(path: String, outcome: Trial.Outcome)] {
        let outcomes = try Trial(states: states).resume()
        watch.start()
        return outcomes.map { ("/dev/mapper/\($0.device)", $0.outcome) }
    }
}
