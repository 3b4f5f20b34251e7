package import BlockModel
internal import LinuxIO
internal import Logging
package import Repository
internal import RepositoryFormat
package import RestoreEngine
internal import VolumeAccess

/// How a restore is to be done.
package struct RestoreOptions: Sendable {
    package var isInPlace = false
    package var verification = RestoreVerification.blocks
    package var workerCount: Int?

    package init() {}
}

/// What a restore did.
package struct RestoreSummary: Sendable {
    package let volume: VolumeName
    package let snapshot: Timeline.Snapshot
    package let result: RestoreResult
    package let durationNanoseconds: UInt64
}

/// Consecutive bytes that differ between two snapshots.
package struct ChangedExtent: Hashable, Sendable {
    package let byteOffset: UInt64
    package let byteCount: UInt64
    /// Whether the newer one reads as zeros here.
    package let isZero: Bool
}

extension SnapshotService {
    /// The snapshot that `selector` names.
    package func find(
        _ selector: SnapshotSelector
    ) throws -> (timeline: Timeline, snapshot: Timeline.Snapshot) {
        try selector.resolve(in: timelines(selector.volume))
    }

    /// Restores a snapshot to `path`; `-` is standard output.
    package func restore(
        _ selector: SnapshotSelector,
        to path: String,
        options: RestoreOptions,
        progress: RestoreProgress,
        report: (Timeline.Snapshot) -> Void
    ) throws -> RestoreSummary {
        let start = Moment.monotonicNanoseconds()
        let hold = try holdForReading(purpose: "restore")
        defer { withExtendedLifetime(hold) {} }
        let (timeline, snapshot) = try find(selector)
        // Everything that can be refused is refused before the target is opened.
        let index = try currentIndex()
        let line = try index.locate(snapshot, in: timeline, with: repository)
        let target: RestoreTarget
        if path == "-" {
            target = .stream
        } else {
            let volume = try TargetVolume(
                path: path, neededByteCount: snapshot.facts.byteCount, inPlace: options.isInPlace)
            target = options.isInPlace ? .inPlace(volume) : .fresh(volume)
        }
        let restore = Restore(
            repository: repository, index: index, line: line, snapshot: snapshot, target: target,
            verification: options.verification,
            workerCount: options.workerCount ?? Workers.standardCount)
        // What could not be read is stored again by the next backup.
        defer { try? index.saveRot() }
        let result: RestoreResult
        do {
            result = try restore.run(progress: progress) {
                report(snapshot)
                try? hold?.renew(now: Moment.now())
            }
        } catch {
            if path != "-" {
                logger.warning(
                    "\(path) is incomplete; --in-place finishes it, once the cause is mended")
            }
            throw error
        }
        return RestoreSummary(
            volume: timeline.volume, snapshot: snapshot, result: result,
            durationNanoseconds: Moment.monotonicNanoseconds() - start)
    }

    /// Calls `body` with every extent that differs between two snapshots, in order.
    package func difference(
        _ older: SnapshotSelector,
        _ newer: SnapshotSelector,
        _ body: (ChangedExtent) throws -> Void
    ) throws -> (older: Timeline.Snapshot, newer: Timeline.Snapshot) {
        let hold = try holdForReading(purpose: "diff")
        defer { withExtendedLifetime(hold) {} }
        let (timelineA, a) = try find(older)
        let (timelineB, b) = try find(newer)
        let index = try currentIndex()
        let lineA = try index.locate(a, in: timelineA, with: repository)
        let lineB = try index.locate(b, in: timelineB, with: repository)
        try index.forEachDifference(
            lineA, a.generation, a.facts.byteCount, lineB, b.generation, b.facts.byteCount
        ) { try body(ChangedExtent(byteOffset: $0, byteCount: $1, isZero: $2)) }
        return (a, b)
    }
}
