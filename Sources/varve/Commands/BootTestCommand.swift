import ArgumentParser
import BlockModel
import RepositoryModel
import SnapshotService
import Workflows

struct BootTestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "boot-test",
        abstract: "Prove that snapshots boot, and record the proof.",
        discussion: """
            A SNAPSHOT is \(SnapshotSelector.help). Each is run as by 'boot --headless', without a \
            network, until its serial console shows a prompt to log in, or the line of --expect. \
            The result, the seconds it took and a picture of the screen are recorded in the \
            repository; 'snapshots' shows them. Exit status 3 says that one did not boot.

            A system says something on its serial console when its kernel is told so \
            (console=ttyS0). For others there is --accept-screen.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var machine: MachineOptions

    @Argument(help: "The snapshots.")
    var snapshots: [String]

    @Option(help: "A regular expression; a line of the serial console with it is the proof.")
    var expect: String?

    @Flag(
        help: """
            A screen that stays the same for 30 s is a proof too: a weaker one, so look at it.
            """)
    var acceptScreen = false

    @Option(help: "Seconds until a system counts as one that does not boot.")
    var timeout = 300

    @Option(help: "Write the picture of the screen to DIRECTORY/VOLUME@GENERATION.png.")
    var screenshots: String?

    @Flag(inversion: .prefixedNo, help: "Record what is found in the repository.")
    var record = true

    @Flag(help: "Start nothing; show what is recorded.")
    var recorded = false

    private struct Message: Encodable {
        var messageType = "boot-test"
        let volume: String
        let generation: UInt64
        let snapshotId: String
        let time: String
        let result: String
        let means: String
        let evidence: String
        let seconds: Double
        let firmware: String
        let machine: String
        let version: String
        let screenshot: String?
        let console: [String]
    }

    func validate() throws {
        guard timeout > 0 else { throw ValidationError("--timeout is a number of seconds") }
        if let expect { _ = try BootTestWorkflow.pattern(expect) }
    }

    func run() throws {
        let service = try repository.open(output)
        let selectors = try snapshots.map { try SnapshotSelector($0) }
        var options = BootTestWorkflow.Options()
        options.machine = machine.request
        options.pattern = try expect.map(BootTestWorkflow.pattern)
        options.acceptsStableScreen = acceptScreen
        options.timeoutSeconds = timeout
        options.records = record
        options.pictureDirectory = screenshots
        let workflow = try BootTestWorkflow(service, location: try repository.location(), options)
        guard !recorded else {
            return try workflow.recorded(
                selectors,
                missing: { output.note("\($0) was never tried; run 'varve boot-test'") },
                ended: tell)
        }
        var events = BootTestWorkflow.Events()
        events.ended = tell
        let isShown = Terminal.isInteractive && !output.json && !output.quiet
        if isShown {
            events.progress = { title, seconds, line in
                Terminal.progress("\(title) starts, \(Human.duration(seconds)): \(line.prefix(60))")
            }
        }
        defer { if isShown { Terminal.clearProgress() } }
        let refusedCount = try workflow.run(selectors, events: events)
        guard refusedCount == 0 else {
            throw ServiceError(
                .partial,
                "\(Human.count(refusedCount, "snapshot")) of \(selectors.count) did not boot")
        }
    }

    private func tell(_ outcome: BootTestWorkflow.Outcome) {
        let proof = outcome.proof
        let seconds = Double(proof.milliseconds) / 1000
        if output.json {
            JSONLine.write(
                Message(
                    volume: outcome.volume.rawValue, generation: outcome.generation,
                    snapshotId: outcome.snapshotID.hexadecimal, time: outcome.time.rfc3339,
                    result: proof.result.rawValue, means: proof.means.rawValue,
                    evidence: proof.evidence, seconds: seconds,
                    firmware: proof.firmware.rawValue, machine: proof.machine,
                    version: proof.program, screenshot: outcome.picturePath,
                    console: outcome.console))
        }
        if Terminal.isInteractive, !output.json, !output.quiet { Terminal.clearProgress() }
        if proof.result == .refused, !output.json, !output.quiet {
            for line in outcome.console { Terminal.errorLine("    \(line)") }
        }
        output.answer(outcome.text)
    }
}
