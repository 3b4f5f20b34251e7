package import BlockModel
package import CaptureEngine
internal import ChangeTracking
internal import LinuxIO
package import LiveVolumes
internal import Logging
internal import Repository
package import RepositoryFormat
package import SnapshotService
internal import VolumeAccess

/// One source, and how it is to be backed up.
package struct BackupOptions: Sendable {
    package var level = 3
    package var workerCount: Int?
    package var tags: [String] = []
    package var allowsUse = false
    package var allowsOtherSource = false
    package var isDryRun = false
    package var changedExtents: ChangedExtentsOption?
    /// Whether evidence that was found wrong before is believed again.
    package var trustsAgain = false

    package init() {}
}

/// A list of changed extents, and the snapshot since which it tells of them.
package struct ChangedExtentsOption: Sendable {
    package let path: String
    /// A generation, or the first digits of an id.
    package let since: String

    package init(path: String, since: String) {
        self.path = path
        self.since = since
    }

    /// The snapshot that is meant; nothing when the volume has none such, so that it is refused.
    ///
    /// Names that mean another snapshot tomorrow, such as `VOLUME@latest`, would bind nothing.
    func snapshot(in timeline: Timeline) throws -> SnapshotID {
        let generation = since.utf8.count <= 12 ? UInt64(since) : nil
        let isPrefix =
            (4...64).contains(since.utf8.count)
            && since.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
        guard generation != nil || isPrefix else {
            throw ServiceError(
                .usage,
                "--changed-since '\(since)' is neither a generation nor the first digits of an id")
        }
        var found = timeline.snapshots.filter { $0.generation == generation }
        // An id may begin with nothing but decimal digits.
        if found.isEmpty, isPrefix {
            found = timeline.snapshots.filter { $0.id.hexadecimal.hasPrefix(since) }
        }
        guard found.count <= 1 else {
            throw ServiceError(.usage, "--changed-since '\(since)' names several snapshots")
        }
        return found.first?.id ?? .nothing
    }
}

/// What a backup of one source did.
package struct BackupSummary: Sendable {
    package let volume: VolumeName
    package let generation: Generation
    package let parentGeneration: Generation
    package let facts: SnapshotFacts
    package let verdict: EvidenceVerdict
    package let isDryRun: Bool
    /// For how long the source stood still; nil where none of it did.
    package let windowNanoseconds: UInt64?
}

