package import BlockModel
package import CaptureEngine
package import ChangeTracking
internal import LinuxIO
internal import LiveVolumes
internal import Logging
internal import Repository
internal import RepositoryFormat
package import RepositoryModel
package import SnapshotService
package import VolumeAccess

/// One source, and how it is to be backed up.
package struct BackupOptions: Sendable {
    package var level = 3
    package var workerCount: Int?
    package var tags: [String] = []
    package var allowsUse = false
    package var allowsOtherSource = false
    package var isDryRun = false
    package var changedExtents: ChangedExtentsOption?
    /// What is known of changes, where neither a list nor a frozen view tells of them.
    package var evidence: ChangeEvidence?
    /// What the source is known by, if not by what is found out.
    package var identity: SourceIdentity?
    /// Whether evidence that was found wrong before is believed again.
    package var trustsAgain = false
    /// For tests: what goes wrong when the source is read.
    package var readFaults: (any ReadFaults)?

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
    /// What of that which evidence calls unchanged was compared all the same, and after how many such
    /// backups all of it is; nil where evidence was not believed.
    package var sample: (byteCount: UInt64, cycleLength: UInt64)? {
        guard case .believed(let sample) = verdict else { return nil }
        return (sample.comparedByteCount, sample.cycleLength)
    }
    /// Why evidence was not believed; nil where it was, or there was none.
    package var refusal: String? {
        guard case .refused(let reason) = verdict else { return nil }
        return reason
    }
    package let isDryRun: Bool
    package var snapshotID: SnapshotID { facts.snapshotID }
    /// For how long the source stood still; nil where none of it did.
    package let windowNanoseconds: UInt64?
    /// Why everything was compared although the source is tracked; nil where it was not.
    package let fullComparison: FullComparison?
}

extension OpenRepository {
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

    /// One source that is open, and what is known of it.
    private struct CaptureJob {
        let path: String
        let volume: VolumeName
        let options: BackupOptions
        let frozen: FrozenSources
        let source: VolumeSource
        /// When it was as it is captured.
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
            try mendingIndex(unlessStream: job.source) {
                progress.restart()
                let index = try currentIndex(isKept: !options.isDryRun)
                defer { try? index.saveRot() }
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
                origin: .list, since: try option.snapshot(in: timeline),
                volumeByteCount: byteCount, candidates: candidates)
        }
        if job.view != nil { request.setID = job.frozen.setID }
        return request
    }

    /// What follows a snapshot: short cuts, and the era that begins with it.
    private func finish(
        _ job: CaptureJob,
        _ timeline: Timeline,
        _ result: CaptureResult
    ) throws {
        let options = job.options
        if let problem = result.indexProblem {
            logger.warning("the index will add the new snapshot next time: \(problem)")
        }
        if !options.isDryRun { shortenWay(timeline) }
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

    /// Runs a capture, and once more with a new index when it finds that the index is wrong.
    ///
    /// Nothing is committed before that. What a stream gave cannot be read again.
    private func mendingIndex<Result>(
        unlessStream source: VolumeSource,
        _ body: () throws -> Result
    ) throws -> Result {
        guard source.byteCount == nil else { return try mendingIndex(isKept: true, body) }
        do {
            return try body()
        } catch let error as RepositoryError where error.kind == .index {
            throw ServiceError(
                .failed,
                "\(error.cause); nothing was committed, and standard input cannot be "
                    + "read again: run the backup once more, which rebuilds the index")
        }
    }

    /// The volume without deltas that are false: what leads to its newest snapshot was proved.
    private func provedTimeline(of volume: VolumeName, isKept: Bool) throws -> Timeline {
        // Nothing here keeps the index, which may have to be opened again.
        try mendingIndex(isKept: isKept) {
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

    /// Gives why there is no claim; nil when there is one.
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

    /// Reads the list of changes, before any hold is taken: it may come slowly.
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

    /// What a source is known by: of a plain device and the layer over it the one that the volume knows
    /// already, for they are one disk.
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
            "volume '\(timeline.volume)' was captured from another source (\(known)); use another "
                + "--volume, or --same-volume if it is the same disk in a new place")
    }
}
