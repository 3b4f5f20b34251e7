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

    /// For two seconds: the watch has a lock for a moment now and then.
    static let lockAttempts = 40

    package init(states: StateDirectory) { self.states = states }

    // MARK: Begin

    /// Begins a trial; what is written from now on can be thrown away.
    ///
    /// - Parameters:
    ///   - path: the device, or where it is mounted.
    ///   - store: a directory on another file system, or an empty partition; for a root with the layer of
    ///     `varve layer install` nil, for it has a store of its own.
    ///   - storeByteCount: bytes of the store in a directory that are set aside at once, where there is
    ///     room; nil for none.
    ///   - now: seconds since 1970.
    /// - Returns: the state that is kept, and how long the device was paused.
    /// - Throws: ``VolumeError`` when the device or the store will not do; all is as before then.
    package func begin(
        _ path: String,
        store: String?,
        storeByteCount: UInt64?,
        now: Int64
    ) throws -> (state: TrialState, windowNanoseconds: UInt64) {
        let (device, plain, isNew) = try PlainDevice.mapped(path)
        do {
            return try states.withLock(device.name, attempts: Self.lockAttempts) {
                try refuseRoot(device)
                try endLeftover(of: device)
                try PhysicalVolume.refuse(device)
                let place = try place(for: device, store)
                let state = TrialState(
                    device: device.name, plainDevice: plain, place: place, began: now)
                let window = try start(state, device, storeByteCount)
                if !state.isRoot { TrialService.start(states) }
                return (state, window)
            }
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
            "\(device.path) is the root file system and cannot be unmounted for a discard; only "
                + "a root on a plain partition can be put on trial ('varve layer install'): back "
                + "it up, and restore the backup if needed")
    }

    /// Refuses a device that is on trial; takes away what is left of a trial that was, or nearly was.
    private func endLeftover(of device: MappedDevice) throws {
        let old = try states.trial(device.name)
        if let old {
            guard try condition(of: old) == .over else {
                throw VolumeError(
                    .busy,
                    "\(device.path) is already on trial; end the trial with 'varve trial keep' or "
                        + "'varve trial discard'")
            }
        } else if try OriginLayer.status(of: LayerNames(device.name).trialView) != nil {
            throw VolumeError(
                .busy,
                "\(device.path) is already on trial, but the record of the trial is lost; end it "
                    + "with 'varve trial keep'")
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
                    "a trial of the root needs a store that is known at boot; set one "
                        + "with 'varve layer install --store PARTITION'")
            }
        }
        guard let path = store ?? (device.name == BootLayer.deviceName ? configured : nil) else {
            throw VolumeError(
                .unsuitable,
                "a trial needs a store for overwritten data; name a directory on another file "
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
            var label = TrialLabel(.none, of: device, stamp: try FileSystemStamp.read(real))
            try label.write(state.storePath)
            // It counts from the moment at which the label says so.
            try states.save(state)
            let begin = try layer.prepareView(names.trialView, of: real, store: store)
            let window = try SuspendedWindow([device.name], steps: [begin]).run()
            try TrialHold(device).take()
            label.before = try viewStamp(device)
            // A file system that was frozen wrote its superblock.
            label.stamp = try FileSystemStamp.read(real)
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
        switch state.place {
        case .directory:
            return try CopyStore.make(
                name, file: state.storePath, volumeByteCount: device.byteCount,
                reservedByteCount: storeByteCount ?? 0, labelByteCount: StorePlace.labelByteCount)
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
        if let state = try goneDevice(path) { return (try clear(state), state) }
        guard let device = try PlainDevice.layered(path) else { throw Self.notOnTrial(path) }
        return try states.withLock(device.name, attempts: Self.lockAttempts) {
            let state = try states.trial(device.name)
            let hasView = try DeviceMapper.information(of: LayerNames(device.name).trialView) != nil
            guard state != nil || hasView else { throw Self.notOnTrial(path) }
            try undoInterrupted(device)
            if let state {
                guard try settle(state) != .merging else {
                    throw VolumeError(
                        .unsuitable,
                        "\(device.path) already shows its contents from before the trial; run "
                            + "'varve trial discard' again to finish")
                }
                // From here on nothing would be thrown away, whatever happens.
                try setLabel(state) { $0.state = .none }
            }
            try takeAway(device, removesLayer: true, file: state?.storeFile)
            try states.remove(device.name, "trial")
            return (device, state)
        }
    }

    /// The trial of a device that was removed, as a volume group does by force; nil while it is there.
    private func goneDevice(_ path: String) throws -> TrialState? {
        let name = Directory.baseName(of: path)
        guard path == "/dev/mapper/\(name)", try DeviceMapper.information(of: name) == nil else {
            return nil
        }
        return try states.trial(name)
    }

    /// Takes away what is left of a trial whose device was removed.
    private func clear(_ state: TrialState) throws -> MappedDevice {
        let device = MappedDevice(name: state.device, number: 0, sectorCount: 0)
        return try states.withLock(device.name, attempts: Self.lockAttempts) {
            try? setLabel(state) { $0.state = .none }
            let names = LayerNames(device.name)
            try TrialHold(device).release()
            for name in [names.trialView, names.trialStore, names.real]
            where try DeviceMapper.information(of: name) != nil {
                try DeviceMapper.removePatiently(name)
            }
            if let file = state.storeFile { try FileOperation.remove(file) }
            try states.remove(device.name, "trial")
            return device
        }
    }

    /// Takes the layer over a plain device away, unless it is in use.
    package func release(_ device: MappedDevice, of state: TrialState?) {
        if state?.plainDevice != nil { _ = PlainDevice.removeLayer(device.name) }
    }

    /// Takes the trial's view and store from under the device, and the layer unless it is tracked; the
    /// store's file last.
    func takeAway(_ device: MappedDevice, removesLayer: Bool, file: String? = nil) throws {
        let layer = OriginLayer(device)
        let names = LayerNames(device.name)
        let isTracked = try (0..<2).contains {
            try DeviceMapper.information(of: names.view($0)) != nil
        }
        try TrialHold(device).release()
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
                .failed, "\(state.storePath) is no longer the store of this trial")
        }
        change(&label)
        try label.write(state.storePath)
    }

    static func notOnTrial(_ path: String) -> VolumeError {
        VolumeError(.unsuitable, "\(path) is not on trial; 'varve trial status' shows what is")
    }

    /// The frozen view of what the device held when the trial began.
    package func viewPath(_ state: TrialState) -> String {
        "/dev/mapper/" + LayerNames(state.device).trialView
    }
}
