package import BlockModel
internal import Repository
package import RepositoryModel
package import SnapshotService

/// Copies snapshots from one repository to another.
///
/// Order, always: all snapshots are found → one volume after the other, its newest snapshot first.
package struct CopyWorkflow {
    /// What is copied.
    package enum Choice: Sendable {
        /// All snapshots of all volumes.
        case everything
        case snapshots([SnapshotSelector])
        /// All snapshots of these.
        case volumes([String])
    }

    /// Callbacks during the run.
    package struct Events {
        /// Bytes of blocks looked at of the snapshot at hand.
        package var progress: (UInt64) -> Void = { _ in }
        package var copied: (VolumeName, Snapshot) -> Void = { _, _ in }

        package init() {}
    }

    private let source: OpenRepository
    private let target: OpenRepository

    package init(from source: OpenRepository, to target: OpenRepository) {
        self.source = source
        self.target = target
    }

    /// Copies what the target lacks.
    ///
    /// - Parameters:
    ///   - choice: what is to be there.
    ///   - events: hears of each snapshot.
    /// - Returns: what was done.
    /// - Throws: ``ServiceError`` where there is no such snapshot; ``Interrupted``.
    package func run(_ choice: Choice, events: Events) throws -> CopySummary {
        var total = CopySummary()
        for (volume, chosen) in try chosen(choice) {
            let summary = try source.copy(
                volume, chosen, to: target, progress: events.progress,
                done: { events.copied(volume, $0) })
            total.copiedCount += summary.copiedCount
            total.knownCount += summary.knownCount
            total.blockCount += summary.blockCount
            total.storedByteCount += summary.storedByteCount
        }
        return total
    }

    /// The snapshots to copy of each volume; nil for all of them.
    private func chosen(_ choice: Choice) throws -> [(VolumeName, Set<SnapshotID>?)] {
        switch choice {
        case .everything: return try source.volumeNames().map { ($0, nil) }
        case .volumes(let names):
            let known = try source.volumeNames()
            return try names.map { text in
                guard let name = VolumeName(text), known.contains(name) else {
                    throw ServiceError(.failed, "\(source.location) has no volume '\(text)'")
                }
                return (name, nil)
            }
        case .snapshots(let selectors):
            var chosen: [VolumeName: Set<SnapshotID>] = [:]
            for selector in selectors {
                let (timeline, snapshot) = try source.find(selector)
                chosen[timeline.volume, default: []].insert(snapshot.id)
            }
            return chosen.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        }
    }
}
