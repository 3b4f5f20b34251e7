package import BlockModel
internal import Glibc
internal import LinuxIO
internal import Logging
internal import Maintenance
internal import ObjectStore
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
package import RepositoryModel
package import SnapshotService

extension OpenRepository {
    /// Proves the repository; the scratch index lies beside the real one and is removed.
    package func check(
        _ coverage: DataCoverage,
        workerCount: Int? = nil,
        progress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) throws -> CheckReport {
        try withReadingHold(purpose: "check") { hold in
            var report: CheckReport
            do {
                report = try check(coverage, workerCount, below: try indexDirectory, progress)
            } catch let error as RepositoryError where error.kind == .cache {
                if indexProblem == nil { try openTransientIndex(for: error) }
                let home = try TransientDirectory("varve-check")
                report = try check(coverage, workerCount, in: home.path, progress)
            }
            do {
                try index().learn(from: report.evidence)
                for volume in try vanishedVolumes() {
                    report.add(
                        Finding(
                            subject: "volume \(volume.name)", reason: volume.reason))
                }
            } catch {
                logger.warning("the findings could not be saved in the index: \(error)")
            }
            if coverage == .all, !report.lostBlocksAreTruncated, hold != nil {
                takeBackLacks(report)
            }
            return report
        }
    }

    /// Volumes of which this machine has seen snapshots, and the repository has nothing any more, not even
    /// a marker.
    package func vanishedVolumes() throws -> [(name: VolumeName, reason: String)] {
        let seen = try index().seenVolumes()
        guard !seen.isEmpty else { return [] }
        // Names are enough: what they name may be damaged, which is told elsewhere, as is a link in the
        // place of a volume's directory.
        let there = Set(
            try repository.store.list(ObjectNames.volumes).compactMap { entry in
                entry.isObject
                    ? ObjectNames.parse(volumeEntry: entry.name)?.0
                    : VolumeName(String(entry.name.dropFirst(ObjectNames.volumes.utf8.count)))
            })
        return seen.filter { !there.contains($0.key) }.sorted { $0.key < $1.key }.map {
            (
                $0.key,
                "all of it is gone, but this machine has seen \($0.key)@\($0.value); bring "
                    + "\(ObjectNames.volumes)\($0.key) back from a copy, or give the volume up with "
                    + "'varve index rebuild'"
            )
        }
    }

    /// Takes back what a repair said of snapshots whose blocks are there again, as all data was read.
    private func takeBackLacks(_ report: CheckReport) {
        do {
            for timeline in try timelines() {
                let lacks = repository.lacks(of: report.lostBlocks, in: timeline)
                let count = try repository.takeBackLacks(
                    besides: lacks, in: timeline, time: clock.now(), identifiers: identifiers)
                guard count > 0 else { continue }
                logger.info(
                    "\(Human.count(count, "snapshot")) of '\(timeline.volume)' are complete again")
            }
        } catch {
            logger.warning("notes on lost blocks could not be removed: \(error)")
        }
    }

    /// Checks with a scratch index in a directory beside the index, which is removed.
    private func check(
        _ coverage: DataCoverage,
        _ workerCount: Int?,
        below indexDirectory: String,
        _ progress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) throws -> CheckReport {
        let directory = indexDirectory + "/check." + String(getpid())
        do {
            try Directory.makeAll(indexDirectory)
            try Self.removeOldScratch(in: indexDirectory)
            try Directory.makeAll(directory)
        } catch let error as SystemError {
            throw RepositoryError(
                .cache, "the index in \(indexDirectory) cannot be used: \(error)")
        }
        defer { Self.remove(directory) }
        return try check(coverage, workerCount, in: directory, progress)
    }

    private static func removeOldScratch(in indexDirectory: String) throws {
        for name in try Directory.names(in: indexDirectory) ?? [] where name.hasPrefix("check.") {
            // The scratch index of a check that was killed.
            if let id = Int32(name.dropFirst(6)), kill(id, 0) != 0, errno == ESRCH {
                remove(indexDirectory + "/" + name)
            }
        }
    }

    private func check(
        _ coverage: DataCoverage,
        _ workerCount: Int?,
        in scratchDirectory: String,
        _ progress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) throws -> CheckReport {
        var check = try RepositoryCheck(repository, scratchDirectory: scratchDirectory)
        var generator = SystemRandomNumberGenerator()
        return try check.run(
            coverage, workerCount: workerCount ?? Workers.standardCount, generator: &generator,
            progress: progress)
    }

    private static func remove(_ directory: String) {
        // A link in its place is not followed.
        let root = try? RootDirectory(Directory.parent(of: directory))
        if let open = (try? root?.directory(Directory.baseName(of: directory))) ?? nil {
            for (name, _) in (try? open.entries(where: { _ in true })) ?? [] {
                _ = try? open.remove(name)
            }
        }
        _ = unsafe rmdir(directory.systemBytes)
    }
}
