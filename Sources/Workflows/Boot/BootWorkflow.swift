package import BlockModel
internal import BootService
internal import Glibc
internal import LinuxIO
internal import Repository
package import RepositoryModel
package import SnapshotService

/// Runs a snapshot as a machine, for somebody who sits before it.
package struct BootWorkflow {
    package struct Options {
        package var machine = MachineRequest()
        /// Whether the serial console is standard input and output, and there is no window.
        package var isHeadless = false
        /// A file (qcow2) that keeps what the machine writes; nil to throw it away.
        package var overlay: String?
        /// More words for QEMU.
        package var arguments: [String] = []

        package init() {}
    }

    /// A machine that is going to start.
    package struct Start {
        package let volume: VolumeName
        package let snapshot: Snapshot
        package let firmware: BootProof.Firmware
        package let accelerator: String
        /// What the machine is made of, for people.
        package let machine: String
    }

    private let repository: OpenRepository
    /// The repository for the disk's server.
    private let location: String
    private let options: Options

    package init(_ repository: OpenRepository, location: String, _ options: Options) {
        self.repository = repository
        self.location = location
        self.options = options
    }

    /// Whether snapshots can be run here at all.
    ///
    /// - Throws: ``MachineError`` where QEMU is missing.
    package static func requireEmulator() throws { _ = try Emulator() }

    /// Runs a snapshot until its machine ends.
    ///
    /// - Parameters:
    ///   - selector: the snapshot.
    ///   - isTerminal: whether standard input is a terminal.
    ///   - starts: called before it starts.
    /// - Throws: ``MachineError`` where it cannot be run; ``Interrupted``.
    package func run(
        _ selector: SnapshotSelector,
        isTerminal: Bool,
        starts: (Start) -> Void
    ) throws {
        let emulator = try Emulator()
        let (timeline, found) = try repository.find(selector)
        try repository.withReadingHold(purpose: "boot") { hold in
            let machine = try options.machine.machine(
                for: SnapshotSelector(found.id.hexadecimal), of: found.facts.source, repository,
                emulator)
            let disk = try MachineDisk(found, at: location, overlay: options.overlay)
            defer { disk.end() }
            starts(
                Start(
                    volume: timeline.volume, snapshot: found, firmware: machine.firmware,
                    accelerator: machine.accelerator.rawValue, machine: emulator.text(machine)))
            var words = try emulator.arguments(
                machine, diskURI: disk.uri, isWritable: options.overlay != nil)
            words +=
                options.isHeadless
                ? ["-display", "none", "-serial", isTerminal ? "mon:stdio" : "stdio"]
                : ["-device", "qemu-xhci", "-device", "usb-tablet", "-serial", "none"]
            let process = try ChildProcess(
                words + options.arguments, input: options.isHeadless ? STDIN_FILENO : nil,
                output: STDOUT_FILENO)
            let status = process.wait {
                try? hold?.renew(now: Moment.steady())
                if Interruption.isRequested { process.end() }
            }
            if Interruption.isRequested { throw Interrupted() }
            guard status == 0 else {
                throw ServiceError(
                    .failed, "QEMU ended with status \(status); see its output above")
            }
        }
    }
}
