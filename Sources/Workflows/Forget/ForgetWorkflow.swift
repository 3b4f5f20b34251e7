package import BlockModel
internal import LinuxIO
internal import Maintenance
internal import Repository
package import RepositoryModel
package import Retention
package import SnapshotService

/// Forgets snapshots by name or by a policy.
///
/// Order, always: holds → read the volume under them → verdicts → forget → merge the rest if it pays off.
package struct ForgetWorkflow {
    package struct Options: Sendable {
        /// Whether to report only, without any change.
        package var isDryRun = false
        /// Whether to merge deltas even if that costs more than it frees.
        package var isThorough = false

        package init() {}
    }

    /// The result for one volume.
    package struct Summary: Sendable {
        package let volume: VolumeName
        package let keptCount: Int
        package let forgottenCount: Int
        /// The result for deltas; nil in a dry run.
        package let removal: RemovalSummary
    }

    private let repository: OpenRepository
    private let options: Options

    package init(_ repository: OpenRepository, _ options: Options = Options()) {
        self.repository = repository
        self.options = options
    }

    /// Forgets the snapshots of a volume that a policy does not keep.
    ///
    /// - Parameters:
    ///   - volume: the volume.
    ///   - policy: the rules; nil to remove only the deltas of snapshots forgotten earlier.
    ///   - show: called with the verdict on each snapshot, oldest first, before any change.
    /// - Returns: the summary; nil if the volume no longer exists.
    /// - Throws: ``RepositoryError``, of kind `damaged` if the volume is damaged.
    package func run(
        _ volume: VolumeName,
        policy: RetentionPolicy?,
        show: (RetentionVerdict) -> Void = { _ in }
    ) throws -> Summary? {
        try withHolds(volume) { () throws -> Summary? in
            guard let timeline = try repository.timelines(volume).first else { return nil }
            let verdicts = try policy.map { try repository.retention($0, of: timeline) } ?? []
            verdicts.forEach(show)
            return try finish(
                verdicts.filter { !$0.isKept }.map(\.snapshot.id), of: timeline, isByName: false)
        }
    }

    /// Forgets what a policy does not keep of several volumes; damage of one stops no other.
    ///
    /// - Parameters:
    ///   - volumes: names of volumes; all of them if there is none.
    ///   - policy: what is kept; nil to do away only with what was forgotten before.
    ///   - show: gets the verdict on each snapshot, oldest first, before anything is done with its volume.
    ///   - done: gets what was done of each volume.
    /// - Returns: why nothing was done of some.
    /// - Throws: ``ServiceError`` where there is no such volume; ``Interrupted``.
    package func run(
        volumes: [String],
        policy: RetentionPolicy?,
        show: (VolumeName, RetentionVerdict) -> Void,
        done: (Summary) -> Void
    ) throws -> [String] {
        var problems: [String] = []
        for volume in try chosen(volumes) {
            if Interruption.isRequested { throw Interrupted() }
            do {
                if let summary = try run(volume, policy: policy, show: { show(volume, $0) }) {
                    done(summary)
                }
            } catch let error as RepositoryError where error.kind == .damaged {
                problems.append("\(error)")
            }
        }
        return problems
    }

    private func chosen(_ names: [String]) throws -> [VolumeName] {
        let known = try repository.volumeNames()
        guard !names.isEmpty else { return known }
        return try names.map { text in
            guard let name = VolumeName(text), known.contains(name) else {
                throw ServiceError(.failed, "the repository has no volume '\(text)'")
            }
            return name
        }
    }

    /// Forgets the named snapshots; none if one of them cannot be forgotten.
    ///
    /// - Parameters:
    ///   - selectors: the snapshots.
    ///   - show: called for each before any change.
    ///   - done: called with the summary of each volume.
    /// - Throws: ``RepositoryError``, of kind `notFound` if a snapshot does not exist.
    package func run(
        _ selectors: [SnapshotSelector],
        show: (VolumeName, Snapshot) -> Void,
        done: (Summary) -> Void
    ) throws {
        var chosen: [VolumeName: [SnapshotID]] = [:]
        for selector in selectors {
            let (timeline, snapshot) = try repository.find(selector)
            // Refused before anything is said, and once more under the hold.
            try repository.repository.requireForgettable([snapshot.id], of: timeline)
            guard !chosen[timeline.volume, default: []].contains(snapshot.id) else { continue }
            chosen[timeline.volume, default: []].append(snapshot.id)
            show(timeline.volume, snapshot)
        }
        for (volume, victims) in chosen.sorted(by: { $0.key < $1.key }) {
            if let summary = try run(victims, of: volume) { done(summary) }
        }
    }

    /// Forgets those of the requested snapshots that still exist.
    ///
    /// - Parameters:
    ///   - snapshots: ids of snapshots of `volume`.
    ///   - volume: the volume.
    /// - Returns: the summary; nil if the volume no longer exists.
    /// - Throws: ``RepositoryError``, of kind `damaged` if the volume is damaged.
    package func run(_ snapshots: [SnapshotID], of volume: VolumeName) throws -> Summary? {
        try withHolds(volume) {
            guard let timeline = try repository.timelines(volume).first else { return nil }
            return try finish(
                snapshots.filter { timeline.snapshot($0) != nil }, of: timeline, isByName: true)
        }
    }

    /// Runs `body` under the holds that forgetting needs; a dry run needs none.
    private func withHolds<Result>(
        _ volume: VolumeName,
        _ body: () throws -> Result
    ) throws -> Result {
        try options.isDryRun ? body() : repository.withForgettingHolds(volume, body)
    }

    private func finish(
        _ victims: [SnapshotID],
        of timeline: Timeline,
        isByName: Bool
    ) throws -> Summary {
        let removal =
            options.isDryRun
            ? RemovalSummary()
            : try repository.forget(
                victims, of: timeline, isThorough: options.isThorough, isByName: isByName)
        return Summary(
            volume: timeline.volume, keptCount: timeline.snapshots.count - victims.count,
            forgottenCount: victims.count, removal: removal)
    }
}
