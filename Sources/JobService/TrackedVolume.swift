package import BlockModel
package import Configuration
internal import Glibc
package import LiveVolumes

/// How a tracked volume of a job stands now, as the kernel tells.
package struct TrackedVolume: Hashable, Sendable {
    /// Whether what is written to it is followed.
    package var isActive = false
    package var isOverflowed = false
    /// Why somebody should look; nil when all is well.
    package var trouble: String?
    package var usedByteCount: UInt64 = 0
    package var byteCount: UInt64 = 0

    package init() {}

    init(_ status: TrackingStatus) {
        let device = "/dev/mapper/\(status.state.device)"
        usedByteCount = status.usedByteCount
        byteCount = status.storeByteCount
        switch status.condition {
        case .active:
            isActive = true
            guard status.isNearlyFull else { return }
            trouble =
                status.state.mechanism.place.map {
                    "the store of \(device) in \($0.path) is nearly full; when it is full, the next "
                        + "run compares everything"
                } ?? "the thin pool of \(device) is nearly full; extend it"
        case .overflowed:
            isOverflowed = true
            trouble =
                "the store of \(device) overflowed; the next run compares everything and starts "
                + "over"
        case .restarted:
            // That is so after every restart, until the next run.
            break
        case .inactive(let reason):
            trouble =
                "\(device) is not tracked now: \(reason); the next run compares everything"
        }
    }

    /// Looks at the volumes of a job that are to be tracked.
    ///
    /// - Parameters:
    ///   - job: which.
    ///   - states: where the states of volumes are kept.
    /// - Returns: those that are tracked and not worked with now, by name.
    package static func all(of job: Job, states: StateDirectory) -> [VolumeName: TrackedVolume] {
        var found: [VolumeName: TrackedVolume] = [:]
        for volume in job.volumes where volume.isTracked {
            do {
                if let status = try Tracking(states: states).status(ofSource: volume.source) {
                    found[volume.name] = TrackedVolume(status)
                }
            } catch {
                // An ordinary user sees neither the states nor the devices.
                guard geteuid() == 0 else { continue }
                var unknown = TrackedVolume()
                unknown.trouble = "its tracking state is unknown: \(error)"
                found[volume.name] = unknown
            }
        }
        return found
    }
}
