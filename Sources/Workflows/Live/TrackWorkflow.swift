package import BlockModel
package import LiveVolumes
internal import SnapshotService

/// Follows what is written to devices in use, from its begin to its end.
package struct TrackWorkflow {
    /// A device that is tracked, and how.
    package struct Tracked: Sendable {
        /// What follows the writes.
        package enum Mechanism: Sendable {
            /// Stores at the place.
            case stores(String)
            case thinPool, era
        }

        /// Its name below `/dev/mapper`.
        package let device: String
        /// The plain device under a layer of ours; nil where the device was one of device-mapper before.
        package let plainDevice: String?
        package let mechanism: Mechanism
        /// As scripts see it.
        package let mechanismName: String

        /// The device that is mounted.
        package var path: String { "/dev/mapper/\(device)" }

        /// Where the stores are; nil where there are none.
        package var store: String? {
            if case .stores(let place) = mechanism { place } else { nil }
        }

        init(_ state: TrackingState) {
            device = state.device
            plainDevice = state.plainDevice
            mechanismName = state.mechanism.name
            mechanism =
                switch state.mechanism {
                case .stores(let place, _): .stores(place.path)
                case .thinPool: .thinPool
                case .era: .era
                }
        }
    }

    /// How a tracked device stands.
    package struct Status: Sendable {
        package enum Condition: Hashable, Sendable {
            /// A frozen view is there, and what is written is kept.
            case active
            /// The store overflowed: the next backup compares everything.
            case overflowed
            /// The next backup starts over, for this reason.
            case inactive(String)
        }

        package let tracked: Tracked
        package let condition: Condition
        package let usedByteCount: UInt64
        package let storeByteCount: UInt64
        package let mounts: [String]
        /// Whether there is a device of that name now.
        package let isThere: Bool
        package let began: Timestamp
        /// Number of the frozen view, or of the era.
        package let view: UInt64
        package let viewPath: String
        package let viewBegan: Timestamp

        init(_ status: TrackingStatus) {
            let state = status.state
            tracked = Tracked(state)
            condition =
                switch status.condition {
                case .active: .active
                case .overflowed: .overflowed
                case .restarted: .inactive("the machine was restarted")
                case .inactive(let reason): .inactive(reason)
                }
            usedByteCount = status.usedByteCount
            storeByteCount = status.storeByteCount
            mounts = status.mounts
            isThere = status.isThere
            began = Timestamp(seconds: state.began)
            view = state.view
            viewPath = "/dev/mapper/\(LayerNames(state.device).view(state.view))"
            viewBegan = Timestamp(seconds: state.viewBegan)
        }
    }

    /// Bytes that are copied when one of them is first written.
    package static let copiedByteCount = CopyStore.chunkByteCount

    private let tracking: Tracking

    package init(states: StateDirectory) { tracking = Tracking(states: states) }

    /// Begins to track a device.
    ///
    /// - Parameters:
    ///   - device: the device or its mount point.
    ///   - store: where stores are kept: a directory, or an empty partition.
    ///   - storeByteCount: bytes of each that are set aside at once; nil for none.
    /// - Returns: what is tracked, and how long it was paused.
    /// - Throws: ``VolumeError`` when it cannot be tracked.
    package func begin(
        _ device: String,
        store: String?,
        storeByteCount: UInt64?
    ) throws -> (tracked: Tracked, windowNanoseconds: UInt64?) {
        let (state, window) = try tracking.begin(
            device, store: store, storeByteCount: storeByteCount, now: Moment.now().seconds)
        return (Tracked(state), window)
    }

    /// Tracks a device no longer.
    ///
    /// - Returns: its name, and whether a layer of ours stays because it is in use.
    package func end(_ device: String) throws -> (name: String, keepsLayer: Bool) {
        let ended = try tracking.end(device)
        return (ended.device, ended.keepsLayer)
    }

    /// Discards what the file system of a tracked device does not use; gives the bytes.
    package func trim(_ device: String) throws -> UInt64 {
        try tracking.trim(device, now: Moment.now().seconds).byteCount
    }

    /// Lets go of the store of a device, before its file system is unmounted at shutdown.
    package func release(_ device: String) throws { try tracking.release(device) }

    /// How each tracked device stands, or the one that is named.
    package func status(_ device: String?) throws -> [Status] {
        try tracking.status(device).map(Status.init)
    }
}
