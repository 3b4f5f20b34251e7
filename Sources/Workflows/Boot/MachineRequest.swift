internal import BlockModel
package import BootService
internal import RepositoryFormat
package import RepositoryModel
internal import Serving
package import SnapshotService

/// The requested machine for a snapshot.
package struct MachineRequest: Sendable {
    package typealias Bus = MachineDescription.Bus
    package typealias Accelerator = MachineDescription.Accelerator
    package typealias Network = MachineDescription.Network

    /// Nil to detect it from the disk.
    package var firmware: BootProof.Firmware?
    package var memoryByteCount: UInt64 = 2 << 30
    package var processorCount = 2
    package var bus = MachineDescription.Bus.virtio
    package var accelerator = MachineDescription.Accelerator.auto
    package var network = MachineDescription.Network.none

    package init() {}

    /// The machine for a snapshot; the disk is examined if no firmware was requested.
    ///
    /// - Parameters:
    ///   - snapshot: the name of exactly this snapshot.
    ///   - disk: the source of the snapshot.
    ///   - repository: its repository.
    ///   - emulator: the emulator for it.
    /// - Returns: the machine.
    /// - Throws: ``MachineError`` when the accelerator is not available; errors of reading the disk.
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
