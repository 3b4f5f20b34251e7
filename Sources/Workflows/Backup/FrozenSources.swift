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

/// Frozen views of several sources, begun at one moment.
package struct FrozenSources {
    var views: [String: Frozen]
    var windowNanoseconds: UInt64
    /// What their snapshots share; zero for one alone.
    var setID: ObjectID
    /// Sources that are tracked without views, to be captured at rest.
    var resting: [String: MappedDevice] = [:]
    var tracking: Tracking?
    /// Why sources that are tracked have no view.
    var failures: [String: any Error] = [:]

    /// One of them.
    struct Frozen {
        /// The device that shows it.
        let path: String
        /// When it began, in seconds since 1970.
        let began: Int64
        /// What keeps track of the source; nil where it is not tracked.
        let tracked: (any TrackedMoment)?
    }

    /// What is known of a source that is captured at rest, and open for that; nil where it is not
    /// tracked.
    func restingMoment(_ source: String) throws -> (any TrackedMoment)? {
        guard let device = resting[source] else { return nil }
        return try tracking?.endEra(of: device)
    }

    package static var none: FrozenSources {
        FrozenSources(views: [:], windowNanoseconds: 0, setID: .zero)
    }
}

/// Why everything of a tracked source was compared.
package struct FullComparison: Hashable, Sendable {
    package let reason: String
    /// Whether that is so in the ordinary course of things, as after a restart.
    package let isExpected: Bool
}

extension OpenRepository {
    /// The device that is meant where a directory is named at which a tracked one is mounted.
    package static func device(of source: String, states: StateDirectory) -> String {
        guard source != "-", let status = try? FileStatus(path: source),
            status.kind == .directory,
            let tracked = try? Tracking(states: states).trackedDevice(source)
        else { return source }
        return tracked.device.path
    }

    /// Begins a frozen view of each source that is tracked; to be done before anything else, for the
    /// memory of the process is locked meanwhile.
    ///
    /// A source of which that cannot be made does not keep the others from theirs; the reason is told
    /// when it is captured.
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

    /// What a device held when its trial began, to be captured as that device.
    package static func freeze(_ trial: TrialState, of source: String, states: StateDirectory)
        -> FrozenSources
    {
        let view = FrozenSources.Frozen(
            path: Trial(states: states).viewPath(trial), began: trial.began, tracked: nil)
        return FrozenSources(views: [source: view], windowNanoseconds: 0, setID: .zero)
    }

    /// Opens the view of a source, or the source itself: also one of which no view could be made, when it
    /// is at rest.
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

    /// Says that a store was lost, where that is why a capture failed.
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

    /// Why everything of a tracked source was compared; nil where it was not.
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
    /// What `source` held when its trial began, or a new view of it where it is tracked anyway.
    package func freeze(_ state: TrialState, _ source: String) throws -> FrozenSources {
        let frozen = OpenRepository.freeze([source], states: states)
        return frozen.views.isEmpty
            ? OpenRepository.freeze(state, of: source, states: states) : frozen
    }
}
