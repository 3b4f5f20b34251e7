internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

extension Trial {
    /// What became of a discard.
    package enum Discard: Hashable, Sendable {
        case done
        /// The root is thrown back when the machine starts again.
        case atNextStart
    }

    /// Throws away what was written since the trial began.
    ///
    /// - Throws: ``VolumeError`` of kind `busy` while the device is in use, `failed` when the store was
    ///   lost; nothing is changed then.
    package func discard(
        _ path: String,
        progress: (_ doneByteCount: UInt64, _ byteCount: UInt64) -> Void
    ) throws -> Discard {
        guard let device = try PlainDevice.layered(path), let state = try states.trial(device.name)
        else { throw Self.notOnTrial(path) }
        return try states.withLock(device.name, attempts: Self.lockAttempts) {
            try undoInterrupted(device)
            switch try settle(state) {
            case .active, .merging: break
            case .over:
                guard try TrialLabel.read(state.storePath)?.state == .discarded else {
                    throw VolumeError(
                        .unsuitable,
                        "the trial of \(device.path) has already ended; 'varve trial keep' removes "
                            + "what is left of it")
                }
                try end(state, device)
                return .done
            case .interrupted:
                throw VolumeError(
                    .unsuitable,
                    "the layer is missing since the machine was restarted or the trial was closed; "
                        + "run 'varve trial resume' before \(device.path) is mounted"
                )
            case .lost(let reason):
                throw VolumeError(
                    .failed,
                    "the earlier contents of \(device.path) are lost (\(reason)), so the trial "
                        + "cannot be discarded; end it with 'varve trial keep', and restore a "
                        + "snapshot"
                )
            }
            try proveView(state, device)
            if device.name == BootLayer.deviceName {
                try setLabel(state) { $0.state = .asked }
                return .atNextStart
            }
            let isMerging = try condition(of: state) == .merging
            if let reason = try useReason(device), !isMerging {
                throw VolumeError(
                    .busy,
                    "\(device.path) is in use (\(reason)); unmount it, then discard the trial")
            }
            if !isMerging {
                do {
                    try CopyStore(name: LayerNames(device.name).trialStore)
                        .requireSound(volumeByteCount: device.byteCount)
                } catch let error as NothingKnown {
                    throw VolumeError(
                        .failed,
                        "the trial of \(device.path) cannot be discarded: \(error); end it with "
                            + "'varve trial keep', and restore a snapshot")
                }
            }
            if !isMerging {
                let stamp = try OriginLayer(device).real().map(FileSystemStamp.read)
                try setLabel(state) {
                    $0.state = .discarding
                    $0.stamp = stamp ?? $0.stamp
                }
                try startMerge(state, device)
            }
            try finishMerge(state, device, progress)
            return .done
        }
    }

    private func useReason(_ device: MappedDevice) throws -> String? {
        if let reason = DeviceUse.reason(forDevice: device.number, path: device.path) {
            return reason
        }
        let count = try DeviceMapper.information(of: device.name)?.openCount ?? 0
        // What holds the trial has it open too.
        let ownCount = try TrialHold(device).isTaken ? 1 : 0
        return count > ownCount ? "open in a program" : nil
    }

    /// Lets the device show what it held when the trial began, and write that back from now on.
    ///
    /// The merge takes the list of what is kept over from the view as the device goes on: until then
    /// the view keeps what is written, so that nothing is lost when this fails or is killed.
    private func startMerge(_ state: TrialState, _ device: MappedDevice) throws {
        let names = LayerNames(device.name)
        guard let real = try OriginLayer(device).real(),
            let store = try MappedDevice(name: names.trialStore)
        else { throw VolumeError(.failed, "the layer under \(device.path) is gone") }
        // What is tracked is not what comes next: the next backup starts over.
        try Tracking(states: states).endViews(device)
        try DeviceMapper.load(
            device.name,
            [
                .snapshotMerge(
                    into: real.tableName, store: store.tableName,
                    chunkSectorCount: CopyStore.chunkSectorCount, sectorCount: real.sectorCount)
            ])
        _ = try SuspendedWindow(
            [device.name], steps: [try PreparedCall(.suspend, names.trialView)],
            undo: [try PreparedCall(.resume, names.trialView, isPrivate: true)]
        ).run()
    }

    /// Lets the device and its view go on as they were, when a killed command left them standing still.
    func undoInterrupted(_ device: MappedDevice) throws {
        try device.dropLoadedTable()
        let view = LayerNames(device.name).trialView
        // Before the device: a view that stands still keeps nothing. One whose list was taken over by a
        // merge never goes on.
        if try OriginLayer.status(of: view) != nil,
            try DeviceMapper.status(device.name).first?.target != "snapshot-merge"
        {
            try PreparedCall(.clear, view).run()
            try DeviceMapper.resume(view)
        }
        try device.resumeIfSuspended()
    }

    /// Waits for the merge, and puts the table of before back.
    func finishMerge(
        _ state: TrialState,
        _ device: MappedDevice,
        _ progress: (UInt64, UInt64) -> Void
    ) throws {
        var first: UInt64?
        while true {
            guard let line = try DeviceMapper.status(device.name).first,
                line.target == "snapshot-merge"
            else { throw VolumeError(.failed, "the merge into \(device.path) has stopped") }
            let status = SnapshotStatus(line.parameters)
            if status.isMergeDone { break }
            guard case .active(let used, _, let metadata) = status else {
                throw VolumeError(
                    .failed,
                    "the merge into \(device.path) failed (\(line.parameters)); see the kernel "
                        + "log, repair the device and discard again; do not mount it until then")
            }
            let rest = (used - metadata) * UInt64(TableLine.sectorByteCount)
            let total = first ?? rest
            first = total
            progress(total - min(rest, total), total)
            if Interruption.isRequested {
                throw VolumeError(
                    .failed,
                    "the merge into \(device.path) continues by itself; run 'varve trial discard' "
                        + "again to wait for it")
            }
            SystemClock.sleep(milliseconds: 100)
        }
        let layer = OriginLayer(device)
        try layer.prepareRemoval()
        _ = try SuspendedWindow([device.name], steps: []).run()
        let isBack = try TrialLabel.read(state.storePath)?.before == FileSystemStamp.read(device)
        try setLabel(state) { $0.state = isBack ? .discarded : .failed }
        guard isBack else {
            throw VolumeError(
                .failed,
                "\(device.path) was written back, but its file system differs from the one when "
                    + "the trial began; do not mount it, end the trial with 'varve trial keep', "
                    + "and restore a snapshot")
        }
        try end(state, device)
    }

    /// Takes away what a trial needed that was thrown away.
    private func end(_ state: TrialState, _ device: MappedDevice) throws {
        try takeAway(device, removesLayer: true, file: state.storeFile)
        try states.remove(device.name, "trial")
        release(device, of: state)
    }
}
