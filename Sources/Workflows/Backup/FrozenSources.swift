internal import BlockModel
internal import CaptureEngine
internal import ChangeTracking
internal import LinuxIO
package import LiveVolumes
internal import Logging
internal import Repository
internal import RepositoryFormat
package import SnapshotService
internal import VolumeAccess

/// Frozen views of several sources, started at one moment.
package struct FrozenSources {
    var views: [String: Frozen]
    var windowNanoseconds: UInt64
    /// The set id of their snapshots; zero for a single source.
    var setID: ObjectID
    /// Sources tracked without views, which are captured while idle.
    var resting: [String: MappedDevice] = [:]
    var tracking: Tracking?
    /// Why tracked sources have no view.
    var failures: [String: any Error] = [:]

    /// One of them.
    struct Frozen {
        /// The device of the view.
        let path: String
        /// When it began, in seconds since 1970.
        let began: Int64
        /// The tracking of the source; nil if it is not tracked.
        let tracked: (any TrackedMoment)?
    }

    /// The tracking state of a source that is captured while idle, open for that; nil if it is not
    /// tracked.
    func restingMoment(_ source: String) throws -> (any TrackedMoment)? {
        guard let device = resting[source] else { return nil }
        return try tracking?.endEra(of: device)
    }

    package static var none: FrozenSources {
        FrozenSources(views: [:], windowNanoseconds: 0, setID: .zero)
    }
}

/// Why a tracked source was compared completely.
package struct FullComparison: Hashable, Sendable {
    package let reason: String
    /// Whether this is expected, for example after a restart.
    package let isExpected: Bool
}

extension OpenRepository {
    /// The tracked device that is mounted at `path`, if `path` is a mount point.
    package static func device(of source: String, states: StateDirectory) -> String {
        guard source != "-", let status = try? FileStatus(path: source),
            status.kind == .directory,
            let tracked = try? Tracking(states: states).trackedDevice(source)
        else { return source }
        return tracked.device.path
    }

    /// Starts a frozen view of each tracked source.
    ///
    /// Call this before anything else, because it locks the memory of the process.
    ///
    /// If one source cannot get a view, the others still get theirs; the reason is reported when that
    /// source is captured.
    package static func freeze(_ sources: [String], states: StateDirectory) -> FrozenSources {
        let tracking = Tracking(states: states)
        var frozen = FrozenSources.none
        frozen.tracking = tracking
        var devices: [(source: String, device: MappedDevice)] = []
        for source in sources where source != "-" {
            do {
                guard let status = try? FileStatus(path: source), status.kind == .blockDevice,
                    let (device, hasViews) = try tracking.trackedDevice(source)
                else { continue }
                let isTwice =
                    devices.contains { $0.device == device }
                    || frozen.resting.values.contains(device)
                guard !isTwice else { throw ServiceError(.usage, "\(source) is named twice") }
                if hasViews {
                    devices.append((source, device))
                } else {
                    try device.resumeIfSuspended()
                    frozen.resting[source] = device
                }
            } catch {
                frozen.failures[source] = error
            }
        }
        guard !devices.isEmpty else { return frozen }
        let rotation = tracking.rotate(devices.map(\.device), now: Moment.now().seconds)
        for (source, device) in devices {
            if let view = rotation.views[device] {
                frozen.views[source] = FrozenSources.Frozen(
                    path: view.path, began: view.began, tracked: view)
            } else {
                frozen.failures[source] = rotation.failures[device]
            }
        }
        frozen.windowNanoseconds = rotation.windowNanoseconds
        if frozen.views.count > 1 { frozen.setID = RandomIdentifiers().next() }
        return frozen
    }

    /// The contents of a device when its trial began, to be captured as that device.
    package static func freeze(_ trial: TrialState, of source: String, states: StateDirectory)
        -> FrozenSources
    {
        let view = FrozenSources.Frozen(
            path: Trial(states: states).viewPath(trial), began: trial.began, tracked: nil)
        return FrozenSources(views: [source: view], windowNanoseconds: 0, setID: .zero)
    }

    /// Opens the view of a source, or the source itself, if it is idle and could not get a view.
    func open(
        _ path: String,
        _ options: BackupOptions,
        _ frozen: FrozenSources
    ) throws -> VolumeSource {
        if let view = frozen.views[path] {
            return try VolumeSource(path: path, frozenView: view.path)
        }
        guard let failure = frozen.failures[path] else {
            return try VolumeSource(
                path: path, allowsUse: options.allowsUse, faults: options.readFaults)
        }
        if let failure = failure as? VolumeError, failure.kind == .busy { throw failure }
        if failure is ServiceError { throw failure }
        guard let source = try? VolumeSource(path: path, allowsUse: options.allowsUse) else {
            throw failure
        }
        logger.warning(
            "no frozen view of \(path) could be made, so it is read live: \(failure)")
        return source
    }

    /// Replaces the error of a capture that failed because a store was lost.
    func namingLostStore<Result>(
        of path: String,
        _ frozen: FrozenSources,
        _ body: () throws -> Result
    ) throws -> Result {
        do {
            return try body()
        } catch {
            guard let view = frozen.views[path]?.tracked as? FrozenView, view.isLost else {
                throw error
            }
            throw VolumeError(
                .failed,
                "the store of \(path) overflowed or could not be written during the backup; "
                    + "give it more room, and run the backup again (\(error))")
        }
    }

    /// Why a tracked source was compared completely; nil if it was not.
    func fullComparison(
        of path: String,
        _ volume: VolumeName,
        _ frozen: FrozenSources,
        _ options: BackupOptions,
        _ verdict: EvidenceVerdict,
        _ missing: MissingEvidence?
    ) throws -> FullComparison? {
        if let failure = frozen.failures[path] {
            return FullComparison(
                reason: "no frozen view could be made: \(failure)", isExpected: false)
        }
        guard case .refused(let reason) = verdict, options.changedExtents == nil else { return nil }
        let isExpected = try missing?.isExpected ?? (repository.distrust(of: volume) == nil)
        return FullComparison(reason: reason, isExpected: isExpected)
    }
}

extension Trial {
    /// The contents of `source` when its trial began, or a new view if it is tracked anyway.
    package func freeze(_ state: TrialState, _ source: String) throws -> FrozenSources {
        let frozen = OpenRepository.freeze([source], states: states)
        return frozen.views.isEmpty
            ? OpenRepository.freeze(state, of: source, states: states) : frozen
    }
}
