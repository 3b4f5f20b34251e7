internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// How a trial stands.
package struct TrialStatus: Sendable {
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

    package let state: TrialState
    package let condition: Condition
    package let usedByteCount: UInt64
    package let storeByteCount: UInt64
    /// How large the store can become; nil where that is what it is.
    package let growsToByteCount: UInt64?
    package let mounts: [String]
}

extension Trial {
    /// The state of each trial, or of that of `path`.
    package func status(_ path: String? = nil) throws -> [TrialStatus] {
        var names = try states.devices(with: "trial")
        if let path {
            let device = try PlainDevice.layered(path)
            names = names.filter { $0 == device?.name }
            guard !names.isEmpty else {
                throw VolumeError(.unsuitable, "\(path) is not on trial")
            }
        }
        return try names.compactMap { name in try states.trial(name).map(status) }
    }

    private func status(of state: TrialState) throws -> TrialStatus {
        let device = try MappedDevice(name: state.device)
        var used: UInt64 = 0
        var total: UInt64 = 0
        if case .active(let a, let b) = try fill(state) { (used, total) = (a, b) }
        var limit: UInt64?
        if case .directory = state.place, let device {
            limit = CopyStore.fullByteCount(ofVolume: device.byteCount)
        }
        return TrialStatus(
            state: state, condition: try condition(of: state), usedByteCount: used,
            storeByteCount: total, growsToByteCount: limit,
            mounts: device.map { MountTable.mounts(of: $0.number).map(\.path) } ?? [])
    }

    func fill(_ state: TrialState) throws -> StoreFill? {
        try OriginLayer.status(of: LayerNames(state.device).trialView).map(StoreFill.init)
    }

    /// The kernel's devices decide, and the label where there are none.
    func condition(of state: TrialState) throws -> TrialStatus.Condition {
        if let line = try? DeviceMapper.status(state.device).first, line.target == "snapshot-merge"
        {
            return .merging
        }
        let label = (try? TrialLabel.read(state.storePath)) ?? nil
        guard let label, label.device == state.device else {
            return .lost("\(state.storePath) is not its store any more")
        }
        switch label.state {
        case .none, .discarded: return .over
        case .torn: return .lost("the volume was written without the layer")
        case .failed: return .lost("its store overflowed")
        case .active, .asked, .discarding: break
        }
        switch try fill(state) {
        case .active?: return .active
        case .lost?: return .lost("its store overflowed, or could not be written")
        case nil:
            return state.bootID == Boot.id ? .lost("its frozen view is gone") : .interrupted
        }
    }

    /// Lets stores grow that are half full and takes new witnesses; gives warnings to be heard.
    func keepAhead() throws -> [String] {
        var warnings: [String] = []
        for name in try states.devices(with: "trial") {
            guard let state = try? states.trial(name), let device = try MappedDevice(name: name),
                let fill = try fill(state)
            else { continue }
            guard case .active(let used, let total) = fill else {
                warnings.append(
                    "the store of the trial of \(device.path) overflowed: what it held before is lost, "
                        + "and only 'varve trial keep' is left")
                continue
            }
            if let warning = try keepAhead(state, device, used, total) { warnings.append(warning) }
        }
        return warnings
    }

    private func keepAhead(
        _ state: TrialState,
        _ device: MappedDevice,
        _ used: UInt64,
        _ total: UInt64
    ) throws -> String? {
        let full = CopyStore.fullByteCount(ofVolume: device.byteCount)
        guard used > total / 2, total < full else { return nil }
        var reason = "\(state.place.path) is a device, which does not grow"
        if case .directory = state.place {
            do {
                try CopyStore(name: LayerNames(state.device).trialStore).grow(
                    file: state.storePath, to: min(total * 2, full),
                    labelByteCount: StorePlace.labelByteCount)
                return nil
            } catch {
                reason = "\(error)"
            }
        }
        let tenths = used * 10 / total
        // Heard once for each tenth; at nine of them the file systems are kept from writing more.
        var text =
            "the store of the trial of \(device.path) is \(tenths * 10) % full and cannot grow: \(reason)"
        guard tenths >= 9 else { return text }
        text += FileSystemGuard.stopWriting(to: device)
        return text
    }

    /// Keeps what of the volume changes when it is mounted, so that a mount without the layer shows.
    package func refreshWitness() throws {
        for name in try states.devices(with: "trial") {
            guard var state = try? states.trial(name),
                case .active? = try fill(state),
                let real = try MappedDevice(name: LayerNames(name).real),
                let label = try TrialLabel.read(state.storePath)
            else { continue }
            switch label.state {
            case .active, .asked: break
            case .discarding:
                try forgetDiscard(state)
                continue
            default: continue
            }
            let witness = try MountWitness.read(real)
            if witness != label.witness || label.isUnwitnessed {
                try setLabel(state) {
                    $0.witness = witness
                    $0.isUnwitnessed = false
                }
            }
            if state.bootID != Boot.id {
                state.bootID = Boot.id
                try states.save(state)
            }
        }
    }

    /// The trial goes on, when a discard was stopped before its merge began: the volume may be written.
    private func forgetDiscard(_ state: TrialState) throws {
        // Whoever has the lock is discarding.
        guard let lock = try? states.lock(state.device) else { return }
        defer { withExtendedLifetime(lock) {} }
        guard try condition(of: state) == .active else { return }
        try setLabel(state) { $0.state = .active }
    }
}

/// Keeps file systems from writing, when what they write could not be taken back.
enum FileSystemGuard {
    /// Makes what is mounted from the device read-only, but for the root of the system; says so.
    static func stopWriting(to device: MappedDevice) -> String {
        let mounts = MountTable.mounts(of: device.number).filter { !$0.isReadOnly }
        guard !mounts.contains(where: { $0.path == "/" }) else {
            return "; end the trial now, or it cannot be discarded any more"
        }
        let stopped = mounts.filter { FileOperation.remountReadOnly($0.path) }
        guard !stopped.isEmpty else { return "" }
        return "; \(stopped.map(\.path).joined(separator: ", ")) was made read-only: end the trial"
    }
}
