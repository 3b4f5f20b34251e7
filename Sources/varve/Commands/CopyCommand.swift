import ArgumentParser
import BlockModel
import ProcessStart
import RepositoryModel
import SnapshotService
import Workflows

struct CopyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "copy",
        abstract: "Copy snapshots from another repository to this one.",
        discussion: """
            Copies all snapshots, or the named ones: \(SnapshotSelector.help), in the other \
            repository. Snapshots that exist here are skipped. The next run resumes an interrupted \
            copy. Both repositories need the same block size.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "The other repository's directory (or VARVE_FROM_REPOSITORY).")
    var fromRepo: String?

    @Option(help: "All snapshots of this volume; can be repeated.")
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
            throw ValidationError("use either snapshot names or --volume, not both")
        }
    }

    func run() throws {
        let environment = ProcessStart.environment
        guard let from = fromRepo ?? environment["VARVE_FROM_REPOSITORY"], !from.isEmpty else {
            throw ServiceError(.usage, "no other repository was given; set one with --from-repo")
        }
        let target = try repository.open(output)
        let source = try OpenRepository(
            location: from, environment: environment, logger: output.logger)
        let line = ProgressLine("copied", output)
        var events = CopyWorkflow.Events()
        events.progress = { line.update(done: $0, total: nil) }
        events.copied = { volume, snapshot in
            line.clear()
            show(snapshot, volume)
        }
        let total = try CopyWorkflow(from: source, to: target).run(choice(), events: events)
        line.clear()
        if output.json {
            JSONLine.write(
                Summary(
                    copied: total.copiedCount, alreadyThere: total.knownCount,
                    blocksStored: total.blockCount, bytesStored: total.storedByteCount))
        }
        output.say(
            "\(Human.count(total.copiedCount, "snapshot")) copied, \(total.knownCount) already "
                + "there; stored \(Human.bytes(total.storedByteCount))")
    }

    private func choice() throws -> CopyWorkflow.Choice {
        if !snapshots.isEmpty { return .snapshots(try snapshots.map { try SnapshotSelector($0) }) }
        return volume.isEmpty ? .everything : .volumes(volume)
    }

    private func show(_ snapshot: Snapshot, _ volume: VolumeName) {
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
