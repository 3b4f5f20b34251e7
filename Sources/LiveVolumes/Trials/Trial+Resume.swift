internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

extension Trial {
    /// Takes up the trials of volumes again after the machine was restarted, before they are mounted:
    /// what is written goes on being kept, and a discard that was under way is finished.
    ///
    /// - Returns: the devices, and what became of the trial of each.
    package func resume() throws -> [(device: String, outcome: Outcome)] {
        var outcomes: [(device: String, outcome: Outcome)] = []
        for name in try states.devices(with: "trial") where name != BootLayer.deviceName {
            guard let state = try states.trial(name), try condition(of: state) == .interrupted
            else {
                continue
            }
            let lock = try states.lock(name)
            defer { withExtendedLifetime(lock) {} }
            do {
                outcomes.append((name, try resume(state)))
            } catch {
                outcomes.append((name, .failed("\(error)")))
            }
        }
        return outcomes
    }

    package enum Outcome: Hashable, Sendable {
        case active, discarded
        case lost(String)
        case failed(String)
    }

    private func resume(_ state: TrialState) throws -> Outcome {
        guard let label = try TrialLabel.read(state.storePath) else {
            throw VolumeError(.failed, "\(state.storePath) has no label of a trial")
        }
        var device = try MappedDevice(name: state.device)
        if device == nil, let plain = state.plainDevice {
            device = try PlainDevice.mapped(plain).device
        }
        guard let device else {
            throw VolumeError(.missing, "there is no device /dev/mapper/\(state.device) now")
        }
        let layer = OriginLayer(device)
        let isMounted =
            DeviceUse.reason(forDevice: device.number, path: device.path) != nil
        let witness = try MountWitness.read(device)
        let isTorn =
            label.sectorCount != device.sectorCount
            || label.witness != MountWitness.unknown && label.witness != witness
                && !label.isUnwitnessed
        guard !isTorn, !isMounted else {
            try setLabel(state) { $0.state = .torn }
            return .lost(
                isMounted
                    ? "it was mounted before 'varve trial resume'"
                    : "the volume was written without the layer")
        }
        let names = LayerNames(device.name)
        let store = try openStore(state)
        do {
            try store.requireSound(volumeByteCount: device.byteCount)
        } catch let error as NothingKnown {
            store.remove()
            guard label.state != .discarding else {
                throw VolumeError(
                    .failed,
                    "the discard of \(device.path) was interrupted, and cannot go on: \(error); restore "
                        + "a snapshot")
            }
            try setLabel(state) { $0.state = .failed }
            return .lost(error.description)
        }
        do {
            let real = try layer.prepare()
            if label.state == .discarding {
                guard let place = try MappedDevice(name: store.name) else {
                    throw VolumeError(.failed, "the store vanished")
                }
                try DeviceMapper.load(
                    device.name,
                    [
                        .snapshotMerge(
                            into: real.tableName, store: place.tableName,
                            chunkSectorCount: label.chunkSectorCount,
                            sectorCount: real.sectorCount)
                    ])
                _ = try SuspendedWindow([device.name], steps: []).run()
                try finishMerge(state, device) { _, _ in }
                return .discarded
            }
            let view = try layer.prepareView(names.trialView, of: real, store: store)
            _ = try SuspendedWindow([device.name], steps: [view]).run()
        } catch {
            try? takeAway(device, removesLayer: true)
            layer.cancel()
            throw error
        }
        var state = state
        state.bootID = Boot.id
        try states.save(state)
        guard case .active? = try fill(state) else {
            try setLabel(state) { $0.state = .failed }
            return .lost("its store overflowed, or could not be written")
        }
        return .active
    }

    private func openStore(_ state: TrialState) throws -> CopyStore {
        let name = LayerNames(state.device).trialStore
        switch state.place {
        case .directory:
            return try CopyStore.open(
                name, file: state.storePath, labelByteCount: StorePlace.labelByteCount)
        case .device(let path):
            return try CopyStore.open(
                name, device: path,
                bytes: StorePlace.labelByteCount..<(try StorePlace.byteCount(ofDevice: path)),
                isNew: false)
        }
    }
}
