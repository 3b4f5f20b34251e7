package import BlockModel
package import ChangeTracking
internal import LinuxIO
internal import VolumeAccess

/// The end of an era of a device that is captured at rest.
package final class EraMoment: TrackedMoment {
    private let device: MappedDevice
    private var state: TrackingState
    private let states: StateDirectory
    private let lock: DeviceLock
    private let missing: MissingEvidence?
    /// By the era since which it was written.
    private let written: [UInt64: WrittenExtents]

    init(_ device: MappedDevice, states: StateDirectory) throws {
        let lock = try states.lock(device.name)
        guard var state = try states.tracking(device.name) else {
            throw VolumeError(.unsuitable, "\(device.path) is not tracked; see 'varve track begin'")
        }
        var missing: MissingEvidence?
        var written: [UInt64: WrittenExtents] = [:]
        do {
            guard let era = try EraDevice(device) else {
                throw NothingKnown(description: "\(device.path) is no longer a dm-era device")
            }
            if state.bootID != Boot.id {
                missing = MissingEvidence(
                    reason:
                        "the machine was restarted, so writes since the last backup are unknown",
                    isExpected: true)
            } else if try !era.isUndisturbed(since: state) {
                missing = MissingEvidence(
                    reason: "\(device.path) was reopened, recreated, stopped or moved to another "
                        + "era since the last backup")
            }
            if missing != nil { state.bindings = [] }
            // What waits in the page cache belongs to the era that ends.
            let node = MappedDevice.node(of: device.number)
            let handle = try FileHandle(node, .read)
            try FileOperation.synchronize(handle.descriptor, subject: node)
            // Writes in flight end with the era that they belong to; to go on begins another one.
            _ = try SuspendedWindow([device.name], steps: []).run()
            let drained = try era.currentEra()
            let now = try era.written(since: Set(state.bindings.map(\.view)), states: states)
            guard now.current == drained + 1 else {
                throw NothingKnown(
                    description: "another program changed the era of \(device.path) in the "
                        + "meantime")
            }
            // A write that runs while the list is read belongs to the next list.
            state.view = drained
            written = now.written
        } catch let error as NothingKnown {
            missing = MissingEvidence(reason: error.description)
            state.bindings = []
            // Whatever the era is now, it is not the one that was told of.
            state.view = 0
        }
        state.bootID = Boot.id
        state.sectorCount = device.sectorCount
        state.mechanism = .era(diskSequence: EraDevice.diskSequence(of: device))
        try states.save(state)
        self.device = device
        self.state = state
        self.states = states
        self.lock = lock
        self.missing = missing
        self.written = written
    }

    package func changes(
        repository: ObjectID,
        volume: VolumeName,
        blockSize: BlockSize
    ) -> Result<ChangeEvidence, MissingEvidence> {
        if let missing { return .failure(missing) }
        return state.evidence(of: volume, in: repository, blockSize) { written[$0] }
    }

    package func wasCaptured(
        as snapshot: SnapshotID,
        of volume: VolumeName,
        in repository: ObjectID
    ) throws {
        // Of an era that could not be told from others nothing can be known later.
        guard state.view > 0 else { return }
        state.bind(snapshot, of: volume, in: repository)
        try states.save(state)
    }
}
