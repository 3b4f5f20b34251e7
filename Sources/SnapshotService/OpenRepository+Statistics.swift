package import BlockModel
internal import LinuxIO
internal import Packs
internal import Repository
internal import RepositoryIndex
package import RepositoryModel

/// What a repository holds, in numbers.
package struct RepositoryStatistics: Sendable {
    package let volumeCount: Int
    package let snapshotCount: Int
    package let damagedSnapshotCount: Int
    /// Sum of the sizes of all snapshots.
    package let restorableByteCount: UInt64
    /// Bytes stored, by kind of object.
    package let storedByteCounts: [String: UInt64]
    package let packCount: Int
    package let blockCount: Int
    package let indexByteCount: UInt64

    package var storedByteCount: UInt64 { storedByteCounts.values.saturatingSum }
}

extension OpenRepository {
    /// What the repository holds.
    package func statistics() throws -> RepositoryStatistics {
        let index = try retryingWithFreshIndex { try currentIndex() }
        let timelines = try timelines()
        let snapshots = timelines.flatMap(\.snapshots)
        return RepositoryStatistics(
            volumeCount: timelines.count, snapshotCount: snapshots.count,
            damagedSnapshotCount: timelines.reduce(0) { $0 + $1.damaged.count },
            restorableByteCount: snapshots.map(\.facts.byteCount).saturatingSum,
            storedByteCounts: try repository.storedByteCounts(), packCount: index.packCount,
            blockCount: index.blockCount, indexByteCount: index.usedByteCount)
    }

    /// What each snapshot costs, of all volumes.
    ///
    /// - Returns: snapshots by volume, oldest first, with their costs.
    /// - Throws: ``RepositoryError`` of kind `damaged` where anything is.
    package func costs() throws -> [(
        volume: VolumeName, snapshot: Snapshot, cost: SnapshotCost
    )] {
        try withReadingHold(purpose: "stats") { _ in
            try retryingWithFreshIndex { try whileListed { try costsAsListed() } }
        }
    }

    private func costsAsListed() throws -> [(
        volume: VolumeName, snapshot: Snapshot, cost: SnapshotCost
    )] {
        let index = try currentIndex()
        let timelines = try timelines()
        _ = try index.updateLiveCounts(
            of: timelines, in: repository, now: clock.now(), isRecount: false)
        var all: [(volume: VolumeName, snapshot: Snapshot, isShown: Bool)] = []
        var maps: [SnapshotMap] = []
        for timeline in timelines {
            try index.bringForward(timeline, with: repository)
            let shown = Set(timeline.snapshots.map(\.id))
            let snapshots = (timeline.snapshots + timeline.forgotten).sorted {
                ($0.generation, $0.id) < ($1.generation, $1.id)
            }
            for snapshot in snapshots {
                all.append((timeline.volume, snapshot, shown.contains(snapshot.id)))
                maps.append(
                    try index.mapWhenCurrent(of: snapshot, in: timeline, with: repository))
            }
        }
        guard
            let costs = try index.costs(
                of: maps, isInterrupted: { Interruption.isRequested })
        else { throw Interrupted() }
        return zip(all, costs).filter { $0.0.isShown }.map { ($0.0.volume, $0.0.snapshot, $0.1) }
    }
}
