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
            A SNAPSHOT is \(SnapshotSelector.help). Each runs as with 'boot --headless', without a \
            network, until its serial console shows a login prompt, or the line of --expect. \
            The result, the time it took and a screenshot are recorded in the \
            repository; 'snapshots' shows them. Exit status 3 means that one did not boot.

            A system uses its serial console if its kernel command line says so \
            (console=ttyS0). For others, use --accept-screen.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var machine: MachineOptions

    @Argument(help: "The snapshots.")
    var snapshots: [String]

    @Option(help: "A regular expression; a matching line of the serial console is the proof.")
    var expect: String?

    @Flag(
        help: """
            Also accept a screen that is stable for 30 s: weaker proof, so look at it.
            """)
    var acceptScreen = false

    @Option(help: "Seconds to wait before a system counts as not booting.")
    var timeout = 300

    @Option(help: "Write the screenshot to DIRECTORY/VOLUME@GENERATION.png.")
    var screenshots: String?

    @Flag(inversion: .prefixedNo, help: "Record the result in the repository.")
    var record = true

    @Flag(help: "Boot nothing; show the recorded results.")
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
        guard timeout > 0 else { throw ValidationError("--timeout must be a number of seconds") }
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
                missing: { output.note("\($0) was never tested; run 'varve boot-test'") },
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
