package import BlockModel
package import ChangeTracking
internal import LinuxIO

/// What a tracked device held at one moment, for as long as a capture reads it.
package final class FrozenView {
    package let device: MappedDevice
    /// The device that shows it.
    package let path: String
    /// When it began, in seconds since 1970.
    package var began: Int64 { state.viewBegan }
    /// Why nothing is known of what was written before; nil when it is known.
    package let reason: String?
    private(set) var state: TrackingState
    private let states: StateDirectory
    private let views: CopyOnWriteViews
    private let lock: DeviceLock
    private var lastLook: UInt64 = 0

    init(
        device: MappedDevice,
        state: TrackingState,
        states: StateDirectory,
        views: CopyOnWriteViews,
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

    /// What was written since a snapshot of `volume` in `repository` was captured, or why that is not
    /// known.
    package func changes(
        repository: ObjectID,
        volume: VolumeName,
        blockSize: BlockSize
    ) -> Result<ChangeEvidence, MissingEvidence> {
        if let reason { return .failure(MissingEvidence(reason: reason)) }
        guard
            let binding = state.bindings.first(where: {
                $0.repository == repository && $0.volume == volume
            })
        else {
            return .failure(
                MissingEvidence(reason: "no backup of this volume was taken while it was tracked"))
        }
        var written = WrittenExtents()
        for view in binding.view..<state.view {
            guard let more = states.written(device.name, view: view),
                let joined = written.union(more)
            else {
                return .failure(
                    MissingEvidence(reason: "what was written is not known any more"))
            }
            written = joined
        }
        return .success(
            ChangeEvidence(
                origin: .snapshotStore, since: binding.snapshot,
                volumeByteCount: device.byteCount, candidates: written.blocks(of: blockSize)))
    }

    /// Keeps that `snapshot` was captured from this view, so that the next capture can build on it.
    package func wasCaptured(
        as snapshot: SnapshotID,
        of volume: VolumeName,
        in repository: ObjectID
    ) throws {
        state.bindings.removeAll { $0.repository == repository && $0.volume == volume }
        state.bindings.append(
            TrackingState.Binding(
                repository: repository, volume: volume, snapshot: snapshot, view: state.view))
        if state.bindings.count > TrackingState.bindingLimit { state.bindings.removeFirst() }
        try states.save(state)
        let oldest = state.bindings.map(\.view).min() ?? state.view
        try states.removeWritten(device.name, below: oldest)
    }

    /// Lets the store grow ahead of what is written; to be called often while the view is read.
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

/// Why there is no claim of what changed.
package struct MissingEvidence: Error, Hashable {
    package let reason: String
}
