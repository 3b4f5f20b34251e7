package import BlockModel
package import CaptureEngine
package import ChangeTracking
internal import LinuxIO
internal import LiveVolumes
internal import Logging
internal import Maintenance
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
package import RepositoryModel
package import SnapshotService
package import VolumeAccess

/// One source and its backup options.
package struct BackupOptions: Sendable {
    package var level = 3
    package var workerCount: Int?
    package var tags: [String] = []
    package var allowsUse = false
    package var allowsOtherSource = false
    package var isDryRun = false
    package var changedExtents: ChangedExtentsOption?
    /// Known changes, if there is no list and no frozen view.
    package var evidence: ChangeEvidence?
    /// The identity of the source; nil to detect it.
    package var identity: SourceIdentity?
    /// Whether to trust evidence again after it was wrong.
    package var trustsAgain = false
    /// For tests: what goes wrong when the source is read.
    package var readFaults: (any ReadFaults)?

    package init() {}
}

/// A list of changed extents, and the snapshot that it starts from.
package struct ChangedExtentsOption: Sendable {
    package let path: String
    /// A generation, or the first digits of an id.
    package let since: String

    package init(path: String, since: String) {
        self.path = path
        self.since = since
    }

    /// The named snapshot; nil if the volume does not have it, and then the list is refused.
    ///
    /// Names with a changing meaning, such as `VOLUME@latest`, would bind nothing.
    func snapshot(in timeline: Timeline) throws -> SnapshotID {
        let generation = since.utf8.count <= 12 ? UInt64(since) : nil
        let isPrefix =
            (4...64).contains(since.utf8.count)
            && since.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
        guard generation != nil || isPrefix else {
            throw ServiceError(
                .usage,
                "--changed-since '\(since)' is not a generation or the first digits of an id")
        }
        var found = timeline.snapshots.filter { $0.generation == generation }
        // An id may begin with nothing but decimal digits.
        if found.isEmpty, isPrefix {
            found = timeline.snapshots.filter { $0.id.hexadecimal.hasPrefix(since) }
        }
        guard found.count <= 1 else {
            throw ServiceError(.usage, "--changed-since '\(since)' matches several snapshots")
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
    /// The sample of blocks that evidence calls unchanged, and the number of such backups until all of
    /// them are compared; nil if the evidence was not trusted.
    package var sample: (byteCount: UInt64, cycleLength: UInt64)? {
        guard case .believed(let sample) = verdict else { return nil }
        return (sample.comparedByteCount, sample.cycleLength)
    }
    /// Why evidence was not trusted; nil if it was, or if there was none.
    package var refusal: String? {
        guard case .refused(let reason) = verdict else { return nil }
        return reason
    }
    package let isDryRun: Bool
    package var snapshotID: SnapshotID { facts.snapshotID }
    /// How long the source was paused; nil if it was not.
    package let windowNanoseconds: UInt64?
    /// Why everything was compared although the source is tracked; nil if it was not.
    package let fullComparison: FullComparison?
}

extension OpenRepository {
    /// The default name of the volume: host and last part of the path.
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
                .usage, "'\(path)' gives no valid volume name; set one with --volume")
        }
        return name
    }

    /// Captures one source into one volume.
    func backUp(
        _ path: String,
        volume: VolumeName,
        options: BackupOptions,
        frozen: FrozenSources,
        progress: CaptureProgress,
        report: (UInt64?) -> Void
    ) throws -> BackupSummary {
        let start = clock.monotonicNanoseconds()
        let view = frozen.views[path]
        try repository.requireWritable()
        let source = try open(path, options, frozen)
        let job = CaptureJob(
            path: path, volume: volume, options: options, frozen: frozen, source: source,
            time: view.map { Timestamp(seconds: $0.began) } ?? clock.now(),
            moment: try view?.tracked ?? frozen.restingMoment(path),
            candidates: try candidates(options, source), startNanoseconds: start)
        return try withVolumeHolds(
            volume, purpose: "backup", detail: "backup " + String(path.prefix(200))
        ) { holds in
            try capture(job, holds, progress) { report(source.byteCount) }
        }
    }

    /// An open source, and its evidence.
    private struct CaptureJob {
        let path: String
        let volume: VolumeName
        let options: BackupOptions
        let frozen: FrozenSources
        let source: VolumeSource
        /// The moment that the capture shows.
        let time: Timestamp
        let moment: (any TrackedMoment)?
        let candidates: BlockExtents?
        let startNanoseconds: UInt64

        var view: FrozenSources.Frozen? { frozen.views[path] }
    }

    private func capture(
        _ job: CaptureJob,
        _ holds: [Hold],
        _ progress: CaptureProgress,
        _ report: () -> Void
    ) throws -> BackupSummary {
        let (path, volume, options) = (job.path, job.volume, job.options)
        let timeline = try provedTimeline(of: volume, isKept: !options.isDryRun)
        let identity =
            options.identity
            ?? Self.identity(of: job.source, job.view, tip: timeline.tip?.facts.source)
        try refuseOtherSource(identity, timeline, options)
        warn(of: job, timeline)
        if options.trustsAgain { try trustAgain(timeline, job.time, options) }
        var request = try request(job, identity, timeline)
        var missing: MissingEvidence?
        if request.evidence == nil, let moment = job.moment {
            missing = claimChanges(moment, volume, &request)
        }
        let result = try namingLostStore(of: path, job.frozen) {
            try retryingWithFreshIndex(unlessStream: job.source) {
                progress.restart()
                let index = try currentIndex(isKept: !options.isDryRun)
                defer { try? index.saveBadFrames() }
                let capture = Capture(
                    repository: repository, index: index, timeline: timeline,
                    source: job.source, request: request, holds: holds)
                return try capture.run(
                    identifiers: identifiers,
                    elapsedNanoseconds: {
                        clock.monotonicNanoseconds() - job.startNanoseconds
                    },
                    now: clock.steady, progress: progress, report: report)
            }
        }
        try finish(job, timeline, result)
        return BackupSummary(
            volume: volume, generation: result.generation,
            parentGeneration: result.parentGeneration, facts: result.facts,
            verdict: result.verdict, isDryRun: options.isDryRun,
            windowNanoseconds: job.view?.tracked == nil ? nil : job.frozen.windowNanoseconds,
            fullComparison: try fullComparison(
                of: path, volume, job.frozen, options, result.verdict, missing))
    }

    private func warn(of job: CaptureJob, _ timeline: Timeline) {
        if let reason = job.source.useReason {
            logger.warning(
                "\(job.path) is in use (\(reason)): the snapshot is not consistent")
        }
        if !timeline.isSound {
            logger.warning("volume '\(job.volume)' has damage; run 'varve check'")
        }
    }

    private func request(
        _ job: CaptureJob,
        _ identity: SourceIdentity,
        _ timeline: Timeline
    ) throws -> CaptureRequest {
        let options = job.options
        var request = CaptureRequest(volume: job.volume, source: identity, time: job.time)
        request.level = options.level
        if let count = options.workerCount { request.workerCount = count }
        request.tags = options.tags
        request.packByteTarget = sizes.packByteTarget
        request.partByteLimit = sizes.partByteLimit
        request.sampleByteTarget = sizes.sampleByteTarget
        request.allowsUse = options.allowsUse
        request.isDryRun = options.isDryRun
        request.evidence = options.evidence
        if let option = options.changedExtents, let candidates = job.candidates,
            let byteCount = job.source.byteCount
        {
            request.evidence = ChangeEvidence(
                method: .changedExtents, since: try option.snapshot(in: timeline),
                volumeByteCount: byteCount, candidates: candidates)
        }
        if job.view != nil { request.setID = job.frozen.setID }
        return request
    }

    /// The work after a snapshot: short cuts, and the era that starts with it.
    private func finish(
        _ job: CaptureJob,
        _ timeline: Timeline,
        _ result: CaptureResult
    ) throws {
        let options = job.options
        if let problem = result.indexProblem {
            logger.warning("the index will add the new snapshot next time: \(problem)")
        }
        if !options.isDryRun { shortenPath(timeline) }
        // What is written while a device without views is read belongs to no era that is told of.
        if let moment = job.moment, !options.isDryRun, job.view != nil || !options.allowsUse {
            try moment.wasCaptured(
                as: result.facts.snapshotID, of: job.volume, in: repository.identity.id)
        }
        if case .refused(let reason) = result.verdict {
            logger.warning(
                "everything was compared, because the record of changes was not usable: \(reason)"
            )
        }
    }

    /// Runs a capture, and repeats it once with a new index if the index is wrong.
    ///
    /// Nothing is committed before that. A stream cannot be read again.
    private func retryingWithFreshIndex<Result>(
        unlessStream source: VolumeSource,
        _ body: () throws -> Result
    ) throws -> Result {
        guard source.byteCount == nil else { return try retryingWithFreshIndex(isKept: true, body) }
        do {
            return try body()
        } catch let error as RepositoryError where error.kind == .index {
            throw ServiceError(
                .failed,
                "\(error.cause); nothing was committed, and standard input cannot be "
                    + "read again: run the backup once more, which rebuilds the index")
        }
    }

    /// The volume without false deltas: the path to its newest snapshot is proved.
    private func provedTimeline(of volume: VolumeName, isKept: Bool) throws -> Timeline {
        // Nothing here keeps the index, which may have to be opened again.
        try retryingWithFreshIndex(isKept: isKept) {
            let index = try index(isKept: isKept)
            let timeline = try repository.timeline(of: volume, cache: index)
            if timeline.isEmpty,
                let vanished = try vanishedVolumes().first(where: { $0.name == volume })
            {
                throw ServiceError(.damaged, "volume '\(volume)': \(vanished.reason)")
            }
            guard try !index.isUpToDate(with: timeline) else { return timeline }
            try currentIndex(isKept: isKept).bringForward(timeline, with: repository)
            return index.withoutFalse(timeline)
        }
    }

    /// Keeps the path to the previous snapshot short, when one of its windows ends.
    ///
    /// The capture does not depend on it.
    private func shortenPath(_ timeline: Timeline) {
        guard let tip = timeline.tip, tip.generation % 16 == 0,
            Repository.mayNeedConsolidation(timeline)
        else { return }
        do {
            try consolidate(timeline)
        } catch {
            logger.warning("no short cuts for '\(timeline.volume)' were written: \(error)")
        }
    }

    /// Why there is no claim; nil if there is one.
    private func claimChanges(
        _ moment: any TrackedMoment,
        _ volume: VolumeName,
        _ request: inout CaptureRequest
    ) -> MissingEvidence? {
        let claim = moment.changes(
            repository: repository.identity.id, volume: volume,
            blockSize: repository.identity.blockSize)
        switch claim {
        case .success(let evidence):
            request.evidence = evidence
            return nil
        case .failure(let missing):
            request.missingEvidence = missing.reason
            return missing
        }
    }

    /// Reads the list of changes before any hold is taken, because it may arrive slowly.
    private func candidates(
        _ options: BackupOptions,
        _ source: VolumeSource
    ) throws -> BlockExtents? {
        guard let option = options.changedExtents else { return nil }
        guard let byteCount = source.byteCount else {
            throw ServiceError(.usage, "a list of changed extents cannot be used with a stream")
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
            nil, of: timeline.volume, on: tip.id, time: time, identifiers: identifiers)
    }

    /// The identity of a source: of a plain device and its layer, the one that the volume already has,
    /// because they are one disk.
    private static func identity(
        of source: VolumeSource,
        _ view: FrozenSources.Frozen?,
        tip: SourceIdentity?
    ) -> SourceIdentity {
        func made(_ path: String, serial: String) -> SourceIdentity {
            let machine = (Directory.text(of: "/etc/machine-id") ?? "").filter {
                !$0.isWhitespace
            }
            let kind: SourceIdentity.Kind =
                switch source.kind {
                case .file: .file
                case .blockDevice: .blockDevice
                case .stream: .stream
                }
            return SourceIdentity(
                kind: kind, machine: machine.isEmpty ? HoldOwner.current().host : machine,
                path: Directory.resolve(path) ?? path, serial: serial,
                sectorByteCount: UInt32(source.sectorByteCount))
        }
        let identity = made(source.path, serial: source.serial)
        guard let tip, !tip.isSameSource(as: identity) else { return identity }
        let others = ((view?.tracked as? FrozenView)?.otherPaths ?? []).map { path in
            let status = (try? FileStatus(path: path)) ?? nil
            return made(
                path,
                serial: status.map { DeviceUse.serial(ofDevice: $0.representedDevice) } ?? "")
        }
        return others.first { tip.isSameSource(as: $0) } ?? identity
    }

    /// A volume remembers its source, so a wrong disk cannot become its next snapshot.
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
            "volume '\(timeline.volume)' was captured from another source (\(known)); use another "
                + "--volume, or --same-volume if it is the same disk in a new place")
    }
}
