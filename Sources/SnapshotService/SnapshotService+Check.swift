package import BlockModel
internal import Glibc
internal import LinuxIO
internal import Logging
package import Repository
internal import RepositoryFormat

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

    package var storedByteCount: UInt64 { storedByteCounts.values.reduce(0, +) }
}

extension SnapshotService {
    /// Proves the repository; the scratch index lies beside the real one and is removed.
    package func check(
        _ coverage: DataCoverage,
        workerCount: Int? = nil,
        progress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) throws -> CheckReport {
        let hold = try holdForReading(purpose: "check")
        defer { withExtendedLifetime(hold) {} }
        try Directory.makeAll(indexDirectory)
        for name in try Directory.names(in: indexDirectory) ?? [] where name.hasPrefix("check.") {
            // The scratch index of a check that was killed.
            if let id = Int32(name.dropFirst(6)), kill(id, 0) != 0, errno == ESRCH {
                Self.remove(indexDirectory + "/" + name)
            }
        }
        let directory = indexDirectory + "/check." + String(getpid())
        try Directory.makeAll(directory)
        defer { Self.remove(directory) }
        var check = try RepositoryCheck(repository, scratchDirectory: directory)
        var generator = SystemRandomNumberGenerator()
        let report = try check.run(
            coverage, workerCount: workerCount ?? Workers.standardCount, generator: &generator,
            progress: progress)
        do {
            try index().learn(from: report.evidence)
        } catch {
            logger.warning("the index could not be told what was found: \(error)")
        }
        return report
    }

    private static func remove(_ directory: String) {
        for name in ((try? Directory.names(in: directory)) ?? nil) ?? [] {
            _ = unsafe unlink(directory + "/" + name)
        }
        _ = unsafe rmdir(directory)
    }

    package func statistics() throws -> RepositoryStatistics {
        let index = try currentIndex()
        let timelines = try timelines()
        let snapshots = timelines.flatMap(\.snapshots)
        return RepositoryStatistics(
            volumeCount: timelines.count, snapshotCount: snapshots.count,
            damagedSnapshotCount: timelines.reduce(0) { $0 + $1.damaged.count },
            restorableByteCount: snapshots.reduce(0) { $0 + $1.facts.byteCount },
            storedByteCounts: try repository.storedByteCounts(), packCount: index.packCount,
            blockCount: index.blockCount, indexByteCount: index.usedByteCount)
    }
    /// What each snapshot costs, of all volumes.
    ///
    /// - Returns: snapshots by volume, oldest first, with their costs.
    /// - Throws: ``RepositoryError`` of kind `damaged` where anything is.
    package func costs() throws -> [(
        volume: VolumeName, snapshot: Timeline.Snapshot, cost: SnapshotCost
    )] {
        let hold = try holdForReading(purpose: "stats")
        defer { withExtendedLifetime(hold) {} }
        return try whileListed { try costsAsListed() }
    }

    private func costsAsListed() throws -> [(
        volume: VolumeName, snapshot: Timeline.Snapshot, cost: SnapshotCost
    )] {
        let index = try currentIndex()
        let timelines = try timelines()
        _ = try index.bringAccountForward(
            timelines.flatMap(\.deltas), of: repository, now: Moment.now(), isRecount: false)
        var all: [(volume: VolumeName, snapshot: Timeline.Snapshot, isShown: Bool)] = []
        var places: [(line: Line, generation: Generation, byteCount: UInt64)] = []
        for timeline in timelines {
            try index.bringForward(timeline, with: repository)
            let shown = Set(timeline.snapshots.map(\.id))
            let snapshots = (timeline.snapshots + timeline.forgotten).sorted {
                ($0.generation, $0.id) < ($1.generation, $1.id)
            }
            for snapshot in snapshots {
                let line = try index.locateThere(snapshot, in: timeline, with: repository)
                all.append((timeline.volume, snapshot, shown.contains(snapshot.id)))
                places.append((line, snapshot.generation, snapshot.facts.byteCount))
            }
        }
        guard
            let costs = try index.costs(
                of: places, isInterrupted: { Interruption.isRequested })
        else { throw ServiceError(.interrupted, "interrupted") }
        return zip(all, costs).filter { $0.0.isShown }.map { ($0.0.volume, $0.0.snapshot, $0.1) }
    }
}
