package import BlockModel
package import RepositoryIndex
package import RepositoryModel

/// Which packs are deleted and which are written again, worked out from their tallies alone.
package struct PrunePlan: Hashable, Sendable {
    /// A pack of which nothing can be told but its size.
    package struct UnreadablePack: Hashable, Sendable {
        package let id: ObjectID
        package let byteCount: UInt64
    }

    /// Packs that no snapshot needs.
    package private(set) var dead: [PackTally] = []
    /// Packs whose live blocks are written again; those with the most to free first.
    package private(set) var repacked: [PackTally] = []
    /// Packs that cannot be read, and that nothing needs.
    package private(set) var unreadable: [UnreadablePack]
    /// Packs that an interrupted backup may have left to the next one.
    package private(set) var unfinished: [PackTally] = []
    /// Bytes of all packs.
    package private(set) var byteCount: UInt64 = 0
    /// Bytes of packs that nothing needs, before anything is done.
    package private(set) var unusedByteCount: UInt64 = 0
    /// The same, of what is left afterwards.
    package private(set) var remainingUnusedByteCount: UInt64 = 0

    /// Bytes that go with the dead packs, exactly.
    package var deadByteCount: UInt64 { dead.reduce(0) { $0 + $1.byteCount } }
    /// Bytes that repacking frees, by the shares that blocks have in their frames.
    package var repackFreedByteCount: UInt64 { repacked.reduce(0) { $0 + $1.unusedByteCount } }
    package var repackByteCount: UInt64 { repacked.reduce(0) { $0 + $1.byteCount } }
    package var unreadableByteCount: UInt64 { unreadable.map(\.byteCount).saturatingSum }
    package var isEmpty: Bool { deletedPacks.isEmpty }
    /// All packs that are deleted in the end.
    var deletedPacks: [ObjectID] { (dead + repacked).map(\.id) + unreadable.map(\.id) }

    /// - Parameters:
    ///   - tallies: all packs.
    ///   - options: what may be left.
    ///   - unreadable: packs that cannot be read and that nothing needs.
    ///   - badFrames: numbers of packs that are written again because of bad frames, whatever is unused.
    ///   - mayBeUnfinished: whether a pack of which nothing is needed may be what an interrupted backup
    ///     left.
    package init(
        _ tallies: [PackTally],
        _ options: PruneOptions,
        unreadable: [UnreadablePack] = [],
        badFrames: Set<UInt32> = [],
        mayBeUnfinished: (PackTally) -> Bool
    ) {
        self.unreadable = unreadable
        var partly: [PackTally] = []
        for tally in tallies {
            byteCount += tally.byteCount
            if tally.liveBlockCount > 0 {
                unusedByteCount += tally.unusedByteCount
                if badFrames.contains(tally.number) {
                    repacked.append(tally)
                } else if tally.unusedByteCount > 0 {
                    partly.append(tally)
                }
            } else if mayBeUnfinished(tally) {
                unfinished.append(tally)
            } else {
                unusedByteCount += tally.byteCount
                dead.append(tally)
            }
        }
        remainingUnusedByteCount = unusedByteCount - deadByteCount
        remainingUnusedByteCount -= repackFreedByteCount
        var total = byteCount - deadByteCount - repackFreedByteCount
        // The largest share first: the least is written for what is freed.
        partly.sort {
            let (a, b) = (
                $0.unusedByteCount.multipliedFullWidth(by: $1.byteCount),
                $1.unusedByteCount.multipliedFullWidth(by: $0.byteCount)
            )
            return (a.high, a.low, $0.number) > (b.high, b.low, $1.number)
        }
        var written: UInt64 = 0
        for tally in partly {
            guard remainingUnusedByteCount > Self.limit(options.maxUnused, of: total) else { break }
            written += tally.byteCount - tally.unusedByteCount
            if let limit = options.maxRepackByteCount, written > limit { break }
            repacked.append(tally)
            remainingUnusedByteCount -= tally.unusedByteCount
            total -= tally.unusedByteCount
        }
        if options.repacksSmallPacks { gatherSmallPacks(tallies, options, written) }
    }

    /// A pack is small below this.
    static let smallPackByteCount: UInt64 = 4 << 20
    /// So many small packs are left alone.
    private static let smallPackLimit = 64
    /// So many are written together at most, so that this stays a small part of a prune.
    private static let gatheredLimit = 4096

    /// Adds small packs where there are many: each is an object to list and a table to read.
    ///
    /// The smallest come first, up to one that is larger than all of them together: what was written
    /// together before is not written again each time.
    private mutating func gatherSmallPacks(
        _ tallies: [PackTally],
        _ options: PruneOptions,
        _ written: UInt64
    ) {
        let known = Set(repacked.map(\.number))
        let small = tallies.filter {
            $0.liveBlockCount > 0 && $0.byteCount < Self.smallPackByteCount
                && !known.contains($0.number)
        }.sorted { ($0.byteCount, $0.number) < ($1.byteCount, $1.number) }
        var gathered: [PackTally] = []
        var byteCount: UInt64 = 0
        for tally in small.prefix(Self.gatheredLimit) {
            if gathered.count >= Self.smallPackLimit, tally.byteCount > byteCount { break }
            gathered.append(tally)
            byteCount += tally.byteCount
        }
        guard gathered.count > Self.smallPackLimit else { return }
        var written = written
        for tally in gathered.sorted(by: { $0.number < $1.number }) {
            written += tally.byteCount - tally.unusedByteCount
            if let limit = options.maxRepackByteCount, written > limit { return }
            repacked.append(tally)
            remainingUnusedByteCount -= tally.unusedByteCount
        }
    }

    /// Leaves out the packs that are not to go.
    mutating func keep(_ isWanted: (ObjectID) -> Bool) {
        dead.removeAll { !isWanted($0.id) }
        repacked.removeAll { !isWanted($0.id) }
        unreadable.removeAll { !isWanted($0.id) }
    }

    private static func limit(_ limit: PruneOptions.UnusedLimit, of total: UInt64) -> UInt64 {
        switch limit {
        case .percent(let percent): UInt64(min(Double(total) * max(0, percent) / 100, 0x1p62))
        case .bytes(let count): count
        case .unlimited: .max
        }
    }
}

extension PrunePlan {
    /// What it comes to.
    package var forecast: PruneForecast {
        var forecast = PruneForecast()
        forecast.byteCount = byteCount
        forecast.unusedByteCount = unusedByteCount
        forecast.remainingUnusedByteCount = remainingUnusedByteCount
        forecast.deadPackCount = dead.count
        forecast.deadByteCount = deadByteCount
        forecast.repackedPackCount = repacked.count
        forecast.repackedByteCount = repackByteCount
        forecast.repackFreedByteCount = repackFreedByteCount
        forecast.unfinishedPackCount = unfinished.count
        forecast.unfinishedByteCount = unfinished.map(\.byteCount).saturatingSum
        forecast.unreadablePackCount = unreadable.count
        forecast.unreadableByteCount = unreadableByteCount
        return forecast
    }
}
