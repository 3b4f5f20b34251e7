package import BlockModel
package import ChangeTracking
internal import LinuxIO

/// What a tracked device held at one moment, for as long as a capture reads it.
package final class FrozenView: TrackedMoment {
    package let device: MappedDevice
    /// The device that shows it.
    package let path: String
    /// When it began, in seconds since 1970.
    package var began: Int64 { state.viewBegan }
    /// Why nothing is known of what was written before; nil when it is known.
    package let reason: String?
    private(set) var state: TrackingState
    private let states: StateDirectory
    private let views: any FrozenViews
    private let lock: DeviceLock
    private var lastLook: UInt64 = 0

    init(
        device: MappedDevice,
        state: TrackingState,
        states: StateDirectory,
        views: any FrozenViews,
        lock: DeviceLock,
        reason: String?
    ) {
        self.device = device
        self.state = state
        self.states = states
        self.views = views
        self.lock = lock
        self.reason = reason
        path = views.path(state.view)
    }

    package func changes(
        repository: ObjectID,
        volume: VolumeName,
        blockSize: BlockSize
    ) -> Result<ChangeEvidence, MissingEvidence> {
        if let reason { return .failure(MissingEvidence(reason: reason)) }
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
        state.bind(snapshot, of: volume, in: repository)
        try states.save(state)
        let oldest = state.bindings.map(\.view).min() ?? state.view
        try states.removeWritten(device.name, below: oldest)
    }

    package func keepAhead() {
        let now = SystemClock.monotonicNanoseconds()
        guard now - lastLook > 250_000_000 else { return }
        lastLook = now
        _ = try? views.keepAhead(state.view)
    }

    /// Whether the store overflowed, so that the view cannot be read.
    package var isLost: Bool {
        guard let fill = try? views.fill(state.view) else { return true }
        return fill == .lost
    }
}
