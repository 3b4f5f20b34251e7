import ArgumentParser
import BlockModel
import ProcessStart
import RepositoryModel
import SnapshotService
import Workflows

/// What a snapshot's machine is made of.
struct MachineOptions: ParsableArguments {
    @Flag(help: "Boot by UEFI (default: if the disk has a UEFI partition).")
    var uefi = false

    @Flag(help: "Boot by BIOS.")
    var bios = false

    @Option(help: "Memory of the machine, such as 4G.")
    var memory = ByteCount(2 << 30)

    @Option(help: "Number of processors of the machine.")
    var cpus = 2

    @Option(help: "Bus of the disk: virtio, sata, nvme or scsi.")
    var bus = MachineRequest().bus

    @Option(help: "Accelerator: kvm, tcg (software, slow), or auto for kvm if it works.")
    var accelerator = MachineRequest().accelerator

    @Option(help: "none, or user: reach the network of this machine through NAT.")
    var network = MachineRequest().network

    func validate() throws {
        guard !uefi || !bios else { throw ValidationError("--uefi and --bios cannot be combined") }
        guard (1...255).contains(cpus) else { throw ValidationError("--cpus must be 1 to 255") }
        guard memory.value >= 64 << 20 else {
            throw ValidationError("--memory must be 64M or more")
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
            machine writes is discarded when it ends, or kept in the file of --overlay. It has a \
            window, or with --headless its serial console here (on a terminal, Ctrl-A X quits).

            ARGUMENTS are passed to QEMU.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var options: MachineOptions

    @Argument(help: "The snapshot.")
    var snapshot: String

    @Argument(parsing: .postTerminator, help: "More arguments for QEMU, after '--'.")
    var arguments: [String] = []

    @Flag(help: "No window; use standard input and output as serial console.")
    var headless = false

    @Option(
        help: "Keep what the machine writes in this file (qcow2), and continue from it next time.")
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
            "\(start.volume)@\(found.generation) of \(Moment.local(found.facts.time)) boots by "
                + "\(start.firmware == .uefi ? "UEFI" : "BIOS"), on \(start.machine); "
                + (overlay.map { "its writes are kept in \($0)" } ?? "its writes are discarded")
        )
    }
}
