import ArgumentParser
import BlockModel
import BootService
import Glibc
import LinuxIO
import Repository
import RepositoryFormat
import SnapshotService

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
    @OptionGroup var options: MachineOptions

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
        if let expect { _ = try Self.pattern(expect) }
    }

    private static func pattern(_ text: String) throws -> (String) -> Bool {
        guard let expression = try? Regex(text) else {
            throw ValidationError("'\(text)' is no regular expression")
        }
        return { (try? expression.firstMatch(in: $0)) ?? nil != nil }
    }

    func run() throws {
        if let screenshots, try FileStatus(path: screenshots)?.kind != .directory {
            throw ServiceError(.usage, "\(screenshots) is no directory; make it first")
        }
        let service = try repository.open(output)
        let hold = try service.holdForReading(purpose: "boot-test")
        defer { withExtendedLifetime(hold) {} }
        // Each is found before one is started.
        let found = try snapshots.map { try service.find(SnapshotSelector($0)) }
        var refusedCount = 0
        for (timeline, snapshot) in found {
            if recorded {
                try show(timeline, snapshot, service)
            } else if try test(timeline, snapshot, service, hold) == .refused {
                refusedCount += 1
            }
        }
        guard refusedCount == 0 else {
            throw ServiceError(
                .partial,
                "\(Human.count(refusedCount, "snapshot")) of \(found.count) did not boot")
        }
    }

    private func test(
        _ timeline: Timeline,
        _ snapshot: Timeline.Snapshot,
        _ service: SnapshotService,
        _ hold: Hold?
    ) throws -> BootProof.Result {
        let emulator = try Emulator()
        let machine: MachineDescription
        let outcome: BootTest.Outcome
        do {
            machine = try options.machine(
                for: SnapshotSelector(snapshot.id.hexadecimal), service, emulator)
            outcome = try start(timeline, snapshot, on: machine, emulator, hold)
        } catch {
            // Who interrupts from a terminal ends the machine and the disk's server too: whichever of them
            // was missed first, it says nothing of the snapshot.
            throw Interruption.isRequested ? BootInterrupted() : error
        }
        let proof = BootProof(
            result: outcome.result, means: outcome.means, evidence: outcome.evidence,
            milliseconds: outcome.milliseconds, firmware: machine.firmware,
            machine: emulator.text(machine), program: ProgramVersion.text)
        if record {
            try service.repository.record(
                proof, picture: outcome.picture, on: snapshot.id, of: timeline.volume,
                time: Moment.now(), identifiers: RandomIdentifiers())
        }
        try tell(timeline, snapshot, proof, outcome.picture, console: outcome.console)
        return outcome.result
    }

    /// Runs it to a verdict.
    private func start(
        _ timeline: Timeline,
        _ snapshot: Timeline.Snapshot,
        on machine: MachineDescription,
        _ emulator: Emulator,
        _ hold: Hold?
    ) throws -> BootTest.Outcome {
        let disk = try MachineDisk(snapshot, at: repository.location())
        defer { disk.end() }
        var expectation = BootTest.Expectation()
        expectation.pattern = try expect.map(Self.pattern)
        expectation.acceptsStableScreen = acceptScreen
        expectation.timeoutSeconds = timeout
        let name = "\(timeline.volume)@\(snapshot.generation)"
        let isShown = Terminal.isInteractive && !output.json && !output.quiet
        defer { if isShown { Terminal.writeError("\r\u{1B}[K") } }
        let test = BootTest(expectation) { seconds, line in
            try? hold?.renew(now: Moment.now())
            guard isShown else { return }
            let text = Terminal.printable(String(line.prefix(60)))
            Terminal.writeError("\r\u{1B}[K\(name) starts, \(Human.duration(seconds)): \(text)")
        }
        let outcome = try test.run(emulator, machine, diskURI: disk.uri)
        guard outcome.result == .proved || !disk.hasFailed else {
            throw ServiceError(.failed, "the disk's server ended; what it said is above")
        }
        return outcome
    }

    private func show(
        _ timeline: Timeline,
        _ snapshot: Timeline.Snapshot,
        _ service: SnapshotService
    ) throws {
        guard let boot = try service.repository.standings(of: timeline.volume)[snapshot.id]?.boot
        else {
            return output.note(
                "\(timeline.volume)@\(snapshot.generation) was never tried; run 'varve boot-test'")
        }
        let picture = screenshots == nil ? [] : try service.repository.picture(of: boot)
        try tell(timeline, snapshot, boot.proof, picture, console: [])
    }

    private func tell(
        _ timeline: Timeline,
        _ snapshot: Timeline.Snapshot,
        _ proof: BootProof,
        _ picture: [UInt8],
        console: [String]
    ) throws {
        let name = "\(timeline.volume)@\(snapshot.generation)"
        var path: String?
        if let screenshots, !picture.isEmpty {
            let target = "\(screenshots)/\(name).png"
            try FileOperation.replace(target, with: picture.rawSpan)
            path = target
        }
        let seconds = Double(proof.milliseconds) / 1000
        if output.json {
            JSONLine.write(
                Message(
                    volume: timeline.volume.rawValue, generation: snapshot.generation,
                    snapshotId: snapshot.id.hexadecimal, time: snapshot.facts.time.rfc3339,
                    result: proof.result.rawValue, means: proof.means.rawValue,
                    evidence: proof.evidence, seconds: seconds,
                    firmware: proof.firmware.rawValue, machine: proof.machine,
                    version: proof.program, screenshot: path, console: console))
        }
        let evidence = proof.evidence.isEmpty ? "" : ": \(Terminal.printable(proof.evidence))"
        if proof.result == .refused, !output.json, !output.quiet {
            for line in console { Terminal.writeError("    \(Terminal.printable(line))\n") }
        }
        output.answer(
            "\(name) of \(Moment.local(snapshot.facts.time)) "
                + (proof.result == .proved ? "boots" : "DOES NOT BOOT")
                + ", \(Self.words[proof.means] ?? "") after \(Human.duration(seconds))\(evidence)")
    }

    private static let words: [BootProof.Means: String] = [
        .pattern: "its console showed what was expected",
        .loginPrompt: "its console asked to log in",
        .stableScreen: "its screen became stable", .failure: "it said so itself",
        .stop: "the machine stopped", .timeout: "nothing showed that it did",
    ]
}
