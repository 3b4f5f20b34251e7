internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

extension Tracking {
    /// Begins a new frozen view of each device, all at the same moment.
    ///
    /// A device of which that cannot be made does not keep the others from theirs.
    package func rotate(_ devices: [MappedDevice], now: Int64) -> Rotation {
        var rotation = Rotation()
        for device in devices {
            do {
                try StoreOrder.requireApart(device, devices)
            } catch {
                rotation.failures[device] = error
            }
        }
        while true {
            var turns: [Turn] = []
            for device in devices where rotation.failures[device] == nil {
                do {
                    turns.append(try turn(device))
                } catch {
                    rotation.failures[device] = error
                }
            }
            guard !turns.isEmpty else { return rotation }
            do {
                try run(turns, now, &rotation)
                return rotation
            } catch {
                // The others are tried again without the one that would not.
                let culprit = turns.first { $0.names(error) }
                for turn in turns where culprit == nil || turn.device == culprit?.device {
                    rotation.failures[turn.device] = error
                }
            }
        }
    }

    private func turn(_ device: MappedDevice) throws -> Turn {
        let lock = try states.lock(device.name)
        try device.dropLoadedTable()
        guard var state = try states.tracking(device.name), let views = views(state, device) else {
            throw VolumeError(.unsuitable, "\(device.path) is not tracked; see 'varve track begin'")
        }
        guard state.bootID == Boot.id || state.mechanism.outlivesRestart else {
            return try freshTurn(
                device, state, lock,
                why: MissingEvidence(
                    reason:
                        "the machine was restarted, so writes since the last backup are unknown",
                    isExpected: true))
        }
        guard try views.isInPlace, device.sectorCount == state.sectorCount else {
            return try freshTurn(
                device, state, lock,
                why: MissingEvidence(
                    reason:
                        "the layer under \(device.path) was removed, and the device was written "
                        + "without it"
                ))
        }
        state.bootID = Boot.id
        // A store that is worth nothing goes before it is in the way of a new one.
        if try views.fill(state.view) == .lost {
            return try freshTurn(
                device, state, lock,
                why: MissingEvidence(
                    reason: "the store overflowed or could not be written"
                        + (state.mechanism.place.map { " (\($0.path))" } ?? "")))
        }
        if try !views.isLive(state.view) {
            // A command was stopped between the window and what follows it.
            guard try views.isLive(state.view + 1), try views.canTell(state.view) else {
                return try freshTurn(
                    device, state, lock,
                    why: MissingEvidence(
                        reason: "the frozen view is gone, with the data it kept"))
            }
            let old = state.view
            state.view += 1
            _ = try close(old, views, &state)
            try states.save(state)
            views.remove(old)
        }
        return try nextTurn(device, state, lock)
    }

    /// Goes on from the view that is there.
    private func nextTurn(
        _ device: MappedDevice,
        _ state: TrackingState,
        _ lock: DeviceLock
    ) throws -> Turn {
        var state = state
        let number = state.view + 1
        guard try views(state, device)?.canBegin(number) == true else {
            return try freshTurn(
                device, state, lock,
                why: MissingEvidence(
                    reason: "another program took the number of the next view"))
        }
        state.ownViews = [state.view, number]
        try states.save(state)
        guard let views = views(state, device) else {
            throw VolumeError(.unsuitable, "\(device.path) has no frozen views")
        }
        do {
            let calls = try views.prepare(number, ending: state.view)
            return Turn(
                device: device, state: state, lock: lock, views: views, number: number,
                old: state.view, steps: calls, missing: nil, isForOnce: false)
        } catch {
            // A full file system has no room for a second store beside the first.
            views.cancelEnd(of: state.view)
            return try freshTurn(
                device, state, lock,
                why: MissingEvidence(
                    reason: "there was no room for a new view beside the last one (\(error))"))
        }
    }

