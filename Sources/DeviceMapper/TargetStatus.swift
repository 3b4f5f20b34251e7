/// The status line of a `snapshot` or `snapshot-merge` target; any text that is none of these is
/// kept as it is.
///
/// Source: `snapshot_status` in the kernel's `drivers/md/dm-snap.c`.
package enum SnapshotStatus: Hashable, Sendable {
    /// Sectors of the store: how many are used, exceptions and metadata, and how many there are.
    case active(usedSectorCount: UInt64, sectorCount: UInt64, metadataSectorCount: UInt64)
    /// The store is full or failed: nothing in it counts any more.
    case invalid
    /// The store overflowed while it was full.
    case overflow
    /// A merge stopped because of an error.
    case mergeFailed
    case other(String)

    package init(_ parameters: String) {
        switch parameters {
        case "Invalid": self = .invalid
        case "Overflow": self = .overflow
        case "Merge failed": self = .mergeFailed
        default: self = Self.active(parameters) ?? .other(parameters)
        }
    }

    /// `<used>/<total> <metadata>`.
    private static func active(_ text: String) -> SnapshotStatus? {
        let fields = text.split(separator: " ", omittingEmptySubsequences: false)
        guard fields.count == 2, let share = Share(fields[0]), let metadata = number(fields[1]),
            share.used <= share.total, metadata <= share.used
        else { return nil }
        return .active(
            usedSectorCount: share.used, sectorCount: share.total, metadataSectorCount: metadata)
    }

    /// Whether a merge has written everything back: only metadata is left in the store.
    package var isMergeDone: Bool {
        if case .active(let used, _, let metadata) = self { used == metadata } else { false }
    }
}

/// The status line of an `era` target.
///
/// Source: `era_status` in the kernel's `drivers/md/dm-era-target.c`.
package struct EraStatus: Hashable, Sendable {
    package let metadataBlockSectorCount: UInt64
    package let usedMetadataBlockCount: UInt64
    package let metadataBlockCount: UInt64
    package let currentEra: UInt64
    /// The metadata block of the snapshot that is held; nil for none.
    package let heldSnapshot: UInt64?

    /// `<block size> <used>/<total> <era> <held or ->`; nil for any other text.
    package init?(_ parameters: String) {
        let fields = parameters.split(separator: " ", omittingEmptySubsequences: false)
        guard fields.count == 4, let size = number(fields[0]), let share = Share(fields[1]),
            let era = number(fields[2]), fields[3] == "-" || number(fields[3]) != nil
        else { return nil }
        metadataBlockSectorCount = size
        usedMetadataBlockCount = share.used
        metadataBlockCount = share.total
        currentEra = era
        heldSnapshot = number(fields[3])
    }
}

/// The status line of a `thin-pool` target, as far as it is needed.
///
/// Source: `pool_status` in the kernel's `drivers/md/dm-thin.c`.
package struct ThinPoolStatus: Hashable, Sendable {
    package let transactionID: UInt64
    package let usedMetadataBlockCount: UInt64
    package let metadataBlockCount: UInt64
    package let usedDataBlockCount: UInt64
    package let dataBlockCount: UInt64
    /// The metadata block of the snapshot that is held; nil for none.
    package let heldSnapshot: UInt64?
    /// What follows, such as `rw`, `ro`, `out_of_data_space`, `needs_check`.
    package let features: [String]

    /// `<transaction> <used>/<total> <used>/<total> <held or -> <features>`; nil for any other text,
    /// such as `Fail`.
    package init?(_ parameters: String) {
        let fields = parameters.split(separator: " ")
        guard fields.count >= 4, let transaction = number(fields[0]),
            let metadata = Share(fields[1]), let data = Share(fields[2]),
            fields[3] == "-" || number(fields[3]) != nil
        else { return nil }
        transactionID = transaction
        usedMetadataBlockCount = metadata.used
        metadataBlockCount = metadata.total
        usedDataBlockCount = data.used
        dataBlockCount = data.total
        heldSnapshot = number(fields[3])
        features = fields[4...].map(String.init)
    }
}

/// `<used>/<total>`.
private struct Share {
    let used: UInt64
    let total: UInt64

    init?(_ text: Substring) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let used = number(parts[0]), let total = number(parts[1]) else {
            return nil
        }
        self.used = used
        self.total = total
    }
}

/// A number of decimal digits alone.
private func number(_ text: Substring) -> UInt64? {
    text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        ? UInt64(text) : nil
}
