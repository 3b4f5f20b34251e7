package import BlockModel
internal import LinuxIO
internal import Logging
internal import Maintenance
internal import ObjectStore
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
package import RepositoryModel
package import SnapshotService
internal import VolumeAccess

/// What a repair found, and what it mended.
package struct RepairSummary: Sendable {
    /// Snapshots that can be restored again, with their volumes.
    package var mended: [(volume: VolumeName, snapshot: MendedSnapshot)] = []
    /// Snapshots that still cannot.
    package var lost: [(volume: VolumeName, snapshot: DamagedSnapshot)] = []
    /// Snapshots that lack blocks.
    package var lacking: [(volume: VolumeName, snapshot: Snapshot, blockCount: UInt64)] =
        []
    /// Objects that could not be read, and were deleted.
    package var deleted: [String] = []
    /// Blocks that snapshots needed and nothing gave.
    package var lostBlockCount = 0
    package var mendedBlockCount = 0
    /// Whether there are more lost blocks than are looked for at once.
    package var hasMoreLostBlocks = false
    package var indexWasRebuilt = false
    /// Packs that are damaged, and that no snapshot needs any more: a prune deletes them.
    package var uselessPackCount = 0
    /// What a check finds that a repair does not mend.
    package var findings: [Finding] = []

    /// Whether everything can be restored.
    package var isWhole: Bool { lost.isEmpty && lacking.isEmpty && !hasMoreLostBlocks }
}

/// Where a repair looks for what is lost, and what it may give up.
package struct RepairOptions: Sendable {
    /// Disks, partitions or image files that may still have blocks; in use or not.
    package var sources: [String] = []
    /// Whether snapshots are given up that cannot be brought back.
    package var givesUp = false

    package init() {}
}

extension OpenRepository {
    /// Brings back what is lost from wherever it is still known: the index, packs that cannot be read in the
    /// ordinary way, other repositories, disks.
    ///
    /// - Parameters:
    ///   - others: other repositories.
    ///   - options: where else to look, and what may be given up.
    ///   - progress: gets bytes read and to read of the packs.
    /// - Returns: what was found and mended.
    /// - Throws: ``RepositoryError``, and what reading a source throws.
    package func repair(
        from others: [OpenRepository],
        _ options: RepairOptions,
        progress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) throws -> RepairSummary {
        try repository.requireWritable()
        for other in others where other.repository.blockSize != repository.blockSize {
            throw ServiceError(
                .failed,
                "\(other.repository.store.location) has blocks of another size, so none of them "
                    + "fits this repository; name a repository with blocks of "
                    + "\(repository.blockSize.byteCount) bytes")
        }
        let sources = try options.sources.map { try VolumeSource(path: $0, allowsUse: true) }
        return try withHold(.repository, .shared, purpose: "repair") { hold in
            try Self.withReadingHolds(others, purpose: "repair of another") {
                var summary = RepairSummary()
                // What an index that is damaged still has of one volume may be all that knows of it: it is built
                // anew when all volumes were looked at.
                let isBroken = try mendPaths(others, hold, options, &summary)
                try mendIndex(isBroken: isBroken, &summary)
                if isBroken {
                    summary.lost = []
                    _ = try mendPaths(others, hold, options, &summary)
                }
                var report = try check(.all, progress: progress)
                let found = try repository.secondLook(at: report.lostBlocks, report.evidence)
                if !found.isEmpty {
                    let blocks = Human.count(found.count, "block")
                    logger.warning(
                        "\(blocks) needed a second read; test the memory of this machine"
                    )
                    report.lostBlocks.subtract(found)
                }
                let stillLost = try mendBlocks(report, others, sources, hold, &summary)
                summary.hasMoreLostBlocks = report.lostBlocksAreTruncated
                try noteLacks(of: stillLost, &summary)
                summary.findings = report.findings.filter { finding in
                    !finding.isHarmless && finding.lack == nil
                        && ObjectNames.packID(of: finding.subject) == nil
                        && !summary.lost.contains {
                            finding.subject == "\($0.volume)@\($0.snapshot.generation)"
                        }
                }
                if summary.isWhole {
                    let damaged = report.evidence.unreadable + report.evidence.badFrames.map(\.pack)
                    summary.uselessPackCount = Set(damaged).count
                }
                return summary
            }
        }
    }

    // MARK: Paths

    /// Mends the deltas of all volumes; gives whether the index did not fit together for some.
    private func mendPaths(
        _ others: [OpenRepository],
        _ hold: Hold,
        _ options: RepairOptions,
        _ summary: inout RepairSummary
    ) throws -> Bool {
        var isBroken = false
        for timeline in try timelines() {
            try hold.renew(now: clock.steady())
            do {
                try mendPaths(of: timeline, others, hold, options, &summary)
            } catch let error as RepositoryError where error.kind == .index {
                logger.warning("\(error)")
                isBroken = true
            }
        }
        return isBroken
    }

