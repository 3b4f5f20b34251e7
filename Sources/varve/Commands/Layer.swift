import ArgumentParser
import Glibc
import LiveVolumes
import Logging
import SnapshotService
import Workflows

struct Layer: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a root that is a plain partition be tracked and tried upon.",
        discussion: """
            A script in the initramfs puts a layer of device-mapper under the root at every start; \
            nothing else of the start changes. If it can do nothing, the machine starts as before.
            """,
        subcommands: [Install.self, Remove.self, Status.self, Note.self, Stop.self])

    struct Install: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put the layer into the start of this machine, from the next one on.")

        @OptionGroup var output: OutputOptions

        @Option(
            help: """
                An empty partition that keeps what a trial of the root overwrites; without it there are \
                no trials of the root.
                """)
        var store: String?

        func run() throws {
            let new = try BootLayer.install(store: store, output: STDERR_FILENO)
            if output.json { JSONLine.write(LayerMessage(new)) }
            output.say(
                "installed for \(new.partition): restart the machine, and the root is "
                    + "/dev/mapper/\(BootLayer.deviceName)")
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take the layer out of the start of this machine.")

        @OptionGroup var output: OutputOptions

        func run() throws {
            try BootLayer.remove(states: .standard, output: STDERR_FILENO)
            if output.json { JSONLine.write(LayerMessage(nil)) }
            output.say("removed; the layer is gone when the machine starts again")
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show whether the layer is installed, and whether this start made it.")

        @OptionGroup var output: OutputOptions

        func run() throws {
            TrialWarnings.say(output)
            let configuration = BootLayer.configuration()
            if output.json { JSONLine.write(LayerMessage(configuration)) }
            guard let configuration else {
                output.answer("no layer is installed")
                return
            }
            output.answer("installed for \(configuration.partition)")
            output.answer("store of trials: \(configuration.store ?? "none")")
            output.answer(
                BootLayer.startOutcome() == nil
                    ? "the machine was started without it"
                    : "the root is /dev/mapper/\(BootLayer.deviceName)")
        }
    }

    struct Note: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take trials up after a start; its unit of systemd runs this.",
            shouldDisplay: false)

        @OptionGroup var output: OutputOptions

        func run() throws {
            do {
                if let text = try BootLayer.note(states: .standard) {
                    output.logger.warning("\(text)")
                }
            } catch {
                // Trials of other volumes are taken up all the same.
                output.logger.warning("\(error)")
            }
            for (name, outcome) in try Trial(states: .standard).resume() {
                if case .active = outcome { continue }
                output.logger.warning("/dev/mapper/\(name): \(outcome)")
            }
            if try !Trial(states: .standard).status().isEmpty { StoreWatch(output).start() }
        }
    }
}

extension Layer {
    struct Stop: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put trials to rest when the machine ends; its units of systemd run this.",
            shouldDisplay: false)

        @Flag(help: "After the last write of the root.")
        var last = false

        @OptionGroup var output: OutputOptions

        func run() throws {
            for warning in Trial(states: .standard).stop(isLast: last) {
                output.logger.warning("\(warning)")
            }
        }
    }
}

struct LayerMessage: Encodable {
    var messageType = "layer"
    let installed: Bool
    let partition: String?
    let store: String?
    let active: Bool

    init(_ configuration: BootLayer.Configuration?) {
        installed = configuration != nil
        partition = configuration?.partition
        store = configuration?.store
        active = BootLayer.startOutcome() != nil
    }
}
