package import BlockModel
internal import LinuxIO
package import Repository
internal import RepositoryFormat
package import Serving

/// A snapshot that is read at random, for as long as this is kept.
///
/// Its hold keeps what it needs in the repository; ``renew()`` is to be called now and then.
package final class OpenSnapshot: Sendable {
    package let volume: VolumeName
    package let snapshot: Timeline.Snapshot
    package let reader: SnapshotReader
    private let index: Index
    private let hold: Hold?

    fileprivate init(
        volume: VolumeName,
        snapshot: Timeline.Snapshot,
        reader: SnapshotReader,
        index: Index,
        hold: Hold?
    ) {
        self.volume = volume
        self.snapshot = snapshot
        self.reader = reader
        self.index = index
        self.hold = hold
    }

    // What could not be read is stored again by the next backup.
    deinit { try? index.saveRot() }

    /// Which snapshot it is, for people.
    package var title: String {
        "\(volume)@\(snapshot.generation) of \(snapshot.facts.time.rfc3339)"
    }

    /// Renews the hold when it is due.
    package func renew() {
        try? hold?.renew(now: Moment.now())
    }
}

extension SnapshotService {
    /// Opens the snapshot that `selector` names for reading at random.
    package func open(
        _ selector: SnapshotSelector,
        purpose: String,
        options: SnapshotReader.Options
    ) throws -> OpenSnapshot {
        let hold = try holdForReading(purpose: purpose)
        let (timeline, snapshot) = try find(selector)
        return try open(snapshot, of: timeline, hold: hold, options: options)
    }

    /// Opens a snapshot of a timeline for reading at random, under a hold that was taken before the
    /// timeline was listed.
    func open(
        _ snapshot: Timeline.Snapshot,
        of timeline: Timeline,
        hold: Hold?,
        options: SnapshotReader.Options
    ) throws -> OpenSnapshot {
        let index = try currentIndex()
        let line = try index.locate(snapshot, in: timeline, with: repository)
        return OpenSnapshot(
            volume: timeline.volume, snapshot: snapshot,
            reader: try SnapshotReader(
                repository: repository, index: index, line: line, snapshot: snapshot,
                options: options),
            index: index, hold: hold)
    }
}
