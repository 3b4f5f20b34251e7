package import BlockModel
package import CaptureEngine
internal import LinuxIO
internal import Logging
internal import Repository
package import RepositoryFormat
internal import VolumeAccess

/// One source, and how it is to be backed up.
package struct BackupOptions: Sendable {
    package var level = 3
    package var workerCount: Int?
    package var tags: [String] = []
    package var allowsUse = false
    package var allowsOtherSource = false
    package var isDryRun = false

    package init() {}
}

/// What a backup of one source did.
package struct BackupSummary: Sendable {
    package let volume: VolumeName
    package let generation: Generation
    package let parentGeneration: Generation
    package let facts: SnapshotFacts
    package let isDryRun: Bool
}

extension SnapshotService {
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
        let text = String(allowed.prefix(VolumeName.maximumByteCount))
        guard let name = VolumeName(text) else {
            throw ServiceError(
                .usage, "no volume name can be made of '\(path)'; give one with --volume")
        }
        return name
    }

    /// Captures one source into one volume.
    package func backUp(
        _ path: String,
        volume: VolumeName,
        options: BackupOptions,
        progress: CaptureProgress,
        report: (UInt64?) -> Void
    ) throws -> BackupSummary {
        let start = Moment.monotonicNanoseconds()
        let time = Moment.now()
        try repository.requireWritable()
        let source = try VolumeSource(path: path, allowsUse: options.allowsUse)
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
        let index = try currentIndex()
        defer { try? index.saveRot() }
        let capture = Capture(
            repository: repository, index: index, timeline: timeline, source: source,
            request: request, holds: [shared, exclusive])
        let result = try capture.run(
            identifiers: RandomIdentifiers(),
            elapsedNanoseconds: { Moment.monotonicNanoseconds() - start }, now: Moment.now,
            progress: progress, report: { report(source.byteCount) })
        return BackupSummary(
            volume: volume, generation: result.generation,
            parentGeneration: result.parentGeneration, facts: result.facts,
            isDryRun: options.isDryRun)
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
