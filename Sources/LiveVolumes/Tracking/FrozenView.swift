package import BlockModel
package import ChangeTracking
internal import LinuxIO

/// What a tracked device held at one moment, for as long as a capture reads it.
package final class FrozenView: TrackedMoment {
    package let device: MappedDevice
    /// The device that shows it.
    package let path: String
    /// What the disk is called beside what it was named by: a layer of ours and the plain device below are
    /// one.
    package var otherPaths: [String] { state.plainDevice.map { [device.path, $0] } ?? [] }
    /// When it began, in seconds since 1970.
    package var began: Int64 { state.viewBegan }
    /// Why nothing is known of what was written before; nil when it is known.
    package let missing: MissingEvidence?
    private(set) var state: TrackingState
    private let states: StateDirectory
    private let views: any FrozenViews
    private let lock: DeviceLock
    /// Whether it goes again when nobody reads it any more.
    private let isForOnce: Bool

    init(
        device: MappedDevice,
        state: TrackingState,
        states: StateDirectory,
        views: any FrozenViews,
        lock: DeviceLock,
        missing: MissingEvidence?,
        isForOnce: Bool
    ) {
        self.device = device
        self.state = state
        self.states = states
        self.views = views
        self.lock = lock
        self.missing = missing
        self.isForOnce = isForOnce
        path = views.path(state.view)
    }

    deinit { if isForOnce { views.remove(state.view) } }

    package func changes(
        repository: ObjectID,
        volume: VolumeName,
        blockSize: BlockSize
    ) -> Result<ChangeEvidence, MissingEvidence> {
        if let missing { return .failure(missing) }
        return state.evidence(of: volume, in: repository, blockSize, written: written(since:))
    }

    private func written(since first: UInt64) -> WrittenExtents? {
        var written = WrittenExtents()
        for view in first..<state.view {
            guard let more = states.written(device.name, view: view),
                let joined = written.union(more)
            else { return nil }
            written = joined
        }
        return written
    }

    package func wasCaptured(
        as snapshot: SnapshotID,
        of volume: VolumeName,
        in repository: ObjectID
    ) throws {
        // Of one that goes again nothing can be known later.
        guard !isForOnce else { return }
        state.bind(snapshot, of: volume, in: repository)
        try states.save(state)
        let oldest = state.bindings.map(\.view).min() ?? state.view
        try states.removeWritten(device.name, below: oldest)
    }

    /// Whether the store overflowed, or could not be written, so that the view cannot be read.
    package var isLost: Bool {
        guard let fill = try? views.fill(state.view) else { return true }
        return fill == .lost
    }
}