/// Frozen views of several sources, begun at one moment.
package struct FrozenSources {
    let views: [String: Frozen]
    let windowNanoseconds: UInt64
    /// What their snapshots share; zero for one alone.
    let setID: ObjectID
    /// Sources that are tracked without views, to be captured at rest.
    var resting: [String: MappedDevice] = [:]
    var tracking: Tracking?

    /// Whether there are views, whose stores fill as the volumes are written.
    package var hasViews: Bool { !views.isEmpty }

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

extension SnapshotService {
    /// The device that is meant where a directory is named at which a tracked one is mounted.
    package static func device(of source: String, states: StateDirectory) throws -> String {
        guard source != "-", let status = try? FileStatus(path: source),
            status.kind == .directory,
            let tracked = try? Tracking(states: states).trackedDevice(source)
        else { return source }
        return tracked.device.path
    }

    /// Begins a frozen view of each source that is tracked; to be done before anything else, for the
    /// memory of the process is locked meanwhile.
    package static func freeze(_ sources: [String], states: StateDirectory) throws -> FrozenSources
    {
        let tracking = Tracking(states: states)
        var devices: [(source: String, device: MappedDevice)] = []
        var resting: [String: MappedDevice] = [:]
        for source in sources where source != "-" {
            guard let status = try? FileStatus(path: source), status.kind == .blockDevice,
                let (device, hasViews) = try tracking.trackedDevice(source)
            else { continue }
            let isTwice =
                devices.contains { $0.device == device } || resting.values.contains(device)
            guard !isTwice else { throw ServiceError(.usage, "\(source) is named twice") }
            if hasViews {
                devices.append((source, device))
            } else {
                try device.resumeIfSuspended()
                resting[source] = device
            }
        }
        guard !devices.isEmpty else {
            return FrozenSources(
                views: [:], windowNanoseconds: 0, setID: .zero, resting: resting,
                tracking: tracking)
        }
        let rotation = try tracking.rotate(devices.map(\.device), now: Moment.now().seconds)
        let views = Dictionary(
            uniqueKeysWithValues: zip(devices.map(\.source), rotation.views).map {
                ($0, FrozenSources.Frozen(path: $1.path, began: $1.began, tracked: $1))
            })
        return FrozenSources(
            views: views, windowNanoseconds: rotation.windowNanoseconds,
            setID: devices.count > 1 ? RandomIdentifiers().next() : .zero, resting: resting,
            tracking: tracking)
    }

    /// The volume's name when none is given: host and last part of the path.
    package static func defaultVolumeName(for path: String) throws -> VolumeName {
        let base =
            path == "-" ? "stdin" : Directory.baseName(of: Directory.resolve(path) ?? path)
        let host = HoldOwner.current().host
        let allowed = (host + "-" + base).map { character -> Character in
            character.isASCII
                && (character.isLetter || character.isNumber || "._-".contains(character))
                ? character : "_"
        }
        // A rescue system's host is called '(none)'.
        let text = String(
            allowed.drop { !$0.isLetter && !$0.isNumber }.prefix(VolumeName.maximumByteCount))
        guard let name = VolumeName(text) else {
            throw ServiceError(
                .usage, "no volume name can be made of '\(path)'; give one with --volume")
        }
        return name
    }

    /// What a device held when its trial began, to be captured as that device.
    package static func freeze(_ trial: TrialState, of source: String, states: StateDirectory)
        -> FrozenSources
    {
        let view = FrozenSources.Frozen(
            path: Trial(states: states).viewPath(trial), began: trial.began, tracked: nil)
        return FrozenSources(views: [source: view], windowNanoseconds: 0, setID: .zero)
    }

    /// Captures one source into one volume.
    package func backUp(
        _ path: String,
        volume: VolumeName,
        options: BackupOptions,
        frozen: FrozenSources = .none,
        progress: CaptureProgress,
        report: (UInt64?) -> Void
    ) throws -> BackupSummary {
        let start = Moment.monotonicNanoseconds()
        let view = frozen.views[path]
        let time = view.map { Timestamp(seconds: $0.began) } ?? clock()
        try repository.requireWritable()
        let source =
            if let view {
                try VolumeSource(path: path, frozenView: view.path)
            } else {
                try VolumeSource(path: path, allowsUse: options.allowsUse)
            }
        let moment = try view?.tracked ?? frozen.restingMoment(path)
        let candidates = try candidates(options, source)
        let shared = try hold(.repository, .shared, purpose: "backup")
        let purpose = "backup " + String(path.prefix(200))
        let exclusive = try hold(.volume(volume), .exclusive, purpose: purpose)
        defer { withExtendedLifetime((shared, exclusive)) {} }
        let timeline = try repository.timeline(of: volume, cache: try? index())
        let identity = Self.identity(of: source)
        try refuseOtherSource(identity, timeline, options)
        if let reason = source.useReason {
            logger.warning("\(path) is in use (\(reason)): the snapshot shows no single moment")
        }
        if !timeline.isSound {
            logger.warning("volume '\(volume)' has damage; run 'varve check'")
        }
        var request = CaptureRequest(volume: volume, source: identity, time: time)
        request.level = options.level
        if let count = options.workerCount { request.workerCount = count }
        request.tags = options.tags
        request.allowsUse = options.allowsUse
        request.isDryRun = options.isDryRun
        if options.trustsAgain { try trustAgain(timeline, time, options) }
        if let option = options.changedExtents, let candidates, let byteCount = source.byteCount {
            request.evidence = ChangeEvidence(
                origin: .list, since: try option.snapshot(in: timeline),
                volumeByteCount: byteCount, candidates: candidates)
        }
        if view != nil { request.setID = frozen.setID }
        if request.evidence == nil, let moment { claimChanges(moment, volume, &request) }
        let index = try currentIndex()
        defer { try? index.saveRot() }
        let capture = Capture(
            repository: repository, index: index, timeline: timeline, source: source,
            request: request, holds: [shared, exclusive])
        let result = try capture.run(
            identifiers: RandomIdentifiers(),
            elapsedNanoseconds: { Moment.monotonicNanoseconds() - start }, now: Moment.now,
            progress: progress,
            report: {
                moment?.keepAhead()
                report(source.byteCount)
            })
        if !options.isDryRun { shortenWay(timeline) }
        // What is written while a device without views is read belongs to no era that is told of.
        if let moment, !options.isDryRun, view != nil || !options.allowsUse {
            try moment.wasCaptured(
                as: result.facts.snapshotID, of: volume, in: repository.identity.id)
        }
        if case .refused(let reason) = result.verdict {
            logger.warning(
                "everything was compared, because what is known of changes was not enough: \(reason)"
            )
        }
        return BackupSummary(
            volume: volume, generation: result.generation,
            parentGeneration: result.parentGeneration, facts: result.facts,
            verdict: result.verdict, isDryRun: options.isDryRun,
            windowNanoseconds: view?.tracked == nil ? nil : frozen.windowNanoseconds)
    }

    /// Keeps the way to the snapshot before this one short, which is looked at when its windows end; what
    /// was captured does not depend on it.
    private func shortenWay(_ timeline: Timeline) {
        guard let tip = timeline.tip, tip.generation % 16 == 0,
            Repository.mayNeedConsolidation(timeline)
        else { return }
        do {
            try consolidate(timeline)
        } catch {
            logger.warning("no short cuts for '\(timeline.volume)' were written: \(error)")
        }
    }

    private func claimChanges(
        _ moment: any TrackedMoment,
        _ volume: VolumeName,
        _ request: inout CaptureRequest
    ) {
        let claim = moment.changes(
            repository: repository.identity.id, volume: volume,
            blockSize: repository.identity.blockSize)
        switch claim {
        case .success(let evidence): request.evidence = evidence
        case .failure(let missing): request.missingEvidence = missing.reason
        }
    }

    /// Reads the list of changes, before any hold is taken: it may come slowly.
    private func candidates(
        _ options: BackupOptions,
        _ source: VolumeSource
    ) throws -> BlockExtents? {
        guard let option = options.changedExtents else { return nil }
        guard let byteCount = source.byteCount else {
            throw ServiceError(.usage, "a list of changed extents says nothing of a stream")
        }
        return try ChangedExtentsFile.read(
            option.path, volumeByteCount: byteCount, blockSize: repository.identity.blockSize)
    }

    private func trustAgain(
        _ timeline: Timeline,
        _ time: Timestamp,
        _ options: BackupOptions
    ) throws {
        guard !options.isDryRun, let tip = timeline.tip,
            try repository.distrust(of: timeline.volume) != nil
        else { return }
        try repository.setDistrust(
            nil, of: timeline.volume, on: tip.id, time: time, identifiers: RandomIdentifiers())
    }

    private static func identity(of source: VolumeSource) -> SourceIdentity {
        let machine = (Directory.text(of: "/etc/machine-id") ?? "").filter { !$0.isWhitespace }
        let kind: SourceIdentity.Kind =
            switch source.kind {
            case .file: .file
            case .blockDevice: .blockDevice
            case .stream: .stream
            }
        return SourceIdentity(
            kind: kind, machine: machine.isEmpty ? HoldOwner.current().host : machine,
            path: Directory.resolve(source.path) ?? source.path, serial: source.serial,
            sectorByteCount: UInt32(source.sectorByteCount))
    }

    /// A volume remembers where it came from, so that a wrong disk does not become its next hour.
    private func refuseOtherSource(
        _ identity: SourceIdentity,
        _ timeline: Timeline,
        _ options: BackupOptions
    ) throws {
        guard let last = timeline.tip?.facts.source, !options.allowsOtherSource,
            !last.isSameSource(as: identity)
        else { return }
        let known = last.serial.isEmpty ? last.path : "\(last.path), serial \(last.serial)"
        throw ServiceError(
            .failed,
            "volume '\(timeline.volume)' was captured from another source (\(known)); give another "
                + "--volume, or --same-volume when it is the same disk in a new place")
    }
}

extension Trial {
    /// What `source` held when its trial began, or a new view of it where it is tracked anyway.
    package func freeze(_ state: TrialState, _ source: String) throws -> FrozenSources {
        let frozen = try SnapshotService.freeze([source], states: states)
        return frozen.views.isEmpty
            ? SnapshotService.freeze(state, of: source, states: states) : frozen
    }
}
