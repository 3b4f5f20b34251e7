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

    /// Finds a snapshot, and makes the index ready to read it.
    ///
    /// Whoever forgets snapshots meanwhile may merge deltas that were listed here, and delete them: then the
    /// volume is listed again.
    func locate(_ selector: SnapshotSelector) throws -> Located {
        var attempt = 0
        while true {
            let (timeline, snapshot) = try find(selector)
            let index = try currentIndex()
            do {
                let line = try index.locate(snapshot, in: timeline, with: repository)
                return Located(timeline: timeline, snapshot: snapshot, index: index, line: line)
            } catch let error as RepositoryError {
                attempt += 1
                guard error.kind == .damaged, attempt < 5 else { throw error }
                let now = try timelines(timeline.volume).first?.deltas.map(\.name) ?? []
                guard !Set(timeline.deltas.map(\.name)).isSubset(of: now) else { throw error }
            }
        }
    }

    /// A snapshot, and where the index has it.
    struct Located {
        let timeline: Timeline
        let snapshot: Timeline.Snapshot
        let index: Index
        let line: Line
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
        // Everything that can be refused is refused before the target is opened.
        let located = try locate(selector)
        let (timeline, snapshot) = (located.timeline, located.snapshot)
        let (index, line) = (located.index, located.line)
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
        let (locatedA, locatedB) = (try locate(older), try locate(newer))
        let (a, b) = (locatedA.snapshot, locatedB.snapshot)
        try locatedB.index.forEachDifference(
            locatedA.line, a.generation, a.facts.byteCount,
            locatedB.line, b.generation, b.facts.byteCount
        ) { try body(ChangedExtent(byteOffset: $0, byteCount: $1, isZero: $2)) }
        return (a, b)
    }
}
