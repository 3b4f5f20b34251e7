import ArgumentParser
import BlockModel
import ProcessStart
import RepositoryModel
import SnapshotService
import Workflows

/// What a snapshot's machine is made of.
struct MachineOptions: ParsableArguments {
    @Flag(help: "Start by UEFI (default: where the disk has a partition for it).")
    var uefi = false

    @Flag(help: "Start by BIOS.")
    var bios = false

    @Option(help: "Memory of the machine, such as 4G.")
    var memory = ByteCount(2 << 30)

    @Option(help: "Processors of the machine.")
    var cpus = 2

    @Option(help: "What the disk is attached to: virtio, sata, nvme or scsi.")
    var bus = MachineRequest().bus

    @Option(help: "What runs it: kvm, tcg (software, slow), or auto for kvm where it works.")
    var accelerator = MachineRequest().accelerator

    @Option(help: "none, or user: what this machine reaches, by addresses of its own.")
    var network = MachineRequest().network

    func validate() throws {
        guard !uefi || !bios else { throw ValidationError("--uefi and --bios exclude each other") }
        guard (1...255).contains(cpus) else { throw ValidationError("--cpus is 1 to 255") }
        guard memory.value >= 64 << 20 else {
            throw ValidationError("--memory is 64M or more")
        }
    }

    var request: MachineRequest {
        var request = MachineRequest()
        request.firmware = uefi ? .uefi : bios ? .bios : nil
        request.memoryByteCount = memory.value
        request.processorCount = cpus
        request.bus = bus
        request.accelerator = accelerator
        request.network = network
        return request
    }
}

extension MachineRequest.Bus: ExpressibleByArgument {}
extension MachineRequest.Network: ExpressibleByArgument {}
extension MachineRequest.Accelerator: ExpressibleByArgument {}

struct BootCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "boot",
        abstract: "Run a snapshot as a machine, without restoring it.",
        discussion: """
            SNAPSHOT is \(SnapshotSelector.help). QEMU reads the disk from the repository; what the \
            machine writes is thrown away when it ends, or kept in the file of --overlay. It has a \
            window, or with --headless its serial console here (on a terminal, Ctrl-A X ends it).

            ARGUMENTS go to QEMU.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var options: MachineOptions

    @Argument(help: "The snapshot.")
    var snapshot: String

    @Argument(parsing: .postTerminator, help: "More arguments for QEMU, behind '--'.")
    var arguments: [String] = []

    @Flag(help: "No window; the serial console is standard input and output.")
    var headless = false

    @Option(
        help: "Keep what the machine writes in this file (qcow2), and go on from it the next time.")
    var overlay: String?

    private struct Message: Encodable {
        var messageType = "boot"
        let volume: String
        let generation: UInt64
        let snapshotId: String
        let time: String
        let firmware: String
        let accelerator: String
    }

    func run() throws {
        let hasDisplay = ["DISPLAY", "WAYLAND_DISPLAY"].contains {
            ProcessStart.environment[$0] != nil
        }
        guard headless || hasDisplay else {
            throw ServiceError(.usage, "there is no display for a window; use --headless")
        }
        try BootWorkflow.requireEmulator()
        var options = BootWorkflow.Options()
        options.machine = self.options.request
        options.isHeadless = headless
        options.overlay = overlay
        options.arguments = arguments
        try BootWorkflow(repository.open(output), location: repository.location(), options).run(
            SnapshotSelector(snapshot), isTerminal: StandardStream.input.isTerminal, starts: say)
    }

    private func say(_ start: BootWorkflow.Start) {
        let found = start.snapshot
        if output.json {
            // On standard error: standard output is the machine's.
            JSONLine.writeError(
                Message(
                    volume: start.volume.rawValue, generation: found.generation,
                    snapshotId: found.id.hexadecimal, time: found.facts.time.rfc3339,
                    firmware: start.firmware.rawValue, accelerator: start.accelerator))
        }
        output.note(
            "\(start.volume)@\(found.generation) of \(Moment.local(found.facts.time)) starts by "
                + "\(start.firmware == .uefi ? "UEFI" : "BIOS"), on \(start.machine); "
                + (overlay.map { "what it writes is kept in \($0)" }
                    ?? "what it writes is thrown away")
        )
    }
}
