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
    ///   - storeByteCount: bytes that each store begins with; nil for a twentieth of the volume, at
    ///     least 64 MiB and at most 4 GiB.
    ///   - now: seconds since 1970.
    /// - Returns: the state that is kept, and how long the device stood still; nil when it did not.
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
                let window = try run(
                    [try freshTurn(device, state, lock, why: "tracking just began")], now)
                return (window.views[0].state, window.windowNanoseconds)
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
                .busy, "\(device.path) is tracked already; 'varve track status' shows it")
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
        guard try thin != nil || EraDevice(device) != nil else {
            guard let store else {
                throw VolumeError(
                    .unsuitable,
                    "\(device.path) needs a place for what is overwritten: name one with --store")
            }
            let standard = min(max(device.byteCount / 20, 64 << 20), 4 << 30)
            return .stores(
                try place(for: device, store), byteCount: storeByteCount ?? standard)
        }
        guard store == nil, storeByteCount == nil else {
            throw VolumeError(
                .unsuitable,
                "\(device.path) keeps track by itself and needs no store; leave --store out")
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
        var order = try StoreOrder(states: states)
        order.add(device, place)
        try order.requireSound(device)
        return place
    }

    /// Ends tracking and takes the layer away; a plain device keeps its own while it is in use.
    package func end(_ path: String) throws -> (device: String, keepsLayer: Bool) {
        let device = try existing(path)
        let lock = try states.lock(device.name)
        defer { withExtendedLifetime(lock) {} }
        let state = try? states.tracking(device.name)
        if let state {
            try views(state, device)?.takeAway()
        } else {
            try lostViews(device).takeAway()
        }
        let keepsLayer = state?.plainDevice != nil && !PlainDevice.removeLayer(device.name)
        try states.remove(device.name, "tracking")
        try states.removeWritten(device.name, below: .max)
        return (device.name, keepsLayer)
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

    private func existing(_ path: String) throws -> MappedDevice {
        if let device = try PlainDevice.layered(path) {
            // A state that is damaged is one, too.
            let hasState = states.text(device.name, "tracking") != nil
            guard try hasState || OriginLayer(device).real() != nil else {
                throw VolumeError(.unsuitable, "\(device.path) is not tracked")
            }
            return device
        }
        throw VolumeError(
            .unsuitable, "\(path) is no device-mapper device, and so it is not tracked")
    }

    // MARK: Views

    /// The tracked device that `path` names; nil when there is none.
    package func trackedDevice(_ path: String) throws -> (device: MappedDevice, hasViews: Bool)? {
        guard let device = try MappedDevice(path: path),
            let state = try states.tracking(device.name)
        else { return nil }
        if case .era = state.mechanism { return (device, false) }
        return (device, true)
    }

    /// Ends the era of a tracked device that has no views, and is open for a capture at rest.
    package func endEra(of device: MappedDevice) throws -> any TrackedMoment {
        try EraMoment(device, states: states)
    }

    /// Begins a new frozen view of each device, all at the same moment.
    package func rotate(_ devices: [MappedDevice], now: Int64) throws -> Rotation {
        try StoreOrder.requireApart(devices)
        var turns: [Turn] = []
        do {
            for device in devices { turns.append(try turn(device)) }
        } catch {
            for turn in turns { turn.cancel() }
            throw error
        }
        return try run(turns, now)
    }

    private func turn(_ device: MappedDevice) throws -> Turn {
        let lock = try states.lock(device.name)
        try device.dropLoadedTable()
        guard var state = try states.tracking(device.name), var views = views(state, device) else {
            throw VolumeError(.unsuitable, "\(device.path) is not tracked; see 'varve track begin'")
        }
        guard state.bootID == Boot.id || state.mechanism.outlivesRestart else {
            return try freshTurn(
                device, state, lock,
                why: "the machine was restarted, and what was written meanwhile is not known")
        }
        guard try views.isInPlace, device.sectorCount == state.sectorCount else {
            return try freshTurn(
                device, state, lock,
                why: "the layer was taken from under \(device.path), which was written without it")
        }
        state.bootID = Boot.id
        if try !views.isLive(state.view) {
            // A command was stopped between the window and what follows it.
            guard try views.isLive(state.view + 1), try views.canTell(state.view) else {
                return try freshTurn(
                    device, state, lock, why: "the frozen view is gone, and what it kept with it")
            }
            let old = state.view
            state.view += 1
            _ = try close(old, views, &state)
            try states.save(state)
            views.remove(old)
        }
        let number = state.view + 1
        guard try views.canBegin(number) else {
            return try freshTurn(
                device, state, lock, why: "the number of the next view was taken by another program"
            )
        }
        state.ownViews = [state.view, number]
        try states.save(state)
        views = self.views(state, device) ?? views
        let calls = try views.prepare(number, ending: state.view)
        return Turn(
            device: device, state: state, lock: lock, views: views, number: number,
            old: state.view, steps: calls, reason: nil)
    }

    /// Begins anew, with nothing known of before.
    private func freshTurn(
        _ device: MappedDevice,
        _ state: TrackingState,
        _ lock: DeviceLock,
        why reason: String
    ) throws -> Turn {
        var state = state
        state.bindings = []
        state.bootID = Boot.id
        state.sectorCount = device.sectorCount
        guard var views = views(state, device) else {
            throw VolumeError(.unsuitable, "\(device.path) has no frozen views")
        }
        try views.takeAway()
        var number = TrackingState.freshView()
        while try !views.canBegin(number) { number = TrackingState.freshView() }
        state.view = number - 1
        state.ownViews = [number]
        try states.save(state)
        views = self.views(state, device) ?? views
        try views.prepareLayer()
        do {
            let steps = try views.prepare(number, ending: nil)
            return Turn(
                device: device, state: state, lock: lock, views: views, number: number, old: nil,
                steps: steps, reason: reason)
        } catch {
            views.cancelLayer()
            throw error
        }
    }

    private func run(_ turns: [Turn], _ now: Int64) throws -> Rotation {
        let window: UInt64
        do {
            let order = try StoreOrder(states: states)
            window = try SuspendedWindow(
                order.sorted(turns, \.device).map(\.device.name), steps: turns.flatMap(\.steps)
            ).run()
        } catch {
            for turn in turns { turn.cancel() }
            throw error
        }
        var views: [FrozenView] = []
        for turn in turns { views.append(try finish(turn, now)) }
        return Rotation(views: views, windowNanoseconds: window)
    }

    private func finish(_ turn: Turn, _ now: Int64) throws -> FrozenView {
        var state = turn.state
        var reason = turn.reason
        guard try turn.views.isInPlace else {
            throw VolumeError(
                .failed,
                "another program gave \(turn.device.path) another table at this moment; try again")
        }
        try turn.views.open(turn.number)
        if let old = turn.old, let refusal = try close(old, turn.views, &state) { reason = refusal }
        state.view = turn.number
        state.viewBegan = now
        try states.save(state)
        if let old = turn.old { turn.views.remove(old) }
        state.ownViews = [turn.number]
        try states.save(state)
        let oldest = state.bindings.map(\.view).min() ?? state.view
        try states.removeWritten(turn.device.name, below: oldest)
        return FrozenView(
            device: turn.device, state: state, states: states, views: turn.views, lock: turn.lock,
            reason: reason)
    }

    /// Keeps what was written while a view was there that has ended; says why not, and forgets what
    /// built upon it, when that is not known.
    private func close(
        _ old: UInt64,
        _ views: any FrozenViews,
        _ state: inout TrackingState
    ) throws -> String? {
        // A binding that nobody came back to would keep lists for ever.
        state.bindings.removeAll { old - min($0.view, old) >= TrackingState.viewLimit }
        do {
            let written = try views.written(old)
            if !state.bindings.isEmpty { try states.save(written, state.device, view: old) }
            return nil
        } catch {
            state.bindings = []
            return "\(error)"
        }
    }

    // MARK: Trim

    /// Lets the file systems on the device discard what they do not use, which a layer holds back.
    package func trim(_ path: String, now: Int64) throws -> (byteCount: UInt64, mounts: [String]) {
        let device = try existing(path)
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
                "tracking holds no discards back on \(device.path): run 'fstrim \(mount.path)'")
        }
        guard try DeviceMapper.information(of: LayerNames(device.name).trialView) == nil else {
            throw VolumeError(
                .busy,
                "\(device.path) is on trial, which needs what would be discarded; end it first")
        }
        try views.takeAway()
        let trimmed = Result { try FileOperation.trimFileSystem(at: mount.path) }
        _ = try run([freshTurn(device, state, lock, why: "the volume was trimmed")], now)
        return (try trimmed.get(), mounts.map(\.path))
    }
}

/// A change of views that is ready to be made in a window.
private struct Turn {
    let device: MappedDevice
    let state: TrackingState
    let lock: DeviceLock
    let views: any FrozenViews
    let number: UInt64
    /// The view that ends; nil when there was none.
    let old: UInt64?
    let steps: [PreparedCall]
    /// Why nothing is known of what was written before.
    let reason: String?

    func cancel() {
        views.remove(number)
        if let old { views.cancelEnd(of: old) } else { views.cancelLayer() }
    }
}

/// Frozen views that began at one moment.
package struct Rotation {
    package let views: [FrozenView]
    /// For how long the first device stood still.
    package let windowNanoseconds: UInt64
}
