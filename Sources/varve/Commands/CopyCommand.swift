import ArgumentParser
import BlockModel
import LinuxIO
import ObjectStore
import ProcessStart
import Repository
import RepositoryFormat
import SnapshotService

struct CopyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "copy",
        abstract: "Copy snapshots from another repository to this one.",
        discussion: """
            All snapshots, or those named; each is \(SnapshotSelector.help), in the other repository. \
            What is there already is not copied again, and a copy that was stopped is gone on with by \
            the next one. Both repositories need the same block size.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "The other repository's directory (or VARVE_FROM_REPOSITORY).")
    var fromRepo: String?

    @Option(help: "All of this volume; may be given several times.")
    var volume: [String] = []

    @Argument(help: "The snapshots (default: all).")
    var snapshots: [String] = []

    private struct Copied: Encodable {
        var messageType = "copied"
        let volume: String
        let generation: UInt64
        let snapshotId: String
        let time: String
    }

    private struct Summary: Encodable {
        var messageType = "summary"
        let copied: Int
        let alreadyThere: Int
        let blocksStored: UInt64
        let bytesStored: UInt64
    }

    func validate() throws {
        guard volume.isEmpty || snapshots.isEmpty else {
            throw ValidationError("name snapshots, or give --volume, not both")
        }
    }

    func run() throws {
        let environment = ProcessStart.environment
        guard let from = fromRepo ?? environment["VARVE_FROM_REPOSITORY"], !from.isEmpty else {
            throw ServiceError(.usage, "no other repository is named; give one with --from-repo")
        }
        let target = try repository.open(output)
        let source = try OpenRepository(
            location: from, environment: environment, logger: output.logger)
        var total = CopySummary()
        for (name, chosen) in try choose(source) {
            let line = ProgressLine("copied", output)
            let summary = try source.copy(
                name, chosen, to: target,
                progress: { line.update(done: $0, total: nil) },
                done: { snapshot in
                    line.clear()
                    show(snapshot, name)
                })
            line.clear()
            total.copiedCount += summary.copiedCount
            total.knownCount += summary.knownCount
            total.blockCount += summary.blockCount
            total.storedByteCount += summary.storedByteCount
        }
        if output.json {
            JSONLine.write(
                Summary(
                    copied: total.copiedCount, alreadyThere: total.knownCount,
                    blocksStored: total.blockCount, bytesStored: total.storedByteCount))
        }
        output.say(
            "\(Human.count(total.copiedCount, "snapshot")) copied, \(total.knownCount) were there; "
                + "stored \(Human.bytes(total.storedByteCount))")
    }

    /// The snapshots to copy of each volume; nil for all of them.
    private func choose(_ source: OpenRepository) throws -> [(VolumeName, Set<SnapshotID>?)] {
        var chosen: [VolumeName: Set<SnapshotID>] = [:]
        for text in snapshots {
            let (timeline, snapshot) = try source.find(SnapshotSelector(text))
            chosen[timeline.volume, default: []].insert(snapshot.id)
        }
        if !chosen.isEmpty { return chosen.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }
        let known = try source.timelines().map(\.volume)
        guard !volume.isEmpty else { return known.map { ($0, nil) } }
        return try volume.map { text in
            guard let name = VolumeName(text), known.contains(name) else {
                throw ServiceError(
                    .failed, "\(source.repository.store.location) has no volume '\(text)'")
            }
            return (name, nil)
        }
    }

    private func show(_ snapshot: Timeline.Snapshot, _ volume: VolumeName) {
        if output.json {
            JSONLine.write(
                Copied(
                    volume: volume.rawValue, generation: snapshot.generation,
                    snapshotId: snapshot.id.hexadecimal, time: snapshot.facts.time.rfc3339))
        }
        output.say(
            "copied \(volume)@\(snapshot.generation) of \(Moment.local(snapshot.facts.time))")
    }
}
