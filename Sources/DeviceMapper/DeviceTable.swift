/// One line of a device's table: sectors of the device, and the target that serves them.
///
/// Source: <https://docs.kernel.org/admin-guide/device-mapper/index.html>.
package struct TableLine: Hashable, Sendable, CustomStringConvertible {
    package static let sectorByteCount = 512

    package let firstSector: UInt64
    package let sectorCount: UInt64
    package let target: String
    package let parameters: String

    package init(firstSector: UInt64, sectorCount: UInt64, target: String, parameters: String) {
        self.firstSector = firstSector
        self.sectorCount = sectorCount
        self.target = target
        self.parameters = parameters
    }

    /// As `dmsetup table` prints it.
    package var description: String { "\(firstSector) \(sectorCount) \(target) \(parameters)" }
}

/// The targets that serve a whole device.
extension TableLine {
    private init(_ sectorCount: UInt64, _ target: String, _ parameters: String) {
        self.init(
            firstSector: 0, sectorCount: sectorCount, target: target, parameters: parameters)
    }

    /// The sectors of `device`, from `firstSector` of it on.
    package static func linear(
        _ device: String,
        sectorCount: UInt64,
        firstSector: UInt64 = 0
    ) -> TableLine {
        TableLine(sectorCount, "linear", "\(device) \(firstSector)")
    }

    /// `device`, where each write first copies what snapshots of it still need.
    package static func snapshotOrigin(_ device: String, sectorCount: UInt64) -> TableLine {
        TableLine(sectorCount, "snapshot-origin", device)
    }

    /// `origin` as it was when the snapshot began; exceptions are kept in `store`, and survive a
    /// restart.
    package static func snapshot(
        of origin: String,
        store: String,
        chunkSectorCount: UInt32,
        sectorCount: UInt64
    ) -> TableLine {
        TableLine(sectorCount, "snapshot", "\(origin) \(store) P \(chunkSectorCount)")
    }

    /// What the snapshot in `store` shows, while it is written back to `origin`.
    package static func snapshotMerge(
        into origin: String,
        store: String,
        chunkSectorCount: UInt32,
        sectorCount: UInt64
    ) -> TableLine {
        TableLine(sectorCount, "snapshot-merge", "\(origin) \(store) P \(chunkSectorCount)")
    }
}
