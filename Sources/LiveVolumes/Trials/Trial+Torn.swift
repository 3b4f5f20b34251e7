internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// How it is known that a trial's view does not fit its volume any more.
extension Trial {
    /// How the trial stands; one whose layer is gone is marked as torn for good.
    ///
    /// The caller has the device's lock.
    func settle(_ state: TrialState) throws -> TrialStatus.Condition {
        let condition = try condition(of: state)
        guard case .lost(let reason) = condition,
            let label = try? TrialLabel.read(state.storePath), label.device == state.device,
            label.state == .active || label.state == .asked
        else { return condition }
        let isOverflow = try fill(state).map { if case .lost = $0 { true } else { false } } ?? false
        try setLabel(state) { $0.state = isOverflow ? .failed : .torn }
        if !isOverflow {
            Kernel.say("varve: \(Self.tornText(state.device, reason))")
        }
        return condition
    }

    private static func tornText(_ name: String, _ reason: String) -> String {
        "the trial of /dev/mapper/\(name) can no longer be discarded (\(reason)); end it with "
            + "'varve trial keep', and restore a snapshot to undo its changes"
    }

    /// What is to be heard of a trial whose layer is gone; marks it.
    func tornWarning(_ state: TrialState) throws -> String? {
        guard case .lost(let reason) = try condition(of: state) else { return nil }
        let label = (try? TrialLabel.read(state.storePath)) ?? nil
        if label?.state == .torn || label?.state == .failed {
            return Self.tornText(state.device, reason)
        }
        // A command that has the lock takes the layer away in order.
        return try states.withLockIfFree(state.device) {
            guard let state = try? states.trial(state.device),
                case .lost(let reason) = try settle(state)
            else { return nil }
            return Self.tornText(state.device, reason)
        } ?? nil
    }

    /// What every command has to say that has to do with disks in use: of trials that cannot be
    /// discarded any more.
    package func warnings() -> [String] {
        ((try? states.devices(with: "trial")) ?? []).compactMap { name in
            guard let state = try? states.trial(name) else { return nil }
            return try? tornWarning(state)
        }
    }

    /// The stamp of the file system in the trial's view.
    func viewStamp(_ device: MappedDevice) throws -> FileSystemStamp {
        guard let view = try MappedDevice(name: LayerNames(device.name).trialView) else {
            throw VolumeError(.failed, "the frozen view of \(device.path) is gone")
        }
        return try FileSystemStamp.read(view)
    }

    /// Refuses a view that does not show what the volume held when the trial began.
    func proveView(_ state: TrialState, _ device: MappedDevice) throws {
        guard try condition(of: state) == .active,
            let label = try TrialLabel.read(state.storePath),
            try viewStamp(device) != label.before
        else { return }
        try setLabel(state) { $0.state = .torn }
        throw VolumeError(
            .failed,
            "the trial of \(device.path) is torn: its frozen view does not match the volume "
                + "when the trial began, so it cannot be discarded; end it with 'varve trial "
                + "keep', and restore a snapshot")
    }

    // MARK: Orderly end of the machine

    /// Puts trials to rest whose volumes are written no more: the label gets the stamp that the next
    /// start has to find.
    ///
    /// - Parameter isLast: after the last write of the root, when it is mounted read-only; else volumes
    ///   that are unmounted are meant, and their layers are taken away, so that the file systems with
    ///   their stores can be unmounted too.
    /// - Returns: what is to be heard.
    package func stop(isLast: Bool) -> [String] {
        var warnings: [String] = []
        for name in (try? states.devices(with: "trial")) ?? [] {
            do {
                guard let state = try states.trial(name) else { continue }
                // The root cannot be written any more: nobody else is there, and no lock can be made.
                let isAtRest =
                    isLast
                    ? try stop(state, isLast: true)
                    : try states.withLock(name, attempts: Self.lockAttempts) {
                        try stop(state, isLast: false)
                    }
                if case .lost(let reason) = try condition(of: state) {
                    warnings.append(Self.tornText(name, reason))
                } else if !isAtRest, isLast {
                    warnings.append(
                        "/dev/mapper/\(name) is still in use: its trial has no final stamp")
                }
            } catch {
                warnings.append("/dev/mapper/\(name): \(error)")
            }
        }
        for warning in warnings { Kernel.say("varve: \(warning)") }
        return warnings
    }

    private func stop(_ state: TrialState, isLast: Bool) throws -> Bool {
        guard case .active = try settle(state), let device = try MappedDevice(name: state.device),
            let real = try OriginLayer(device).real(),
            let label = try TrialLabel.read(state.storePath),
            label.state == .active || label.state == .asked
        else { return true }
        let mounts = MountTable.mounts(of: device.number)
        guard isLast ? mounts.allSatisfy(\.isReadOnly) : mounts.isEmpty,
            isLast || DeviceUse.reason(forDevice: device.number, path: device.path) == nil
        else { return false }
        let stamp = try FileSystemStamp.read(real)
        guard mounts.isEmpty || stamp.isClean else { return false }
        try setLabel(state) {
            $0.stamp = stamp
            $0.phase = .stopped
        }
        guard !isLast, !state.isRoot else { return true }
        let isTracked = try (0..<2).contains {
            try DeviceMapper.information(of: LayerNames(device.name).view($0)) != nil
        }
        if !isTracked {
            try takeAway(device, removesLayer: true)
            release(device, of: state)
        }
        return true
    }
}
