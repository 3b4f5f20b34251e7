import ArgumentParser
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
            abstract: "Take the layer out of the start of this machine.")

        @OptionGroup var output: OutputOptions

        func run() throws {
            let workflow = LayerWorkflow(output)
            try workflow.remove()
            if output.json { JSONLine.write(LayerMessage(workflow)) }
            output.say("removed; the layer is gone when the machine starts again")
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show whether the layer is installed, and whether this start made it.")

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
                    : "the machine was started without it")
        }
    }

    struct Note: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take trials up after a start; its unit of systemd runs this.",
            shouldDisplay: false)

        @OptionGroup var output: OutputOptions

        func run() throws { try LayerWorkflow(output).takeUpTrials() }
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
