package import BlockModel
internal import BootService
internal import LinuxIO
internal import Repository
internal import RepositoryFormat
package import RepositoryModel
package import SnapshotService

/// Proves that snapshots boot, and records the proofs.
///
/// Order, always: all snapshots are found → machine → disk → verdict → record, one after the other.
package struct BootTestWorkflow {
    package struct Options {
        package var machine = MachineRequest()
        /// Matches the console line that counts as proof; nil for a login prompt.
        package var pattern: ((String) -> Bool)?
        /// Whether a stable screen also counts as proof.
        package var acceptsStableScreen = false
        /// Time until a system counts as not booting.
        package var timeoutSeconds = 300
        /// Whether the result is recorded in the repository.
        package var records = true
        /// A directory that gets a picture of each screen, VOLUME@GENERATION.png; nil for none.
        package var pictureDirectory: String?

        package init() {}
    }

    /// The result for one snapshot.
    package struct Outcome {
        package let volume: VolumeName
        let snapshot: Snapshot
        package let proof: BootProof
        /// Where the picture of the screen is; nil where there is none.
        package let picturePath: String?
        /// The last lines of the console; empty for an earlier record.
        package let console: [String]

        package var generation: Generation { snapshot.generation }
        package var snapshotID: SnapshotID { snapshot.id }
        package var time: Timestamp { snapshot.facts.time }
        package var title: String { "\(volume)@\(snapshot.generation)" }

        /// The result in words.
        package var text: String {
            let evidence = proof.evidence.isEmpty ? "" : ": \(proof.evidence)"
            return "\(title) of \(Moment.local(snapshot.facts.time)) "
                + (proof.result == .proved ? "boots" : "DOES NOT BOOT")
                + ", \(Self.words[proof.means] ?? "") after "
                + "\(Human.duration(Double(proof.milliseconds) / 1000))\(evidence)"
        }

        private static let words: [BootProof.Means: String] = [
            .pattern: "its console showed what was expected",
            .loginPrompt: "its console showed a login prompt",
            .stableScreen: "its screen became stable", .failure: "it reported the failure itself",
            .stop: "the machine stopped", .timeout: "nothing showed that it booted",
        ]
    }

    /// A matcher for console lines from a regular expression.
    ///
    /// - Throws: ``ServiceError`` of kind `usage` for an invalid expression.
    package static func pattern(_ text: String) throws -> (String) -> Bool {
        guard let expression = try? Regex(text) else {
            throw ServiceError(.usage, "'\(text)' is not a regular expression")
        }
        return { (try? expression.firstMatch(in: $0)) ?? nil != nil }
    }

    /// Callbacks during the run.
    package struct Events {
        /// A snapshot is booting: its title, the seconds since its start, and its last console line.
        package var progress: (String, Double, String) -> Void = { _, _, _ in }
        /// The result for one snapshot.
        package var ended: (Outcome) throws -> Void = { _ in }

        package init() {}
    }

    private let repository: OpenRepository
    /// The repository for the disk's server.
    private let location: String
    private let options: Options

    /// - Parameters:
    ///   - repository: where the snapshots are.
    ///   - location: where the disks' server finds it.
    ///   - options: how they are run.
    /// - Throws: ``ServiceError`` where there is no directory for pictures.
    package init(
        _ repository: OpenRepository,
        location: String,
        _ options: Options = Options()
    ) throws {
        if let directory = options.pictureDirectory,
            try FileStatus(path: directory)?.kind != .directory
        {
            throw ServiceError(.usage, "\(directory) is not a directory; create it first")
        }
        self.repository = repository
        self.location = location
        self.options = options
    }

    /// Runs snapshots as machines.
    ///
    /// - Parameters:
    ///   - selectors: the snapshots.
    ///   - events: called for each.
    /// - Returns: how many do not boot.
    /// - Throws: ``MachineError`` when no machine can run; ``Interrupted``, with nothing recorded.
    package func run(_ selectors: [SnapshotSelector], events: Events) throws -> Int {
        try repository.withReadingHold(purpose: "boot-test") { hold in
            // Each is found before one is started.
            let found = try selectors.map { try repository.find($0) }
            var refusedCount = 0
            for (timeline, snapshot) in found {
                let outcome = try test(snapshot, of: timeline.volume, hold, events)
                if outcome.proof.result == .refused { refusedCount += 1 }
                try events.ended(outcome)
            }
            return refusedCount
        }
    }

    private func test(
        _ snapshot: Snapshot,
        of volume: VolumeName,
        _ hold: Hold?,
        _ events: Events
    ) throws -> Outcome {
        let emulator = try Emulator()
        let machine: MachineDescription
        let result: BootTest.Outcome
        do {
            machine = try options.machine.machine(
                for: SnapshotSelector(snapshot.id.hexadecimal), of: snapshot.facts.source,
                repository, emulator)
            result = try start(
                snapshot, titled: "\(volume)@\(snapshot.generation)", on: machine, emulator, hold,
                events)
        } catch {
            // Who interrupts from a terminal ends the machine and the disk's server too: whichever of them
            // was missed first, it says nothing of the snapshot.
            throw Interruption.isRequested ? Interrupted.ofBootTest : error
        }
        let proof = BootProof(
            result: result.result, means: result.means, evidence: result.evidence,
            milliseconds: result.milliseconds, firmware: machine.firmware,
            machine: emulator.text(machine), program: ProgramVersion.text)
        if options.records {
            try repository.repository.record(
                proof, picture: result.picture, on: snapshot.id, of: volume,
                time: repository.clock.now(), identifiers: repository.identifiers)
        }
        return Outcome(
            volume: volume, snapshot: snapshot, proof: proof,
            picturePath: try save(result.picture, of: snapshot, volume), console: result.console)
    }

    /// Writes a picture where it is wanted; gives where that is.
    private func save(
        _ picture: [UInt8],
        of snapshot: Snapshot,
        _ volume: VolumeName
    ) throws -> String? {
        guard let directory = options.pictureDirectory, !picture.isEmpty else { return nil }
        let path = "\(directory)/\(volume)@\(snapshot.generation).png"
        try FileOperation.replace(path, with: picture.rawSpan)
        return path
    }

    /// Runs it until there is a verdict.
    private func start(
        _ snapshot: Snapshot,
        titled title: String,
        on machine: MachineDescription,
        _ emulator: Emulator,
        _ hold: Hold?,
        _ events: Events
    ) throws -> BootTest.Outcome {
        let disk = try MachineDisk(snapshot, at: location)
        defer { disk.end() }
        var expectation = BootTest.Expectation()
        expectation.pattern = options.pattern
        expectation.acceptsStableScreen = options.acceptsStableScreen
        expectation.timeoutSeconds = options.timeoutSeconds
        let test = BootTest(expectation) { [repository] seconds, line in
            try? hold?.renew(now: repository.clock.steady())
            events.progress(title, seconds, line)
        }
        let outcome = try test.run(emulator, machine, diskURI: disk.uri)
        guard outcome.result == .proved || !disk.hasFailed else {
            throw ServiceError(.failed, "the disk's server ended; see its output above")
        }
        return outcome
    }

    /// Reports recorded proofs; boots nothing.
    ///
    /// - Parameters:
    ///   - selectors: the snapshots.
    ///   - missing: gets the title of each of which nothing is recorded.
    ///   - ended: gets the others.
    /// - Throws: what reading the repository throws.
    package func recorded(
        _ selectors: [SnapshotSelector],
        missing: (String) -> Void,
        ended: (Outcome) throws -> Void
    ) throws {
        try repository.withReadingHold(purpose: "boot-test") { _ in
            for (timeline, snapshot) in try selectors.map({ try repository.find($0) }) {
                let standing = try repository.repository.standings(of: timeline.volume)[snapshot.id]
                guard let boot = standing?.boot else {
                    missing("\(timeline.volume)@\(snapshot.generation)")
                    continue
                }
                try ended(
                    Outcome(
                        volume: timeline.volume, snapshot: snapshot, proof: boot.proof,
                        picturePath: options.pictureDirectory == nil
                            ? nil
                            : save(
                                repository.repository.picture(of: boot), of: snapshot,
                                timeline.volume),
                        console: []))
            }
        }
    }
}