    private func mendPaths(
        of timeline: Timeline,
        _ others: [OpenRepository],
        _ hold: Hold,
        _ options: RepairOptions,
        _ summary: inout RepairSummary
    ) throws {
        let volume = timeline.volume
        // What is false is found out first: an index that is new knows nothing of it.
        let timeline = try currentIndex().judged(timeline, with: repository)
        let isWhole =
            try timeline.isSound && timeline.unproved.isEmpty && timeline.possibleLosses.isEmpty
            && repository.brokenDeltas(of: timeline).isEmpty
        let hasNotes =
            try options.givesUp
            && (!repository.damagedNotes(of: volume).isEmpty || !timeline.possibleLosses.isEmpty)
        if isWhole && !hasNotes { return }
        try withHold(.volume(volume), .exclusive, purpose: "repair \(volume)") { own in
            let index = try currentIndex()
            let copies = try others.compactMap { other -> (SnapshotCopy, Timeline)? in
                guard other.repository.identity.id != repository.identity.id,
                    let there = try other.timelines(volume).first
                else { return nil }
                return (try other.copier(to: self, [hold, own]), there)
            }
            let repair = PathRepair(
                repository, index, holds: [hold, own], identifiers: identifiers,
                now: clock.steady)
            repair.partByteLimit = sizes.partByteLimit
            let left = try repair.run(volume, others: copies)
            summary.mended += repair.mended.map { (volume, $0) }
            summary.deleted += repair.deleted
            summary.lost += left.damaged.map { (volume, $0) }
            if options.givesUp {
                summary.deleted += try repository.giveUpLost(
                    of: left, holds: [hold, own], now: clock.steady)
                summary.lost.removeAll { $0.volume == volume }
            }
        }
    }

    /// Rebuilds the index if it differs from the repository.
    private func mendIndex(isBroken: Bool, _ summary: inout RepairSummary) throws {
        var isSound = !isBroken
        do {
            let index = try currentIndex()
            isSound = try isSound && timelines().allSatisfy { try index.isSound($0) }
        } catch let error as RepositoryError where error.kind == .damaged || error.kind == .index {
            isSound = false
        }
        guard !isSound else { return }
        _ = try rebuildIndex(isLenient: true)
        summary.indexWasRebuilt = true
    }

    // MARK: Blocks

    /// Looks for the blocks that are lost; gives those that were not found.
    private func mendBlocks(
        _ report: CheckReport,
        _ others: [OpenRepository],
        _ sources: [VolumeSource],
        _ hold: Hold,
        _ summary: inout RepairSummary
    ) throws -> Set<Digest> {
        summary.lostBlockCount = report.lostBlocks.count
        guard !report.lostBlocks.isEmpty || !report.evidence.badFrames.isEmpty else { return [] }
        let repair = try BlockRepair(
            report.lostBlocks, of: repository, try currentIndex(),
            identifiers: identifiers)
        let damaged = Set(report.evidence.unreadable + report.evidence.badFrames.map(\.pack))
        let count = try repair.salvage(damaged)
        let frames = Human.count(count, "whole frame")
        logger.info("\(frames) in \(Human.count(damaged.count, "damaged pack"))")
        let rescued = try repair.rescue(report.evidence.badFrames)
        logger.info("\(Human.count(rescued, "block")) still readable in damaged frames")
        try? hold.renew(now: clock.steady())
        for other in others where !repair.lost.isEmpty {
            try repair.take(from: other.repository, try other.currentIndex())
            try? hold.renew(now: clock.steady())
        }
        for source in sources where !repair.lost.isEmpty {
            try read(source) { blocks in
                try repair.offer(blocks)
                try? hold.renew(now: clock.steady())
                return !repair.lost.isEmpty
            }
        }
        try repair.finish()
        summary.mendedBlockCount = repair.mendedCount
        return repair.lost
    }

    private func noteLacks(of lost: Set<Digest>, _ summary: inout RepairSummary) throws {
        for timeline in try timelines() {
            let lacks = repository.lacks(of: lost, in: timeline)
            try repository.noteLacks(
                lacks, in: timeline, isAll: !summary.hasMoreLostBlocks, time: clock.now(),
                identifiers: identifiers)
            for snapshot in timeline.snapshots {
                guard let count = lacks[snapshot.id] else { continue }
                summary.lacking.append((timeline.volume, snapshot, count))
            }
        }
    }

    /// Lends the whole blocks of a source, some MiB at a time, for as long as they are wanted; the last one
    /// is filled with zeros.
    private func read(_ source: VolumeSource, _ body: (RawSpan) throws -> Bool) throws {
        let size = repository.blockSize.byteCount
        let chunk = max(size, 4 << 20)
        let buffer = try AlignedBuffer(byteCount: chunk)
        var position: UInt64 = 0
        while position < source.byteCount ?? 0 {
            if Interruption.isRequested { throw Interrupted() }
            let count = try source.read(into: buffer, range: 0..<buffer.byteCount, at: position)
            guard count > 0 else { return }
            let end = (count + size - 1) / size * size
            if end > count { buffer.zero(count..<end) }
            guard try body(buffer.bytes.extracting(0..<end)) else { return }
            position += UInt64(count)
        }
    }
}
