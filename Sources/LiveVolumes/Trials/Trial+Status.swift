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
        return try names.compactMap { name in
            guard let state = try states.trial(name) else { return nil }
            // A command that works with the device settles it itself.
            _ = try states.withLockIfFree(name) { try settle(state) }
            return try status(of: state)
        }
    }

    private func status(of state: TrialState) throws -> TrialStatus {
        let device = try MappedDevice(name: state.device)
        var used: UInt64 = 0
        var total: UInt64 = 0
        if case .active(let a, let b) = try fill(state) { (used, total) = (a, b) }
        return TrialStatus(
            state: state, condition: try condition(of: state), usedByteCount: used,
            storeByteCount: total,
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
            return .lost("\(state.storePath) is no longer its store")
        }
        switch label.state {
        case .none, .discarded: return .over
        case .torn:
            return .lost(
                "torn: the volume was, or may have been, written without the "
                    + "layer")
        case .failed: return .lost("its store overflowed, or could not be read or written back")
        case .active, .asked, .discarding: break
        }
        switch try fill(state) {
        case .active?:
            return try isLayered(state)
                ? .active : .lost("torn: the layer under the volume was removed")
        case .lost?: return .lost("its store overflowed or could not be written")
        case nil:
            return state.bootID == Boot.id && label.phase != .stopped
                ? .lost("torn: its frozen view is gone") : .interrupted
        }
    }

    /// Whether the volume is written through the layer that the trial's view belongs to.
    private func isLayered(_ state: TrialState) throws -> Bool {
        guard let device = try MappedDevice(name: state.device),
            let real = try OriginLayer(device).real(),
            let view = try DeviceMapper.table(LayerNames(state.device).trialView).first
        else { return false }
        return view.parameters.hasPrefix(real.tableName + " ")
    }

    /// Looks how full stores are; gives warnings to be heard.
    func keepAhead() throws -> [String] {
        var warnings: [String] = []
        for name in try states.devices(with: "trial") {
            guard let state = try? states.trial(name) else { continue }
            if let warning = try tornWarning(state) { warnings.append(warning) }
            guard try condition(of: state) != .merging,
                let device = try MappedDevice(name: name), let fill = try fill(state)
            else { continue }
            guard case .active(let used, let total) = fill else {
                warnings.append(
                    "the store of the trial of \(device.path) overflowed: the earlier contents are "
                        + "lost, and the trial can only be ended with 'varve trial keep'")
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
        var room = total
        if case .directory(let directory) = state.place,
            let available = try FileSystemSpace.availableByteCount(directory)
        {
            let (sum, overflows) = used.addingReportingOverflow(available)
            room = overflows ? total : min(total, sum)
        }
        let full = CopyStore.fullByteCount(ofVolume: device.byteCount)
        guard used > room / 2, room < full else { return nil }
        let tenths = used * 10 / room
        // Heard once for each tenth; at nine of them the file systems are kept from writing more.
        var text =
            "the store of the trial of \(device.path) in \(state.place.path) is \(tenths * 10) % full"
        guard tenths >= 9 else { return text }
        text += FileSystemGuard.stopWriting(to: device)
        return text
    }

    /// Takes new stamps, so that a mount without the layer shows, and holds what is held by nothing.
    package func refreshStamps() throws {
        for name in try states.devices(with: "trial") {
            guard let state = try? states.trial(name), try needsRefresh(state) else { continue }
            // Whoever has the lock writes the label.
            _ = try states.withLockIfFree(name) {
                if let state = try? states.trial(name) { try refresh(state) }
            }
        }
    }

    private func needsRefresh(_ state: TrialState) throws -> Bool {
        guard case .active = try condition(of: state),
            let device = try MappedDevice(name: state.device),
            let label = try TrialLabel.read(state.storePath),
            let real = try MappedDevice(name: LayerNames(state.device).real)
        else { return false }
        let stamp = try FileSystemStamp.read(real)
        return try label.state == .discarding || label.phase != .running
            || stamp.mount != label.stamp.mount || stamp.log != label.stamp.log
            || stamp.kind != label.stamp.kind || state.bootID != Boot.id
            || stamp.log == "clean" && stamp.rest != label.stamp.rest
            || !TrialHold(device).isTaken
    }

    private func refresh(_ state: TrialState) throws {
        guard case .active = try condition(of: state),
            let device = try MappedDevice(name: state.device),
            let label = try TrialLabel.read(state.storePath),
            let real = try MappedDevice(name: LayerNames(state.device).real)
        else { return }
        try TrialHold(device).take()
        switch label.state {
        case .active, .asked:
            let stamp = try FileSystemStamp.read(real)
            try setLabel(state) {
                $0.stamp = stamp
                $0.phase = .running
            }
        // A discard that was stopped before its merge began: the volume may be written.
        case .discarding: try setLabel(state) { $0.state = .active }
        default: return
        }
        guard state.bootID != Boot.id else { return }
        var state = state
        state.bootID = Boot.id
        try states.save(state)
    }
}

/// Keeps file systems from writing, when what they write could not be taken back.
enum FileSystemGuard {
    /// Makes mounts of the device read-only, except the root file system, and says so.
    static func stopWriting(to device: MappedDevice) -> String {
        let mounts = MountTable.mounts(of: device.number).filter { !$0.isReadOnly }
        guard !mounts.contains(where: { $0.path == "/" }) else {
            return "; end the trial now, or it can no longer be discarded"
        }
        let stopped = mounts.filter { FileOperation.remountReadOnly($0.path) }
        guard !stopped.isEmpty else { return "" }
        return "; \(stopped.map(\.path).joined(separator: ", ")) was made read-only: end the trial"
    }
}
