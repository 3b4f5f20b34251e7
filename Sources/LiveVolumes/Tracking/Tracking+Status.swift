internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// How a tracked volume stands.
package struct TrackingStatus: Sendable {
    package enum Condition: Hashable, Sendable {
        /// A frozen view is there, and what is written is kept.
        case active
        /// The store overflowed: the next capture compares everything.
        case overflowed
        /// The machine was restarted: the next capture starts over.
        case restarted
        /// The layer or the device was removed: the next capture starts over.
        case inactive(String)
    }

    package let state: TrackingState
    package let condition: Condition
    package let usedByteCount: UInt64
    package let storeByteCount: UInt64
    package let mounts: [String]
    /// Whether there is a device of that name now.
    package let isThere: Bool

    /// Whether so much of the store or the thin pool is used that somebody should look.
    package var isNearlyFull: Bool {
        storeByteCount > 0 && usedByteCount / 9 >= storeByteCount / 10
    }
}

extension Tracking {
    /// The state of each tracked volume, or of the one that `path` names.
    package func status(_ path: String? = nil) throws -> [TrackingStatus] {
        var names = try states.devices(with: "tracking")
        if let path {
            let device = try PlainDevice.layered(path)
            names = names.filter { $0 == device?.name }
            guard !names.isEmpty else {
                throw VolumeError(.unsuitable, "\(path) is not tracked")
            }
        }
        return try names.compactMap { name in
            try states.tracking(name).map { try status(of: $0) }
        }
    }

    /// The same of what a job names, without opening any device; nil where that is not tracked, or is being
    /// worked with now.
    package func status(ofSource path: String) throws -> TrackingStatus? {
        for name in try states.devices(with: "tracking") {
            guard let state = try states.tracking(name), state.isOf(path), !states.isLocked(name)
            else { continue }
            return try status(of: state)
        }
        return nil
    }

    private func status(of state: TrackingState) throws -> TrackingStatus {
        func made(_ condition: TrackingStatus.Condition, _ used: UInt64, _ total: UInt64)
            -> TrackingStatus
        {
            let number = (try? MappedDevice(name: state.device))??.number
            return TrackingStatus(
                state: state, condition: condition, usedByteCount: used, storeByteCount: total,
                mounts: number.map { MountTable.mounts(of: $0).map(\.path) } ?? [],
                isThere: number != nil)
        }
        guard state.bootID == Boot.id || state.mechanism.outlivesRestart else {
            return made(.restarted, 0, 0)
        }
        guard let device = try MappedDevice(name: state.device) else {
            return made(.inactive("there is no such device now"), 0, 0)
        }
        guard let views = views(state, device) else {
            guard let era = try EraDevice(device), try era.isUndisturbed(since: state) else {
                return made(.inactive("it was reopened, stopped or moved to another era"), 0, 0)
            }
            return made(.active, 0, 0)
        }
        guard try views.isInPlace else {
            let reason =
                try views.isForOnce
                ? "another program, such as LVM, has a snapshot of it"
                : "its layer was removed"
            return made(.inactive(reason), 0, 0)
        }
        switch try views.fill(state.view) {
        case nil: return made(.inactive("its frozen view is gone"), 0, 0)
        case .lost: return made(.overflowed, 0, 0)
        case .active(let used, let total): return made(.active, used, total)
        }
    }
}
