package import BlockModel
internal import LinuxIO
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
package import RepositoryModel
package import Serving

/// A snapshot that is read at random, for as long as this is kept.
///
/// Its hold keeps what it needs in the repository; ``renew()`` is to be called now and then.
package final class OpenSnapshot: Sendable {
    package let volume: VolumeName
    package let snapshot: Snapshot
    package let reader: SnapshotReader
    private let index: Index
    private let hold: Hold?

    fileprivate init(
        volume: VolumeName,
        snapshot: Snapshot,
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
    deinit { try? index.saveBadFrames() }

    /// Which snapshot it is, for people.
    package var title: String {
        "\(volume)@\(snapshot.generation) of \(snapshot.facts.time.rfc3339)"
    }

    /// Renews the hold when it is due.
    package func renew() {
        try? hold?.renew(now: Moment.steady())
    }
}

extension OpenRepository {
    /// Opens the snapshot that `selector` names for reading at random.
    package func open(
        _ selector: SnapshotSelector,
        purpose: String,
        options: SnapshotReader.Options
    ) throws -> OpenSnapshot {
        let hold = try holdForReading(purpose: purpose)
        let located = try locate(selector)
        return OpenSnapshot(
            volume: located.timeline.volume, snapshot: located.snapshot,
            reader: try SnapshotReader(
                located.snapshot, located.map, repository: repository, options: options),
            index: located.map.index, hold: hold)
    }
}
