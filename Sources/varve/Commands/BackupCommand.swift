import ArgumentParser
import BlockModel
import ProcessStart
import RepositoryModel
import SnapshotService
import Workflows

struct BackupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Capture disks, partitions or image files: first a base, then deltas.",
        discussion: """
            Each SOURCE becomes a volume of the repository. The first capture of a volume is its \
            base; each later one stores only the changed blocks. '-' reads standard input.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(
        help:
            "A disk, partition or image file, '-' for standard input, or a tracked mount point."
    )
    var sources: [String]

    @Option(help: "Name of the volume (default: <hostname>-<name of the source>).")
    var volume: String?

    @Option(help: "A tag for the snapshot; can be repeated.")
    var tag: [String] = []

    @Option(name: .customLong("level"), help: "Compression level of zstd.")
    var level = 3

    @Option(help: "Number of worker threads (default: one per processor, at most 12).")
    var threads: Int?

    @Flag(name: [.customShort("n"), .long], help: "Show what would be stored, but store nothing.")
    var dryRun = false

    @Flag(help: "Capture a source that is in use; the snapshot is not consistent.")
    var liveInconsistent = false

    @Flag(help: "Accept a different source for the volume: the same disk in a new place.")
    var sameVolume = false

    @Option(
        help: """
            A list of changed extents, such as 'rbd diff --format json' prints, or '-' for \
            standard input; compares only these, and a sample of the rest.
            """)
    var changedExtents: String?

    @Option(help: "The snapshot that the list starts from: a generation or an id.")
    var changedSince: String?

    @Flag(help: "Trust change lists again after one was wrong.")
    var trustAgain = false

    func validate() throws {
        guard !sources.isEmpty else { throw ValidationError("name at least one source") }
        guard (changedExtents == nil) == (changedSince == nil) else {
            throw ValidationError("use --changed-extents and --changed-since together")
        }
        guard changedExtents == nil || sources.count == 1 else {
            throw ValidationError("--changed-extents describes one source; name only one")
        }
        guard changedExtents != "-" || sources != ["-"] else {
            throw ValidationError("standard input cannot be both the source and the list")
        }
        guard volume == nil || sources.count == 1 else {
            throw ValidationError("--volume names one volume; name only one source")
        }
        guard (-7...19).contains(level) else {
            throw ValidationError("--level must be from -7 to 19")
        }
        guard threads.map({ (1...256).contains($0) }) ?? true else {
            throw ValidationError("--threads must be from 1 to 256")
        }
        guard tag.count <= 64, tag.allSatisfy({ (1...256).contains($0.utf8.count) }) else {
            throw ValidationError("use at most 64 tags of 1 to 256 bytes")
        }
    }

    func run() throws {
        if sources.contains("-") || changedExtents == "-", !StandardStream.input.isOpen {
            throw ClosedStream(.input)
        }
        let named = try volume.map(Self.volumeName)
        var options = BackupOptions()
        options.level = level
        options.workerCount = threads
        options.tags = tag
        options.allowsUse = liveInconsistent
        options.allowsOtherSource = sameVolume
        options.isDryRun = dryRun
        options.trustsAgain = trustAgain
        if let changedExtents, let changedSince {
            options.changedExtents = ChangedExtentsOption(path: changedExtents, since: changedSince)
        }
        let sources = try sources.map {
            try BackupWorkflow.Source($0, volume: named, options: options, states: Local.states)
        }
        let service = try repository.open(output)
        let failures = try BackupWorkflow(service, states: Local.states)
            .run(sources, events: Self.events(output, isOneOfSeveral: sources.count > 1))
        guard let last = failures.last else { return }
        if sources.count == 1 { throw last }
        if failures.count == sources.count { throw ExitCode(Exit.status(of: last)) }
        throw ServiceError(
            .partial, "\(failures.count) of \(sources.count) sources were not backed up")
    }

    static func volumeName(_ text: String) throws -> VolumeName {
        guard let name = VolumeName(text) else {
            throw ServiceError(
                .usage,
                "'\(text)' is not a volume name: use 1 to 64 of A-Z a-z 0-9 . _ -, "
                    + "starting with a letter or digit")
        }
        return name
    }

    /// Says how a backup goes on, and what became of it.
    ///
    /// What is wrong with one of several sources is said at once.
    static func events(
        _ output: OutputOptions,
        isOneOfSeveral: Bool = false
    ) -> BackupWorkflow.Events {
        let line = ProgressLine("read", output)
        var events = BackupWorkflow.Events()
        events.progress = { line.update(done: $0, total: $1) }
        events.ended = { source, result in
            line.clear()
            switch result {
            case .success(let summary):
                if output.json { JSONLine.write(BackupMessage(summary)) }
                output.say(text(summary))
            case .failure(let error):
                guard isOneOfSeveral, Exit.status(of: error) != 130 else { return }
                Exit.report(error, about: source.path)
            }
        }
        return events
    }

    private static func text(_ summary: BackupSummary) -> String {
        let facts = summary.facts
        let seconds = Double(facts.durationNanoseconds) / 1e9
        let rate = Human.bytes(UInt64(Double(facts.bytesRead) / max(seconds, 1e-9)))
        let verb = summary.isDryRun ? "would store" : "stored"
        let name =
            summary.isDryRun
            ? "\(summary.volume) (dry run)"
            : "\(summary.volume)@\(summary.generation) \(summary.snapshotID.short)"
        var text =
            "\(name): \(facts.method.name), \(Human.bytes(facts.byteCount)), changed "
            + "\(Human.bytes(facts.bytesChanged)), \(verb) \(Human.bytes(facts.bytesStored)); "
            + "read \(Human.bytes(facts.bytesRead)) in \(Human.duration(seconds)) (\(rate)/s)"
        if let sample = summary.sample {
            text +=
                "; \(Human.bytes(sample.byteCount)) of the rest also compared, all of it "
                + "within \(Human.count(sample.cycleLength, "such backup"))"
        }
        if let window = summary.windowNanoseconds {
            text += "; frozen within \(Human.milliseconds(window))"
        }
        return text
    }
}

/// The summary of one backup as JSON.
struct BackupMessage: Encodable {
    var messageType = "summary"
    let volume: String
    let generation: UInt64
    let snapshotId: String?
    let parentGeneration: UInt64?
    let method: String
    let proof: String
    let consistency: String
    let sampledBytes: UInt64?
    let sampleCycle: UInt64?
    let evidenceRefused: String?
    let windowMilliseconds: Double?
    let setId: String?
    let time: String
    let volumeBytes: UInt64
    let bytesRead: UInt64
    let blocksChanged: UInt64
    let bytesChanged: UInt64
    let bytesStored: UInt64
    let durationSeconds: Double
    let dryRun: Bool

    init(_ summary: BackupSummary) {
        let facts = summary.facts
        volume = summary.volume.rawValue
        generation = summary.generation
        snapshotId = summary.isDryRun ? nil : summary.snapshotID.hexadecimal
        parentGeneration = summary.parentGeneration == 0 ? nil : summary.parentGeneration
        method = facts.method.name
        proof = facts.proof.name
        sampledBytes = summary.sample?.byteCount
        sampleCycle = summary.sample?.cycleLength
        evidenceRefused = summary.refusal
        windowMilliseconds = summary.windowNanoseconds.map { Double($0 / 1000) / 1000 }
        setId = facts.setID == .zero ? nil : facts.setID.hexadecimal
        consistency = facts.consistency.name
        time = facts.time.rfc3339
        volumeBytes = facts.byteCount
        bytesRead = facts.bytesRead
        blocksChanged = facts.blocksChanged
        bytesChanged = facts.bytesChanged
        bytesStored = facts.bytesStored
        durationSeconds = Double(facts.durationNanoseconds) / 1e9
        dryRun = summary.isDryRun
    }
}
