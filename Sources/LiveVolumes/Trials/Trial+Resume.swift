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
            try states.withLock(name, attempts: Self.lockAttempts) {
                do {
                    outcomes.append((name, try resume(state)))
                } catch {
                    outcomes.append((name, .failed("\(error)")))
                }
            }
        }
        if outcomes.contains(where: { $0.outcome == .active }) { TrialService.start(states) }
        return outcomes
    }

    package enum Outcome: Hashable, Sendable {
        case active, discarded
        case lost(String)
        case failed(String)
    }

    private func resume(_ state: TrialState) throws -> Outcome {
        // A store in a sticky directory may have been made by anybody since.
        try Trust.require(state.storePath, as: "the store")
        guard let label = try TrialLabel.read(state.storePath) else {
            throw VolumeError(.failed, "\(state.storePath) has no trial label")
        }
        var device = try MappedDevice(name: state.device)
        if device == nil, let plain = state.plainDevice {
            device = try PlainDevice.mapped(plain).device
        }
        guard let device else {
            throw VolumeError(.missing, "there is no device /dev/mapper/\(state.device) now")
        }
        let layer = OriginLayer(device)
        if let reason = try refusal(label, device) {
            guard label.state != .discarding else {
                throw VolumeError(
                    .failed,
                    "the discard of \(device.path) was interrupted and cannot continue: \(reason); "
                        + "end the trial with 'varve trial keep', and restore a snapshot")
            }
            try setLabel(state) { $0.state = .torn }
            return .lost(reason)
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
                    "the discard of \(device.path) was interrupted and cannot continue: \(error); "
                        + "restore a snapshot")
            }
            try setLabel(state) { $0.state = .failed }
            return .lost(error.description)
        }
        do {
            let real = try layer.prepare()
            if label.state == .discarding {
                guard let place = try MappedDevice(name: store.name) else {
                    throw VolumeError(.failed, "the store disappeared")
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
        return try confirm(state, device, label)
    }

    /// Why the trial cannot be taken up again; nil when it can.
    private func refusal(_ label: TrialLabel, _ device: MappedDevice) throws -> String? {
        if DeviceUse.reason(forDevice: device.number, path: device.path) != nil {
            return "it was mounted before 'varve trial resume'"
        }
        return label.refusal(
            sectorCount: device.sectorCount, stamp: try FileSystemStamp.read(device))
    }

    /// Notes that a trial was taken up, when the view shows what the volume held at the beginning.
    private func confirm(
        _ state: TrialState,
        _ device: MappedDevice,
        _ label: TrialLabel
    ) throws -> Outcome {
        var state = state
        state.bootID = Boot.id
        try states.save(state)
        guard case .active? = try fill(state) else {
            try setLabel(state) { $0.state = .failed }
            return .lost("its store overflowed or could not be written")
        }
        guard try viewStamp(device) == label.before else {
            try setLabel(state) { $0.state = .torn }
            return .lost("its frozen view does not match the volume when the trial began")
        }
        try TrialHold(device).take()
        let stamp = try OriginLayer(device).real().map(FileSystemStamp.read)
        try setLabel(state) {
            $0.state = .active
            $0.phase = .running
            $0.stamp = stamp ?? $0.stamp
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
