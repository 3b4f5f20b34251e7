package import BlockModel
internal import LinuxIO
package import Repository
internal import RepositoryFormat

extension SnapshotService {
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
        to other: SnapshotService,
        progress: (UInt64) -> Void,
        done: (Timeline.Snapshot) -> Void
    ) throws -> CopySummary {
        let reading = try holdForReading(purpose: "copy")
        defer { withExtendedLifetime(reading) {} }
        let holds = [
            try other.hold(.repository, .shared, purpose: "copy"),
            try other.hold(.volume(volume), .exclusive, purpose: "copy \(volume)"),
        ]
        let copy = try SnapshotCopy(
            from: repository, try currentIndex(), to: other.repository, try other.currentIndex(),
            holds: holds, identifiers: RandomIdentifiers(), now: Moment.now)
        let snapshots = try whileListed {
            guard let timeline = try timelines(volume).first else { return [Timeline.Snapshot]() }
            let snapshots = timeline.snapshots.filter { chosen?.contains($0.id) ?? true }
            try copy.run(
                snapshots, of: timeline,
                progress: {
                    progress($0)
                    try? reading?.renew(now: Moment.now())
                }, done: done)
            return snapshots
        }
        try copyWords(on: snapshots, of: volume, to: other)
        return copy.summary
    }

    /// Tags that were given later, and protection, go with their snapshots.
    private func copyWords(
        on snapshots: [Timeline.Snapshot],
        of volume: VolumeName,
        to other: SnapshotService
    ) throws {
        let here = try repository.standings(of: volume)
        let there = try other.repository.standings(of: volume)
        for snapshot in snapshots {
            let old = there[snapshot.id] ?? Repository.Standing()
            guard let new = here[snapshot.id], !old.isForgotten else { continue }
            if let tags = new.tags, old.tags != tags {
                try other.repository.setTags(
                    tags, on: snapshot.id, of: volume, time: clock(),
                    identifiers: RandomIdentifiers())
            }
            if new.isProtected, !old.isProtected {
                try other.repository.setProtected(
                    true, on: snapshot.id, of: volume, time: clock(),
                    identifiers: RandomIdentifiers())
            }
        }
    }
}
