internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// Volumes that can be captured while they are in use, and of which is known what was written since.
///
/// A frozen view of each is there all the time. A capture reads a new one, and what was written while
/// the old one was there is the claim of what changed in between.
package struct Tracking: Sendable {
    package let states: StateDirectory

    package init(states: StateDirectory) { self.states = states }

    // MARK: Begin and end

    /// Begins to track a device of device-mapper, in use or not, or puts a layer over a plain one that
    /// nothing uses.
    ///
    /// - Parameters:
    ///   - path: the device, or where it is mounted.
    ///   - store: a directory on another file system, or an empty partition; nil for a thin device or
    ///     one with a dm-era target, which need none.
    ///   - storeByteCount: bytes of each store in a directory that are set aside at once, where there
    ///     is room; nil for none. A store takes what it needs, up to a copy of the volume.
    ///   - now: seconds since 1970.
    /// - Returns: the state that is kept, and how long the device was paused; nil if it was not.
    /// - Throws: ``VolumeError`` when the device or the store will not do; all is as before then.
    package func begin(
        _ path: String,
        store: String?,
        storeByteCount: UInt64?,
        now: Int64
    ) throws -> (state: TrackingState, windowNanoseconds: UInt64?) {
        let (device, plain, isNew) = try PlainDevice.mapped(path)
        do {
            let lock = try states.lock(device.name)
            try replaceState(device)
            let state = TrackingState(
                device: device, plainDevice: plain,
                mechanism: try mechanism(for: device, store, storeByteCount), now: now)
            if case .era = state.mechanism {
                try states.save(state)
                return (state, nil)
            }
            do {
                let turn = try freshTurn(
                    device, state, lock,
                    why: MissingEvidence(reason: "tracking just began", isExpected: true))
                let (view, window) = try run(turn, now)
                return (view.state, window)
            } catch {
                if let begun = try? states.tracking(device.name) {
                    try? views(begun, device)?.takeAway()
                    try? states.remove(device.name, "tracking")
                }
                throw error
            }
        } catch {
            if isNew { _ = PlainDevice.removeLayer(device.name) }
            throw error
        }
    }

    /// Refuses a device that is tracked; takes away what is left of one that was.
    private func replaceState(_ device: MappedDevice) throws {
        guard let state = try? states.tracking(device.name) else { return }
        let views = views(state, device)
        var isTracked = state.bootID == Boot.id || state.mechanism.outlivesRestart
        if isTracked, let views { isTracked = try views.isInPlace && views.isLive(state.view) }
        guard !isTracked else {
            throw VolumeError(
                .busy, "\(device.path) is already tracked; 'varve track status' shows it")
        }
        try views?.takeAway()
        try states.remove(device.name, "tracking")
    }

    /// What a device can do by itself goes before a layer.
    private func mechanism(
        for device: MappedDevice,
        _ store: String?,
        _ storeByteCount: UInt64?
    ) throws -> TrackingState.Mechanism {
        let thin = try ThinPool.of(device)
        let hasViews = try thin != nil || EraDevice(device) == nil
        if hasViews { try PhysicalVolume.refuse(device) }
        guard thin != nil || !hasViews else {
            guard let store else {
                throw VolumeError(
                    .unsuitable,
                    "\(device.path) needs a store for overwritten data: name one with --store")
            }
            return .stores(try place(for: device, store), byteCount: storeByteCount ?? 0)
        }
        guard store == nil, storeByteCount == nil else {
            throw VolumeError(
                .unsuitable,
                "\(device.path) tracks its own changes and needs no store; leave out --store")
        }
        guard let thin else { return .era(diskSequence: EraDevice.diskSequence(of: device)) }
        return .thinPool(identity: thin.pool.identity, deviceID: thin.deviceID)
    }

    /// The views of a device; nil where there are none, because it is captured at rest.
    func views(_ state: TrackingState, _ device: MappedDevice) -> (any FrozenViews)? {
        switch state.mechanism {
        case .stores(let place, let byteCount):
            CopyOnWriteViews(device: device, place: place, storeByteCount: byteCount)
        case .thinPool(let identity, let deviceID):
            ThinViews(
                device: device, poolIdentity: identity, deviceID: deviceID, own: state.ownViews,
                states: states)
        case .era: nil
        }
    }

    private func place(for device: MappedDevice, _ store: String) throws -> StorePlace {
        let place = try StorePlace(path: store, for: device)
        try place.requireEmpty()
        if case .directory(let directory) = place {
            _ = try StoreRoom(directory: directory, device.byteCount).byteCount()
        }
        var order = try StoreOrder(states: states)
        order.add(device, place)
        try order.requireSound(device)
        return place
    }

    /// Ends tracking and takes the layer away; a plain device keeps its own while it is in use.
    ///
    /// A device that was removed while it was tracked is named as it was.
    package func end(_ path: String) throws -> (device: String, keepsLayer: Bool) {
        guard let device = try existing(path) else {
            guard let name = try lostDevice(path) else {
                throw VolumeError(
                    .unsuitable,
                    "\(path) is not a device-mapper device, so it is not tracked")
            }
            return try states.withLock(name) {
                try removeLeftovers(of: name)
                return (name, false)
            }
        }
        return try states.withLock(device.name) {
            let state = try? states.tracking(device.name)
            if let state {
                try views(state, device)?.takeAway()
            } else {
                try lostViews(device).takeAway()
            }
            let keepsLayer = state?.plainDevice != nil && !PlainDevice.removeLayer(device.name)
            try forget(device.name)
            return (device.name, keepsLayer)
        }
    }

    /// Takes views and layer away for the rest of this run of the machine, and goes on being to be begun
    /// anew: what uses the file system of the store is gone then.
    package func release(_ device: String) throws {
        guard states.text(device, "tracking") != nil else { return }
        // A backup that is under way is asked to stop too.
        try states.withLock(device, attempts: Self.releaseAttempts) {
            guard let state = try states.tracking(device),
                let found = try MappedDevice(name: device)
            else { return }
            try views(state, found)?.takeAway()
        }
    }

    private static let releaseAttempts = StateDirectory.lockAttempts(seconds: 60)

    /// Removes what is kept of a device.
    private func forget(_ device: String) throws {
        try states.remove(device, "tracking")
        try states.removeWritten(device, below: .max)
        ReleaseUnit.end(device)
    }

    private func removeLeftovers(of device: String) throws {
        switch (try? states.tracking(device))?.mechanism {
        case .thinPool(let identity, _):
            let own = (try? states.tracking(device))?.ownViews ?? []
            try ThinViews.removeLeftovers(of: device, identity: identity, own: own)
        case .stores(let place, _):
            try CopyOnWriteViews.removeLeftovers(of: device, place: place)
        case .era: break
        case nil: try CopyOnWriteViews.removeLeftovers(of: device, place: nil)
        }
        try forget(device)
    }

    /// The name of a device that was tracked and is not there any more, such as a logical volume that was
    /// removed; nil when `path` was none.
    private func lostDevice(_ path: String) throws -> String? {
        let known = try states.devices(with: "tracking")
        for name in LayerNames.names(ofDevice: path) {
            let isLeft =
                try known.contains(name)
                || DeviceMapper.information(of: LayerNames(name).real) != nil
            if isLeft, try MappedDevice(name: name) == nil { return name }
        }
        // A plain device whose layer is gone, as after a restart.
        let resolved = Directory.resolve(path) ?? path
        return known.first { name in
            guard let plain = try? states.tracking(name)?.plainDevice else { return false }
            return [path, resolved].contains(plain) || Directory.resolve(plain) == resolved
        }
    }

    /// What is there of a device whose state is lost: all that has the names of our layers is ours.
    private func lostViews(_ device: MappedDevice) throws -> any FrozenViews {
        guard let thin = try ThinPool.of(device) else { return CopyOnWriteViews(device: device) }
        return ThinViews(
            device: device, poolIdentity: thin.pool.identity, deviceID: thin.deviceID, own: [],
            states: states)
    }

    /// Ends the views of a device that is about to be thrown back: nothing is known of it afterwards.
    func endViews(_ device: MappedDevice) throws {
        let names = LayerNames(device.name)
        let layer = OriginLayer(device)
        let views = try (0..<2 as Range<UInt64>).filter {
            try DeviceMapper.information(of: names.view($0)) != nil
        }
        guard !views.isEmpty else { return }
        let ends = try views.map { try layer.prepareEnd(of: names.view($0)) }
        _ = try SuspendedWindow([device.name], steps: ends).run()
        for name in views.flatMap({ [names.view($0), names.store($0)] })
        where try DeviceMapper.information(of: name) != nil {
            try DeviceMapper.removePatiently(name)
        }
    }

    /// The tracked device that `path` names; nil where that is no device of device-mapper, or is gone.
    private func existing(_ path: String) throws -> MappedDevice? {
        guard let found = try? FileStatus(path: path), found.kind != .other,
            let device = try PlainDevice.layered(path)
        else { return nil }
        // A state that is damaged is one, too.
        let hasState = states.text(device.name, "tracking") != nil
        guard try hasState || OriginLayer(device).real() != nil else {
            throw VolumeError(.unsuitable, "\(device.path) is not tracked")
        }
        return device
    }

    // MARK: Views

    /// The tracked device that `path` names, itself or by the plain one below it; nil when there is none.
    package func trackedDevice(_ path: String) throws -> (device: MappedDevice, hasViews: Bool)? {
        guard let device = try PlainDevice.layered(path),
            let state = try states.tracking(device.name)
        else { return nil }
        if case .era = state.mechanism { return (device, false) }
        return (device, true)
    }

    /// Ends the era of a tracked device that has no views, and is open for a capture at rest.
    package func endEra(of device: MappedDevice) throws -> any TrackedMoment {
        try EraMoment(device, states: states)
    }

    // MARK: Trim

    /// Lets the file systems on the device discard what they do not use, which a layer holds back.
    package func trim(_ path: String, now: Int64) throws -> (byteCount: UInt64, mounts: [String]) {
        guard let device = try existing(path) else {
            throw VolumeError(.unsuitable, "\(path) is not tracked")
        }
        let mounts = MountTable.mounts(of: device.number).filter { !$0.isReadOnly }
        guard let mount = mounts.first else {
            throw VolumeError(
                .unsuitable, "\(device.path) is not mounted; there is nothing to trim")
        }
        let lock = try states.lock(device.name)
        guard let state = try states.tracking(device.name) else {
            throw VolumeError(.unsuitable, "\(device.path) is not tracked")
        }
        guard case .stores = state.mechanism, let views = views(state, device) else {
            throw VolumeError(
                .unsuitable,
                "tracking does not hold back discards on \(device.path): run 'fstrim "
                    + "\(mount.path)'")
        }
        guard try DeviceMapper.information(of: LayerNames(device.name).trialView) == nil else {
            throw VolumeError(
                .busy,
                "\(device.path) is on trial, and the trial needs what a trim would discard; end it "
                    + "first")
        }
        try views.takeAway()
        let trimmed = Result { try FileOperation.trimFileSystem(at: mount.path) }
        _ = try run(
            freshTurn(
                device, state, lock,
                why: MissingEvidence(reason: "the volume was trimmed", isExpected: true)), now)
        return (try trimmed.get(), mounts.map(\.path))
    }
}
