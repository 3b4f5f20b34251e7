package import BlockModel
internal import LinuxIO
internal import Maintenance
internal import Repository
internal import RepositoryFormat
package import RepositoryModel
package import SnapshotService

extension OpenRepository {
    /// Copies snapshots of a volume to another repository.
    ///
    /// - Parameters:
    ///   - volume: the volume.
    ///   - chosen: ids of snapshots; nil for all.
    ///   - other: where they go.
    ///   - progress: gets bytes of blocks looked at of the snapshot at hand.
    ///   - done: gets each snapshot that was copied.
    /// - Returns: what was done.
    /// - Throws: ``RepositoryError``, of kind `locked` where others work on the volume.
    package func copy(
        _ volume: VolumeName,
        _ chosen: Set<SnapshotID>?,
        to other: OpenRepository,
        progress: (UInt64) -> Void,
        done: (Snapshot) -> Void
    ) throws -> CopySummary {
        try withReadingHold(purpose: "copy") { reading in
            try other.withVolumeHolds(volume, purpose: "copy") { holds in
                var earlier = CopySummary()
                let (snapshots, summary) = try retryingWithFreshIndex(and: other) {
                    let copy = try copier(to: other, holds)
                    // What was copied before an index had to be rebuilt counts as well.
                    defer { earlier = copy.summary }
                    let snapshots = try run(
                        copy, volume, chosen,
                        progress: {
                            progress($0)
                            try? reading?.renew(now: clock.steady())
                        }, done: done)
                    return (snapshots, copy.summary.adding(earlier))
                }
                try copyWords(on: snapshots, of: volume, to: other)
                return summary
            }
        }
    }

    /// Copies, and gives which snapshots were to be there.
    private func run(
        _ copy: SnapshotCopy,
        _ volume: VolumeName,
        _ chosen: Set<SnapshotID>?,
        progress: (UInt64) -> Void,
        done: (Snapshot) -> Void
    ) throws -> [Snapshot] {
        try whileListed {
            guard let timeline = try timelines(volume).first else { return [] }
            let snapshots = timeline.snapshots.filter { chosen?.contains($0.id) ?? true }
            try copy.run(snapshots, of: timeline, progress: progress, done: done)
            return snapshots
        }
    }

    /// What copies from here to `other`, whose holds are given.
    func copier(to other: OpenRepository, _ holds: [Hold]) throws -> SnapshotCopy {
        let copy = try SnapshotCopy(
            from: repository, try currentIndex(), to: other.repository, try other.currentIndex(),
            holds: holds, identifiers: other.identifiers, now: other.clock.steady)
        copy.packByteTarget = other.sizes.packByteTarget
        copy.partByteLimit = other.sizes.partByteLimit
        return copy
    }

    /// Tags that were given later, and protection, go with their snapshots.
    private func copyWords(
        on snapshots: [Snapshot],
        of volume: VolumeName,
        to other: OpenRepository
    ) throws {
        let here = try repository.standings(of: volume)
        let there = try other.repository.standings(of: volume)
        for snapshot in snapshots {
            let old = there[snapshot.id] ?? Standing()
            guard let new = here[snapshot.id], !old.isForgotten else { continue }
            if let tags = new.tags, old.tags != tags {
                try other.repository.setTags(
                    tags, on: snapshot.id, of: volume, time: clock.now(),
                    identifiers: identifiers)
            }
            if new.isProtected, !old.isProtected {
                try other.repository.setProtected(
                    true, on: snapshot.id, of: volume, time: clock.now(),
                    identifiers: identifiers)
            }
        }
    }
}
