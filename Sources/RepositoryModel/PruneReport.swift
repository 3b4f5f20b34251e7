package import BlockModel

/// What a prune may leave, and must.
package struct PruneOptions: Hashable, Sendable {
    /// How much of a repository nothing may need.
    package enum UnusedLimit: Hashable, Sendable {
        /// So many percent of what is left.
        case percent(Double)
        case bytes(UInt64)
        /// Nothing is written again.
        case unlimited
    }

    package var maxUnused = UnusedLimit.percent(5)
    /// At most so many bytes of packs are written again; nil for no limit.
    package var maxRepackByteCount: UInt64?
    /// Whether small packs are written together, where there are many.
    package var repacksSmallPacks = false
    /// What an interrupted backup stored is left alone while it is younger.
    package var minimumAgeSeconds: Int64 = 7 * 86_400
    /// Whether all live blocks are counted again.
    package var isRecount = false

    package init() {}
}

/// What a prune did.
package struct PruneSummary: Hashable, Sendable {
    package var deletedPackCount = 0
    package var deletedByteCount: UInt64 = 0
    package var repackedPackCount = 0
    /// Bytes of packs that were written.
    package var writtenByteCount: UInt64 = 0
    /// Packs that stay as they are, because live blocks in them cannot be read.
    package var damagedPacks: [ObjectID] = []
    /// Whether what was to be written again did not fit.
    package var isOutOfSpace = false
    /// Parts of maps that no delta had.
    package var deletedPartCount = 0

    package init() {}

    /// Bytes that are free now and were not before; negative where more was written than deleted.
    package var freedByteCount: Int64 {
        Int64(clamping: deletedByteCount) - Int64(clamping: writtenByteCount)
    }
}

/// How the live counts were brought up to date.
package struct LiveCountReport: Hashable, Sendable {
    /// Why everything was counted again; nil if it was not.
    package var reason: String?
    /// Packs for which the old counts differed; nil if there were none to compare with.
    package var differenceCount: Int?
    package var addedDeltaCount = 0
    package var addedPackCount = 0

    package init() {}

    package init(reason: String) { self.reason = reason }
}

/// What a prune is going to do, in numbers.
package struct PruneForecast: Hashable, Sendable {
    /// Bytes of all packs.
    package var byteCount: UInt64 = 0
    /// Bytes of packs that nothing needs, before anything is done.
    package var unusedByteCount: UInt64 = 0
    /// The same, of what is left afterwards.
    package var remainingUnusedByteCount: UInt64 = 0
    /// Packs that no snapshot needs.
    package var deadPackCount = 0
    package var deadByteCount: UInt64 = 0
    /// Packs whose live blocks are written again.
    package var repackedPackCount = 0
    package var repackedByteCount: UInt64 = 0
    /// Bytes that repacking frees, by the shares that blocks have in their frames.
    package var repackFreedByteCount: UInt64 = 0
    /// Packs that an interrupted backup may have left to the next one.
    package var unfinishedPackCount = 0
    package var unfinishedByteCount: UInt64 = 0
    /// Packs that cannot be read, and that nothing needs.
    package var unreadablePackCount = 0
    package var unreadableByteCount: UInt64 = 0

    package init() {}

    /// Whether there is nothing to do.
    package var isEmpty: Bool {
        deadPackCount == 0 && repackedPackCount == 0 && unreadablePackCount == 0
    }
}
