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
            coverage, workerCount: Workers.standardCount, generator: &generator,
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
}
