internal import BlockModel
package import BootService
internal import RepositoryFormat
package import RepositoryModel
internal import Serving
package import SnapshotService

/// What a snapshot's machine is to be made of.
package struct MachineRequest: Sendable {
    package typealias Bus = MachineDescription.Bus
    package typealias Accelerator = MachineDescription.Accelerator
    package typealias Network = MachineDescription.Network

    /// Nil for what the disk tells.
    package var firmware: BootProof.Firmware?
    package var memoryByteCount: UInt64 = 2 << 30
    package var processorCount = 2
    package var bus = MachineDescription.Bus.virtio
    package var accelerator = MachineDescription.Accelerator.auto
    package var network = MachineDescription.Network.none

    package init() {}

    /// The machine for a snapshot, whose disk is looked at where the firmware was not said.
    ///
    /// - Parameters:
    ///   - snapshot: the snapshot, which names nothing but it.
    ///   - disk: what it was captured from.
    ///   - repository: the repository that has it.
    ///   - emulator: what runs it.
    /// - Returns: the machine.
    /// - Throws: ``MachineError`` when the accelerator is not to be had; what reading the disk throws.
    package func machine(
        for snapshot: SnapshotSelector,
        of disk: SourceIdentity,
        _ repository: OpenRepository,
        _ emulator: Emulator
    ) throws -> MachineDescription {
        var machine = MachineDescription(
            firmware: try firmware
                ?? repository.open(
                    snapshot, purpose: "look for firmware", options: SnapshotReader.Options()
                ).firmware())
        machine.memoryByteCount = memoryByteCount
        machine.processorCount = processorCount
        machine.bus = bus
        machine.sectorByteCount = Int(disk.sectorByteCount)
        machine.network = network
        machine.accelerator = try emulator.accelerator(accelerator)
        return machine
    }
}
