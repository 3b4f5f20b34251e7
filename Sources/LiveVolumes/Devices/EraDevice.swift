internal import BlockModel
internal import ChangeTracking
internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// A device whose dm-era target keeps in which era each block was written last.
///
/// An era ends when somebody asks for it, and whenever the device goes on or is opened anew: as long
/// as the number is what it was, no other program did either.
struct EraDevice {
    let device: MappedDevice
    private let metadata: UInt64
    private let blockByteCount: UInt64

    /// Nil for a device of another kind.
    init?(_ device: MappedDevice) throws {
        let table = try DeviceMapper.table(device.name)
        guard table.count == 1, let line = table.first, line.target == "era" else { return nil }
        let fields = line.parameters.split(separator: " ")
        guard fields.count >= 3, let metadata = DeviceNumber.parse(fields[0]),
            let sectors = UInt64(fields[2]), (1..<1 << 32).contains(sectors)
        else {
            throw VolumeError(
                .unsuitable, "\(device.path) has an invalid table: \(line.parameters)")
        }
        self.device = device
        self.metadata = metadata
        blockByteCount = sectors * UInt64(TableLine.sectorByteCount)
    }

    private func status() throws -> EraStatus {
        guard
            let status = try DeviceMapper.status(device.name).first.flatMap({
                EraStatus($0.parameters)
            })
        else { throw VolumeError(.failed, "the era target of \(device.path) failed") }
        return status
    }

    func currentEra() throws -> UInt64 { try status().currentEra }

    /// Whether the device was not stopped, moved to another era or recreated since a backup.
    func isUndisturbed(since state: TrackingState) throws -> Bool {
        guard case .era(let sequence) = state.mechanism,
            Self.diskSequence(of: device) == sequence, device.sectorCount == state.sectorCount
        else { return false }
        // The list was read from the era behind the one that was drained.
        return try currentEra() == state.view + 1
    }

    /// A number that the kernel gives no other disk until it is started again; nil before Linux 5.15.
    static func diskSequence(of device: MappedDevice) -> UInt64? {
        Directory.text(of: MappedDevice.system(device.number) + "/diskseq")
            .flatMap { UInt64($0.prefix { $0 != "\n" }) }
    }

    /// Ends the era, and reads what was written since the beginning of each of `eras`.
    ///
    /// - Returns: the era that begins, and the lists.
    /// - Throws: ``NothingKnown`` when nobody can tell.
    func written(
        since eras: Set<UInt64>,
        states: StateDirectory
    ) throws -> (current: UInt64, written: [UInt64: WrittenExtents]) {
        try states.withMetadata(of: .era(device.name)) {
            let current = try currentEra()
            var written: [UInt64: WrittenExtents] = [:]
            for era in eras {
                let text = try states.output(
                    of: "era_invalidate",
                    [
                        "--metadata-snapshot", "--written-since", "\(era)",
                        MappedDevice.node(of: metadata),
                    ], package: "thin-provisioning-tools")
                do {
                    written[era] = WrittenExtents(
                        try EraBlocks.changes(
                            text, blockByteCount: blockByteCount,
                            volumeByteCount: device.byteCount, blockSize: .minimum))
                } catch {
                    throw NothingKnown(description: "\(error)")
                }
            }
            return (current, written)
        }
    }
}
