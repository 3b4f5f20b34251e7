import ArgumentParser
import BlockModel
import Logging
import SnapshotService
import Workflows

struct TrialCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trial",
        abstract: "Try something risky on a volume, then keep or discard it.",
        discussion: """
            From 'begin' on, a store keeps the old contents of the volume. 'discard' writes them \
            back, visible at once and safe through a crash; 'keep' drops them. If a repository is \
            set, 'begin' and 'keep' also take a snapshot, so the history is off the machine too.

            Trials work on device-mapper devices of type linear, striped and crypt, unused plain \
            devices, and a root with 'varve layer install'; not on thin volumes, devices \
            with a dm-era target, or other roots.
            """,
        subcommands: [Begin.self, Status.self, Keep.self, Discard.self, Resume.self])

    /// What a trial captures, and where.
    struct CaptureOptions: ParsableArguments {
        @OptionGroup var repository: RepositoryOptions

        @Option(help: "Name of the volume (default: <hostname>-<name of the device>).")
        var volume: String?

        @Flag(help: "Take no snapshot, even if a repository is set.")
        var noBackup = false

        /// The repository, when a snapshot is to be taken.
        private func service(_ output: OutputOptions) throws -> OpenRepository? {
            guard !noBackup, try repository.locationIfNamed() != nil else { return nil }
            return try repository.open(output)
        }

        /// What is to be captured, if anything.
        func capture(_ output: OutputOptions) throws -> TrialWorkflow.Capture? {
            try service(output).map {
                TrialWorkflow.Capture(
                    $0, volume: try volume.map(BackupCommand.volumeName),
                    events: BackupCommand.events(output))
            }
        }
    }

    struct Begin: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Begin a trial of a device, in use or not.")

        @OptionGroup var capture: CaptureOptions
        @OptionGroup var output: OutputOptions

        @Argument(help: "The device or its mount point.")
        var device: String

        @Option(
            help: """
                Where to keep overwritten data: a directory on another file system, or an empty \
                partition (for a root with 'varve layer install', what was given there).
                """)
        var store: String?

        @Option(
            help:
                "Bytes of the store to reserve on disk at once, such as 512M (default: none)."
        )
        var storeSize: ByteCount?

        private struct Message: Encodable {
            var messageType = "summary"
            let device: String
            let store: String
            let windowMilliseconds: Double
        }

        func run() throws {
            output.warnOfTrials()
            let capture = try capture.capture(output)
            try TrialWorkflow(output).begin(
                device, store: store, storeByteCount: storeSize?.value, capture: capture, began: say
            )
        }

        private func say(_ begun: TrialWorkflow.Begun) {
            let subject = begun.subject
            let path = subject.path
            if output.json {
                JSONLine.write(
                    Message(
                        device: path, store: subject.store,
                        windowMilliseconds: Double(begun.windowNanoseconds / 1000) / 1000))
            }
            output.say(
                "\(path) is on trial, store in \(subject.store); paused for "
                    + Human.milliseconds(begun.windowNanoseconds))
            if let plain = subject.plainDevice {
                output.say("mount \(path) from now on, not \(plain)")
            }
            for caution in begun.cautions { output.logger.warning("\(caution)") }
            output.say(
                subject.isRoot
                    ? "to discard all later writes: 'varve trial discard /', then restart the "
                        + "machine"
                    : "to discard all later writes, unmount it, then run 'varve trial discard "
                        + "\(path)'"
            )
        }
    }

    struct Keep: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a trial and keep everything as it is now.")

        @OptionGroup var capture: CaptureOptions
        @OptionGroup var output: OutputOptions

        @Argument(help: "The device or its mount point.")
        var device: String

        func run() throws {
            try TrialWorkflow(output).keep(device, capture: capture.capture(output)) { path in
                if output.json { JSONLine.write(DeviceMessage(device: path)) }
                output.say("the trial of \(path) has ended: everything stays as it is now")
            }
        }
    }

    struct Discard: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a trial and discard what was written since it began.",
            discussion: """
                A data volume must be unmounted; it shows its old contents at once, while they are \
                written back. The root is reset at the next boot, before it is \
                mounted.
                """)

        @OptionGroup var output: OutputOptions

        @Argument(help: "The device or its mount point.")
        var device: String

        private struct Message: Encodable {
            var messageType = "summary"
            let device: String
            let done: Bool
        }

        func run() throws {
            let line = ProgressLine("written back", output)
            let isDone = try TrialWorkflow(output).discard(device) { done, total in
                line.update(done: done, total: total)
            }
            line.clear()
            if output.json { JSONLine.write(Message(device: device, done: isDone)) }
            output.say(
                isDone
                    ? "\(device) is as it was when the trial began"
                    : "restart the machine now: the root is reset before it is mounted to what it "
                        + "was when the trial began, and all writes until then are lost too")
        }
    }

    struct Resume: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Resume trials of data volumes after a restart, before they are mounted.")

        @OptionGroup var output: OutputOptions

        private struct Message: Encodable {
            var messageType = "trial"
            let device: String
            let outcome: String
            let reason: String?
        }

        func run() throws {
            var failures = 0
            for (path, outcome) in try TrialWorkflow(output).resume() {
                let (word, reason): (String, String?) =
                    switch outcome {
                    case .active: ("active", nil)
                    case .discarded: ("discarded", nil)
                    case .lost(let reason): ("lost", reason)
                    case .failed(let reason): ("failed", reason)
                    }
                if output.json {
                    JSONLine.write(Message(device: path, outcome: word, reason: reason))
                }
                switch outcome {
                case .active: output.say("\(path) is on trial again")
                case .discarded: output.say("\(path) is as it was when the trial began")
                case .lost(let reason):
                    output.say("the trial of \(path) can no longer be discarded: \(reason)")
                case .failed(let reason):
                    failures += 1
                    output.logger.warning("\(path): \(reason)")
                }
            }
            guard failures == 0 else {
                throw ServiceError(
                    .failed, "\(Human.count(failures, "trial")) could not be resumed")
            }
        }
    }
}

extension TrialWorkflow {
    /// That of this machine, which says on standard error what is of note.
    init(_ output: OutputOptions) {
        self.init(states: Local.states, watch: StoreWatch(output))
    }
}

extension StoreWatch {
    init(_ output: OutputOptions) { self.init(states: Local.states, logger: output.logger) }
}

extension OutputOptions {
    /// Says what every command says that has to do with disks in use, when a trial was lost meanwhile.
    func warnOfTrials() {
        for warning in TrialWorkflow(self).warnings() { logger.warning("\(warning)") }
    }
}
