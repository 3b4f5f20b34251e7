internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// Risky work on a volume that ends in *keep* or *discard*: what the volume held when the trial began
/// is kept until then.
///
/// ```
/// device: snapshot-origin → real           trial view: snapshot of real, with the trial's store
/// discard: snapshot-merge of that store into real; what it shows is right from the first moment
/// ```
///
/// The store begins with a ``TrialLabel``, which tells after a restart how far things were.
package struct Trial: Sendable {
    package let states: StateDirectory

    package init(states: StateDirectory) { self.states = states }

    // MARK: Begin

    /// Begins a trial; what is written from now on can be thrown away.
    ///
    /// - Parameters:
    ///   - path: the device, or where it is mounted.
    ///   - store: a directory on another file system, or an empty partition; for a root with the layer of
    ///     `varve layer install` nil, for it has a store of its own.
    ///   - storeByteCount: bytes that the store begins with, in a directory.
    ///   - now: seconds since 1970.
    /// - Returns: the state that is kept, and how long the device stood still.
    /// - Throws: ``VolumeError`` when the device or the store will not do; all is as before then.
    package func begin(
        _ path: String,
        store: String?,
        storeByteCount: UInt64?,
        now: Int64
    ) throws -> (state: TrialState, windowNanoseconds: UInt64) {
        let (device, plain, isNew) = try PlainDevice.mapped(path)
        do {
            let lock = try states.lock(device.name)
            defer { withExtendedLifetime(lock) {} }
            try refuseRoot(device)
            try endLeftover(of: device)
            let place = try place(for: device, store)
            let state = TrialState(
                device: device.name, plainDevice: plain, place: place, began: now)
            let window = try start(state, device, storeByteCount)
            return (state, window)
        } catch {
            if isNew { _ = PlainDevice.removeLayer(device.name) }
            throw error
        }
    }

    /// A root is thrown back before it is mounted, by what the start of the machine knows of it.
    private func refuseRoot(_ device: MappedDevice) throws {
        guard device.name != BootLayer.deviceName,
            MountTable.mounts(of: device.number).contains(where: { $0.path == "/" })
        else { return }
        throw VolumeError(
            .unsuitable,
            "\(device.path) is the root of the system and cannot be unmounted to be thrown back; only "
                + "a root on a plain partition can be tried upon ('varve layer install'): back it up, "
                + "and restore that if need be")
    }

    /// Refuses a device that is on trial; takes away what is left of a trial that was, or nearly was.
    private func endLeftover(of device: MappedDevice) throws {
        let old = try states.trial(device.name)
        if let old {
            guard try condition(of: old) == .over else {
                throw VolumeError(
                    .busy,
                    "\(device.path) is on trial already; end that with 'varve trial keep' or "
                        + "'varve trial discard'")
            }
        } else if try OriginLayer.status(of: LayerNames(device.name).trialView) != nil {
            throw VolumeError(
                .busy,
                "\(device.path) is on trial already, and what was known of that is lost; end it with "
                    + "'varve trial keep'")
        }
        try undoInterrupted(device)
        try takeAway(device, removesLayer: true, file: old?.storeFile)
        try states.remove(device.name, "trial")
    }

    private func place(for device: MappedDevice, _ store: String?) throws -> StorePlace {
        let configured = BootLayer.configuration()?.store
        if device.name == BootLayer.deviceName {
            guard let configured, store == nil || store == configured else {
                throw VolumeError(
                    .unsuitable,
                    "a trial of the root needs the store that the start of the machine knows; give one "
                        + "with 'varve layer install --store PARTITION'")
            }
        }
        guard let path = store ?? (device.name == BootLayer.deviceName ? configured : nil) else {
            throw VolumeError(
                .unsuitable,
                "a trial needs a store for what is overwritten; name a directory on another file "
                    + "system, or an empty partition, with --store")
        }
        let place = try StorePlace(path: path, for: device)
        try place.requireEmpty()
        var order = try StoreOrder(states: states)
        order.add(device, place)
        try order.requireSound(device)
        return place
    }

    private func start(
        _ state: TrialState,
        _ device: MappedDevice,
        _ storeByteCount: UInt64?
    ) throws -> UInt64 {
        let layer = OriginLayer(device)
        let names = LayerNames(device.name)
        let hadLayer = try layer.real() != nil
        let real = try layer.real() ?? layer.prepare()
        do {
            let store = try makeStore(state, device, storeByteCount)
            var label = TrialLabel(.none, of: device, witness: try MountWitness.read(real))
            try label.write(state.storePath)
            // It counts from the moment at which the label says so.
            try states.save(state)
            let begin = try layer.prepareView(names.trialView, of: real, store: store)
            let window = try SuspendedWindow([device.name], steps: [begin]).run()
            // A file system that was frozen wrote its superblock.
            label.witness = try MountWitness.read(real)
            label.state = .active
            try label.write(state.storePath)
            return window
        } catch {
            try? takeAway(device, removesLayer: !hadLayer, file: state.storeFile)
            if !hadLayer { layer.cancel() }
            try? states.remove(device.name, "trial")
            throw error
        }
    }

    private func makeStore(
        _ state: TrialState,
        _ device: MappedDevice,
        _ storeByteCount: UInt64?
    ) throws -> CopyStore {
        let name = LayerNames(device.name).trialStore
        let standard = min(max(device.byteCount / 20, 64 << 20), 4 << 30)
        switch state.place {
        case .directory:
            return try CopyStore.make(
                name, file: state.storePath,
                byteCount: min(
                    max(storeByteCount ?? standard, 4 * CopyStore.chunkByteCount),
                    CopyStore.fullByteCount(ofVolume: device.byteCount)),
                labelByteCount: StorePlace.labelByteCount)
        case .device(let path):
            return try CopyStore.open(
                name, device: path,
                bytes: StorePlace.labelByteCount..<(try StorePlace.byteCount(ofDevice: path)),
                isNew: true)
        }
    }

    // MARK: End

    /// Ends the trial: everything stays as it is now.
    ///
    /// - Returns: the device, and what was known of the trial; nil when that was lost.
    /// - Throws: ``VolumeError`` when the device is not on trial, or is merged already.
    package func keep(_ path: String) throws -> (device: MappedDevice, state: TrialState?) {
        guard let device = try PlainDevice.layered(path) else { throw Self.notOnTrial(path) }
        let lock = try states.lock(device.name)
        defer { withExtendedLifetime(lock) {} }
        let state = try states.trial(device.name)
        let hasView = try DeviceMapper.information(of: LayerNames(device.name).trialView) != nil
        guard state != nil || hasView else { throw Self.notOnTrial(path) }
        try undoInterrupted(device)
        if let state {
            guard try condition(of: state) != .merging else {
                throw VolumeError(
                    .unsuitable,
                    "\(device.path) shows already what it held when the trial began; run 'varve trial "
                        + "discard' again to end it")
            }
            // From here on nothing would be thrown away, whatever happens.
            try setLabel(state) { $0.state = .none }
        }
        try takeAway(device, removesLayer: true, file: state?.storeFile)
        try states.remove(device.name, "trial")
        return (device, state)
    }

    /// Takes the layer over a plain device away, unless it is in use.
    package func release(_ device: MappedDevice, of state: TrialState?) {
        if state?.plainDevice != nil { _ = PlainDevice.removeLayer(device.name) }
    }

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
        let lock = try states.lock(device.name)
        defer { withExtendedLifetime(lock) {} }
        try undoInterrupted(device)
        switch try condition(of: state) {
        case .active, .merging: break
        case .over:
            guard try TrialLabel.read(state.storePath)?.state == .discarded else {
                throw VolumeError(
                    .unsuitable,
                    "the trial of \(device.path) is over already; 'varve trial keep' takes away what is "
                        + "left of it")
            }
            try end(state, device)
            return .done
        case .interrupted:
            throw VolumeError(
                .unsuitable,
                "the machine was restarted; run 'varve trial resume' before \(device.path) is mounted"
            )
        case .lost(let reason):
            throw VolumeError(
                .failed,
                "what \(device.path) held when the trial began is lost (\(reason)), so that nothing can "
                    + "be thrown away; end the trial with 'varve trial keep', and restore a snapshot"
            )
        }
        if device.name == BootLayer.deviceName {
            try setLabel(state) { $0.state = .asked }
            return .atNextStart
        }
        let isMerging = try condition(of: state) == .merging
        if let reason = try useReason(device), !isMerging {
            throw VolumeError(
                .busy, "\(device.path) is in use (\(reason)); unmount it, then discard the trial")
        }
        if !isMerging {
            do {
                try CopyStore(name: LayerNames(device.name).trialStore)
                    .requireSound(volumeByteCount: device.byteCount)
            } catch let error as NothingKnown {
                throw VolumeError(
                    .failed,
                    "nothing can be thrown away on \(device.path): \(error); end the trial with 'varve "
                        + "trial keep', and restore a snapshot")
            }
        }
        try setLabel(state) { $0.state = .discarding }
        if !isMerging { try startMerge(state, device) }
        try finishMerge(state, device, progress)
        return .done
    }

    private func useReason(_ device: MappedDevice) throws -> String? {
        if let reason = DeviceUse.reason(forDevice: device.number, path: device.path) {
            return reason
        }
        let count = try DeviceMapper.information(of: device.name)?.openCount ?? 0
        return count > 0 ? "a program has it open" : nil
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
        // What is tracked is not what comes next: the next backup begins anew.
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
    private func undoInterrupted(_ device: MappedDevice) throws {
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
            else { throw VolumeError(.failed, "\(device.path) is merged by nobody any more") }
            let status = SnapshotStatus(line.parameters)
            if status.isMergeDone { break }
            guard case .active(let used, _, let metadata) = status else {
                throw VolumeError(
                    .failed,
                    "the merge into \(device.path) failed (\(line.parameters)); see the kernel's log, "
                        + "mend the device, and discard again: until then do not mount it")
            }
            let rest = (used - metadata) * UInt64(TableLine.sectorByteCount)
            let total = first ?? rest
            first = total
            progress(total - min(rest, total), total)
            if Interruption.isRequested {
                throw VolumeError(
                    .failed,
                    "the merge into \(device.path) goes on by itself; run 'varve trial discard' again "
                        + "to wait for its end")
            }
            SystemClock.sleep(milliseconds: 100)
        }
        let layer = OriginLayer(device)
        try layer.prepareRemoval()
        _ = try SuspendedWindow([device.name], steps: []).run()
        try setLabel(state) { $0.state = .discarded }
        try end(state, device)
    }

    /// Takes away what a trial needed that was thrown away.
    private func end(_ state: TrialState, _ device: MappedDevice) throws {
        try takeAway(device, removesLayer: true, file: state.storeFile)
        try states.remove(device.name, "trial")
        release(device, of: state)
    }

    /// Takes the trial's view and store from under the device, and the layer unless it is tracked; the
    /// store's file last.
    func takeAway(_ device: MappedDevice, removesLayer: Bool, file: String? = nil) throws {
        let layer = OriginLayer(device)
        let names = LayerNames(device.name)
        let isTracked = try (0..<2).contains {
            try DeviceMapper.information(of: names.view($0)) != nil
        }
        let hasView = try DeviceMapper.information(of: names.trialView) != nil
        if try layer.real() != nil {
            let steps = hasView ? [try layer.prepareEnd(of: names.trialView)] : []
            if removesLayer, !isTracked { try layer.prepareRemoval() }
            _ = try SuspendedWindow([device.name], steps: steps).run()
        }
        for name in [names.trialView, names.trialStore]
        where try DeviceMapper.information(of: name) != nil {
            try DeviceMapper.removePatiently(name)
        }
        if removesLayer, !isTracked { try layer.finishRemoval() }
        if let file { try FileOperation.remove(file) }
    }

    func setLabel(_ state: TrialState, _ change: (inout TrialLabel) -> Void) throws {
        guard var label = try TrialLabel.read(state.storePath), label.device == state.device else {
            throw VolumeError(
                .failed, "\(state.storePath) is not the store of this trial any more")
        }
        change(&label)
        try label.write(state.storePath)
    }

    private static func notOnTrial(_ path: String) -> VolumeError {
        VolumeError(.unsuitable, "\(path) is not on trial; 'varve trial status' shows what is")
    }

    /// The frozen view of what the device held when the trial began.
    package func viewPath(_ state: TrialState) -> String {
        "/dev/mapper/" + LayerNames(state.device).trialView
    }
}