    /// Starts over, with no knowledge of earlier writes.
    func freshTurn(
        _ device: MappedDevice,
        _ state: TrackingState,
        _ lock: DeviceLock,
        why missing: MissingEvidence
    ) throws -> Turn {
        if let place = state.mechanism.place {
            // What was mounted there may be missing today.
            var order = try StoreOrder(states: states)
            order.add(device, place)
            try order.requireSound(device)
        }
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
            let isForOnce = try views.isForOnce
            let steps = try views.prepare(number, ending: nil)
            let reason =
                isForOnce
                ? MissingEvidence(
                    reason:
                        "another program, such as LVM, has a snapshot of \(device.path); "
                        + "writes cannot be tracked until it is removed") : missing
            return Turn(
                device: device, state: state, lock: lock, views: views, number: number, old: nil,
                steps: steps, missing: reason, isForOnce: isForOnce)
        } catch {
            views.cancelLayer()
            throw error
        }
    }

    /// Makes one change of views.
    func run(_ turn: Turn, _ now: Int64) throws -> (view: FrozenView, windowNanoseconds: UInt64) {
        var rotation = Rotation()
        try run([turn], now, &rotation)
        guard let view = rotation.views[turn.device] else {
            throw rotation.failures[turn.device]
                ?? VolumeError(.failed, "no frozen view of \(turn.device.path) was made")
        }
        return (view, rotation.windowNanoseconds)
    }

    /// - Throws: what made the window fail; no view has begun then.
    private func run(_ turns: [Turn], _ now: Int64, _ rotation: inout Rotation) throws {
        do {
            let order = try StoreOrder(states: states)
            rotation.windowNanoseconds = try SuspendedWindow(
                order.sorted(turns, \.device).map(\.device.name), steps: turns.flatMap(\.steps)
            ).run()
        } catch {
            for turn in turns { turn.cancel() }
            throw error
        }
        for turn in turns {
            do {
                rotation.views[turn.device] = try finish(turn, now)
            } catch {
                rotation.failures[turn.device] = error
            }
        }
    }

    private func finish(_ turn: Turn, _ now: Int64) throws -> FrozenView {
        var state = turn.state
        var missing = turn.missing
        guard try turn.isForOnce ? turn.views.isForOnce : turn.views.isInPlace else {
            throw VolumeError(
                .failed,
                "another program has just replaced the table of \(turn.device.path); try again")
        }
        try turn.views.open(turn.number)
        if let old = turn.old, let refusal = try close(old, turn.views, &state) {
            missing = MissingEvidence(reason: refusal)
        }
        state.view = turn.number
        state.viewBegan = now
        try states.save(state)
        if let old = turn.old { turn.views.remove(old) }
        state.ownViews = [turn.number]
        try states.save(state)
        let oldest = state.bindings.map(\.view).min() ?? state.view
        try states.removeWritten(turn.device.name, below: oldest)
        if !turn.isForOnce { ReleaseUnit.begin(state, states) }
        return FrozenView(
            device: turn.device, state: state, states: states, views: turn.views, lock: turn.lock,
            missing: missing, isForOnce: turn.isForOnce)
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
}

/// A change of views that is ready to be made in a window.
struct Turn {
    let device: MappedDevice
    let state: TrackingState
    let lock: DeviceLock
    let views: any FrozenViews
    let number: UInt64
    /// The view that ends; nil when there was none.
    let old: UInt64?
    let steps: [PreparedCall]
    /// Why nothing is known of what was written before.
    let missing: MissingEvidence?
    /// Whether the view goes again when it was read.
    let isForOnce: Bool

    func cancel() {
        views.remove(number)
        if let old { views.cancelEnd(of: old) } else { views.cancelLayer() }
    }

    /// Whether an error is one of this device, or of what was made for it.
    func names(_ error: any Error) -> Bool {
        guard let error = error as? DeviceMapperError else { return false }
        let names = LayerNames(device.name)
        return [
            device.name, names.real, names.view(0), names.view(1), names.store(0), names.store(1),
        ].contains(error.device) || views.names(error.device)
    }
}

/// Frozen views that began at one moment.
package struct Rotation {
    package internal(set) var views: [MappedDevice: FrozenView] = [:]
    /// Why some devices have none.
    package internal(set) var failures: [MappedDevice: any Error] = [:]
    /// How long the first device was paused.
    package internal(set) var windowNanoseconds: UInt64 = 0

    init() {}
}
