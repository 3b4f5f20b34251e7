import ArgumentParser
import SnapshotService
import Workflows

struct LayerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "layer",
        abstract: "Make a root on a plain partition ready for tracking and trials.",
        discussion: """
            A script in the initramfs puts a device-mapper layer under the root at every boot; \
            nothing else changes. If the script cannot do that, the machine boots as before.
            """,
        subcommands: [Install.self, Remove.self, Status.self, Note.self, Stop.self])

    struct Install: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add the layer to the boot of this machine, from the next boot on.")

        @OptionGroup var output: OutputOptions

        @Option(
            help: """
                An empty partition for data that a trial of the root overwrites; without it, there \
                are no trials of the root.
                """)
        var store: String?

        func run() throws {
            let workflow = LayerWorkflow(output)
            let new = try workflow.install(store: store)
            if output.json { JSONLine.write(LayerMessage(workflow)) }
            output.say(
                "installed for \(new.partition): restart the machine, and the root is "
                    + LayerWorkflow.devicePath)
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove the layer from the boot of this machine.")

        @OptionGroup var output: OutputOptions

        func run() throws {
            let workflow = LayerWorkflow(output)
            try workflow.remove()
            if output.json { JSONLine.write(LayerMessage(workflow)) }
            output.say("removed; the layer is gone after the next boot")
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show whether the layer is installed and active.")

        @OptionGroup var output: OutputOptions

        func run() throws {
            output.warnOfTrials()
            let workflow = LayerWorkflow(output)
            if output.json { JSONLine.write(LayerMessage(workflow)) }
            guard let layer = workflow.installed() else {
                output.answer("no layer is installed")
                return
            }
            output.answer("installed for \(layer.partition)")
            output.answer("store of trials: \(layer.store ?? "none")")
            output.answer(
                workflow.isActive
                    ? "the root is \(LayerWorkflow.devicePath)"
                    : "the machine was booted without it")
        }
    }

    struct Note: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Resume trials after boot; a systemd unit runs this.",
            shouldDisplay: false)

        @OptionGroup var output: OutputOptions

        func run() throws { try LayerWorkflow(output).takeUpTrials() }
    }
}

extension LayerCommand {
    struct Stop: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Close trials at shutdown; systemd units run this.",
            shouldDisplay: false)

        @Flag(help: "After the last write of the root.")
        var last = false

        @OptionGroup var output: OutputOptions

        func run() throws { LayerWorkflow(output).putTrialsToRest(isLast: last) }
    }
}

struct LayerMessage: Encodable {
    var messageType = "layer"
    let installed: Bool
    let partition: String?
    let store: String?
    let active: Bool

    init(_ workflow: LayerWorkflow) {
        let layer = workflow.installed()
        installed = layer != nil
        partition = layer?.partition
        store = layer?.store
        active = workflow.isActive
    }
}

extension LayerWorkflow {
    /// That of this machine, which says on standard error what is of note.
    init(_ output: OutputOptions) { self.init(states: Local.states, logger: output.logger) }
}
