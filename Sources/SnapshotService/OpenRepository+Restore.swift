package import BlockModel
internal import LinuxIO
internal import Logging
package import Repository
internal import RepositoryFormat
internal import RepositoryIndex
package import RepositoryModel
package import RestoreEngine
internal import VolumeAccess

/// How a restore is to be done.
package struct RestoreOptions: Sendable {
    package var isInPlace = false
    package var verification = RestoreVerification.blocks
    package var workerCount: Int?
    /// Files and directories that are never written, beside those of the repository and the index.
    package var ownPaths: [String] = []

    package init() {}
}

/// What a restore did.
package struct RestoreSummary: Sendable {
    package let volume: VolumeName
    package let snapshot: Snapshot
    package let result: RestoreResult
    package let durationNanoseconds: UInt64
}

extension OpenRepository {
    /// The snapshot that `selector` names.
    package func find(
        _ selector: SnapshotSelector
    ) throws -> (timeline: Timeline, snapshot: Snapshot) {
        let found = try selector.resolve(in: timelines(selector.volume))
        if let dispute = selector.dispute(in: found.timeline, found.snapshot) {
            logger.warning("\(dispute)")
        }
        return found
    }

    /// Finds a snapshot, and makes the index ready to read it.
    ///
    /// Whoever forgets snapshots meanwhile may merge deltas that were listed here, and delete them: then the
    /// volume is listed again.
    func locate(_ selector: SnapshotSelector) throws -> Located {
        try retryingWithFreshIndex { try locateOnce(selector) }
    }

    private func locateOnce(_ selector: SnapshotSelector) throws -> Located {
        var attempt = 0
        while true {
            let (timeline, snapshot) = try find(selector)
            let index = try currentIndex()
            do {
                let map = try index.map(of: snapshot, in: timeline, with: repository)
                return Located(timeline: timeline, snapshot: snapshot, map: map)
            } catch let error as RepositoryError {
                attempt += 1
                guard error.kind == .damaged, attempt < 5 else { throw error }
                let now = try timelines(timeline.volume).first?.deltas.map(\.name) ?? []
                guard !Set(timeline.deltas.map(\.name)).isSubset(of: now) else { throw error }
            }
        }
    }

    /// A snapshot, and its map.
    struct Located {
        let timeline: Timeline
        let snapshot: Snapshot
        let map: SnapshotMap
    }

    /// Restores a snapshot to `path`; `-` is standard output.
    package func restore(
        _ selector: SnapshotSelector,
        to path: String,
        options: RestoreOptions,
        progress: RestoreProgress,
        report: (Snapshot) -> Void
    ) throws -> RestoreSummary {
        let start = clock.monotonicNanoseconds()
        return try withReadingHold(purpose: "restore") { hold in
            // Everything that can be refused is refused before the target is opened.
            let located = try locate(selector)
            let (timeline, snapshot) = (located.timeline, located.snapshot)
            let target: RestoreTarget
            if path == "-" {
                target = .stream
            } else {
                let volume = try open(path, for: snapshot, options)
                target = options.isInPlace ? .inPlace(volume) : .fresh(volume)
            }
            let result: RestoreResult
            do {
                result = try restore(located, to: target, options, progress) {
                    report(snapshot)
                    try? hold?.renew(now: clock.steady())
                }
            } catch {
                if path != "-" {
                    logger.warning(
                        "\(path) is incomplete; fix the cause, then finish with --in-place")
                }
                throw error
            }
            return RestoreSummary(
                volume: timeline.volume, snapshot: snapshot, result: result,
                durationNanoseconds: clock.monotonicNanoseconds() - start)
        }
    }

    private func open(
        _ path: String,
        for snapshot: Snapshot,
        _ options: RestoreOptions
    ) throws -> TargetVolume {
        let own = OwnFiles(
            repository: RepositoryLocation.directory(of: repository.store),
            index: try? indexDirectory, others: options.ownPaths)
        if !options.isInPlace,
            let reason = try own.reason(againstFileIn: Directory.parent(of: path))
        {
            throw ServiceError(
                .failed, "\(path) \(reason); nothing was written: choose another place")
        }
        return try TargetVolume(
            path: path, neededByteCount: snapshot.facts.byteCount, inPlace: options.isInPlace,
            refusal: own.reason(against:))
    }

    /// Restores what was located, and once more by a new index where that turns out to be wrong.
    ///
    /// The second time only what differs is written. A stream is written once.
    private func restore(
        _ located: Located,
        to target: RestoreTarget,
        _ options: RestoreOptions,
        _ progress: RestoreProgress,
        report: () -> Void
    ) throws -> RestoreResult {
        func run(_ map: SnapshotMap, _ target: RestoreTarget) throws -> RestoreResult {
            // What could not be read is stored again by the next backup.
            defer { try? map.index.saveBadFrames() }
            let restore = Restore(
                located.snapshot, map, repository: repository,
                target: target, verification: options.verification,
                workerCount: options.workerCount ?? Workers.standardCount)
            return try restore.run(progress: progress, report: report)
        }
        let volume: TargetVolume
        switch target {
        case .stream: return try run(located.map, target)
        case .fresh(let target), .inPlace(let target): volume = target
        }
        var isAgain = false
        return try retryingWithFreshIndex {
            guard isAgain else {
                isAgain = true
                return try run(located.map, target)
            }
            progress.restart()
            let map = try currentIndex().map(
                of: located.snapshot, in: located.timeline, with: repository)
            return try run(map, .inPlace(volume))
        }
    }

    /// Calls `body` with every extent that differs between two snapshots, in order.
    package func difference(
        _ older: SnapshotSelector,
        _ newer: SnapshotSelector,
        _ body: (ChangedExtent) throws -> Void
    ) throws -> (older: Snapshot, newer: Snapshot) {
        try withReadingHold(purpose: "diff") { _ in
            let (locatedA, locatedB) = (try locate(older), try locate(newer))
            try locatedB.map.changes(since: locatedA.map, body)
            return (locatedA.snapshot, locatedB.snapshot)
        }
    }
}
