import ArgumentParser
import BlockModel
import JobService
import ProcessStart
import RepositoryModel
import SnapshotService
import Workflows

extension RestoreVerification: ExpressibleByArgument {}

struct RestoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Write a snapshot to a file, a device, or standard output.",
        discussion: """
            SNAPSHOT is \(SnapshotSelector.help). TARGET is a new file, an unused device, \
            or '-'. Use --in-place to finish an interrupted restore.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The snapshot.")
    var snapshot: String

    @Argument(help: "A new file, a device, or '-' for standard output.")
    var target: String

    @Flag(help: "Read the target and write only the blocks that differ.")
    var inPlace = false

    @Option(help: "What to verify: blocks (by digest, as they are written), read-back or none.")
    var verify = RestoreVerification.blocks

    @Option(help: "Number of worker threads (default: one per processor, at most 12).")
    var threads: Int?

    func validate() throws {
        guard threads.map({ (1...256).contains($0) }) ?? true else {
            throw ValidationError("--threads must be from 1 to 256")
        }
        guard target != "-" || !(inPlace || verify == .readBack) else {
            throw ValidationError("standard output cannot be compared or read back")
        }
    }

    private struct Summary: Encodable {
        var messageType = "summary"
        let volume: String
        let generation: UInt64
        let snapshotId: String
        let target: String
        let volumeBytes: UInt64
        let bytesWritten: UInt64
        let bytesSkipped: UInt64
        let verified: String
        let imageDigest: String
        let durationSeconds: Double
    }

    func run() throws {
        var options = RestoreOptions()
        options.isInPlace = inPlace
        options.verification = verify
        options.workerCount = threads
        if target == "-" { try Terminal.needOutput() }
        let selector = try SnapshotSelector(snapshot)
        let service = try repository.open(output)
        // On standard output there is the image, and nothing else.
        var output = output
        let isStream = target == "-"
        if isStream { output.quiet = true }
        let line = ProgressLine("restored", output)
        let summary: RestoreSummary
        do {
            summary = try RestoreWorkflow(
                service, states: Local.states, configurationPaths: Self.configurationPaths
            ).run(selector, to: target, options) { line.update(done: $0, total: $1) }
        } catch {
            line.clear()
            throw error
        }
        line.clear()
        if isStream {
            if output.json { JSONLine.writeError(message(summary)) }
            return
        }
        if output.json { JSONLine.write(message(summary)) }
        output.say(text(summary))
    }

    /// Files and directories of the configuration.
    private static var configurationPaths: [String] {
        let environment = ProcessStart.environment
        return ["VARVE_CONFIG", "VARVE_REPOSITORY_FILE"].compactMap { environment[$0] }
            + [ConfigurationFile.standardPath, ConfigurationFile.standardDirectory]
    }

    private func message(_ summary: RestoreSummary) -> Summary {
        Summary(
            volume: summary.volume.rawValue, generation: summary.snapshot.generation,
            snapshotId: summary.snapshot.id.hexadecimal, target: target,
            volumeBytes: summary.snapshot.facts.byteCount,
            bytesWritten: summary.result.writtenByteCount,
            bytesSkipped: summary.result.skippedByteCount, verified: verify.rawValue,
            imageDigest: summary.snapshot.facts.imageDigest.hexadecimal,
            durationSeconds: Double(summary.durationNanoseconds) / 1e9)
    }

    private func text(_ summary: RestoreSummary) -> String {
        let seconds = Double(summary.durationNanoseconds) / 1e9
        let proof =
            switch verify {
            case .blocks: "every block and the image digest verified"
            case .readBack: "every block, the image digest and the medium verified"
            case .none: "nothing verified"
            }
        return "restored \(summary.volume)@\(summary.snapshot.generation) of "
            + "\(Moment.local(summary.snapshot.facts.time)) to \(target): wrote "
            + "\(Human.bytes(summary.result.writtenByteCount)), skipped "
            + "\(Human.bytes(summary.result.skippedByteCount)) in "
            + "\(Human.duration(seconds)); \(proof)"
    }
}
