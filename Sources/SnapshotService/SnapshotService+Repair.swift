internal import BlockModel
internal import LinuxIO
internal import Logging
package import Repository
internal import RepositoryFormat
internal import VolumeAccess

/// What a repair found, and what it mended.
package struct RepairSummary: Sendable {
    /// Blocks that snapshots needed and nothing gave.
    package let lostCount: Int
    package let mendedCount: Int
    /// What a check found before.
    package let report: CheckReport
}

extension SnapshotService {
    /// Looks for what is lost, and stores it again from wherever it is still found: packs that cannot be
    /// read in the ordinary way, other repositories, disks.
    ///
    /// - Parameters:
    ///   - others: other repositories.
    ///   - sources: disks, partitions or image files that may still have the blocks; in use or not.
    ///   - progress: gets bytes read and to read of the packs.
    /// - Returns: what was found and mended.
    /// - Throws: ``RepositoryError``, and what reading a source throws.
    package func repair(
        from others: [SnapshotService],
        sources: [String],
        progress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) throws -> RepairSummary {
        try repository.requireWritable()
        let hold = try hold(.repository, .shared, purpose: "repair")
        let opened = try sources.map { try VolumeSource(path: $0, allowsUse: true) }
        let report = try check(.all, progress: progress)
        let repair = try BlockRepair(
            report.lostBlocks, of: repository, try currentIndex(),
            identifiers: RandomIdentifiers())
        let damaged = Set(report.evidence.unreadable + report.evidence.rotten.map(\.pack))
        let count = try repair.salvage(damaged)
        logger.info("\(count) frames of \(damaged.count) damaged packs are whole")
        try? hold.renew(now: Moment.now())
        for other in others where !repair.lost.isEmpty {
            let reading = try other.holdForReading(purpose: "repair of another repository")
            try repair.take(from: other.repository, try other.currentIndex())
            withExtendedLifetime(reading) {}
            try? hold.renew(now: Moment.now())
        }
        for source in opened where !repair.lost.isEmpty {
            try read(source) { blocks in
                try repair.offer(blocks)
                try? hold.renew(now: Moment.now())
                return !repair.lost.isEmpty
            }
        }
        try repair.finish()
        withExtendedLifetime(hold) {}
        return RepairSummary(
            lostCount: report.lostBlocks.count, mendedCount: repair.mendedCount, report: report)
    }

    /// Lends the whole blocks of a source, some MiB at a time, for as long as they are wanted; the last one
    /// is filled with zeros.
    private func read(_ source: VolumeSource, _ body: (RawSpan) throws -> Bool) throws {
        let size = repository.blockSize.byteCount
        let chunk = max(size, 4 << 20)
        let buffer = try AlignedBuffer(byteCount: chunk)
        var position: UInt64 = 0
        while position < source.byteCount ?? 0 {
            if Interruption.isRequested { throw ServiceError(.interrupted, "interrupted") }
            let count = try buffer.withMutableBytes {
                try PositionedIO.read(
                    source.buffered, into: &$0, at: position, subject: source.path)
            }
            guard count > 0 else { return }
            let end = (count + size - 1) / size * size
            if end > count { buffer.zero(count..<end) }
            guard try body(buffer.bytes.extracting(0..<end)) else { return }
            position += UInt64(count)
        }
    }
}
