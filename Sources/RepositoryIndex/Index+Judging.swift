package import BlockModel
internal import LMDB
package import Repository
internal import RepositoryFormat
internal import RepositoryModel

/// Which deltas of a volume say what is so.
///
/// The id of a snapshot fixes its image digest, so that every delta that leads to it from a snapshot
/// whose blocks are known either gives it or is false. No block needs to be read for that, and each map
/// once.
extension Index {
    /// So many deltas are proved from the objects alone in one go, each with the path that leads to it;
    /// others count as not proved until the next time.
    private static let proofLimit = 32

    /// The timeline without the deltas that are known to be false.
    package func withoutFalse(_ timeline: Timeline) -> Timeline {
        let names = falseDeltas(among: timeline.deltas)
        return timeline.excluding(
            timeline.deltas.filter { names.contains($0.name) }.map {
                Timeline.Unproved(FalseDelta($0))
            })
    }

    /// Whether something is known of every delta, so that ``judged(_:with:)`` reads none.
    package func isJudged(_ timeline: Timeline) throws -> Bool {
        try unjudged(timeline.deltas).isEmpty
    }

    /// Volumes of which this index has seen snapshots, and the newest that it has of each.
    package func seenVolumes() throws -> [VolumeName: Generation] {
        try environment.read { transaction in
            var seen: [VolumeName: Generation] = [:]
            for state in try histories(transaction).values
            where state.forkTarget == .nothing && state.tip != .nothing {
                seen[state.volume] = max(seen[state.volume] ?? 0, state.tipGeneration)
            }
            return seen
        }
    }

    /// Whether the volume's history shows the newest snapshot of the timeline.
    package func isUpToDate(with timeline: Timeline) throws -> Bool {
        guard let tip = timeline.tip else { return true }
        return try environment.read { try findHistory(timeline.volume, .nothing, $0) }?.1
            .isAt(tip.id, tip.generation) == true
    }

    /// The timeline with nothing but deltas that were proved, now or earlier; the others are put aside.
    ///
    /// The index knows the packs of the repository.
    ///
    /// - Throws: ``RepositoryError`` of kind `index` where the index is wrong.
    package func judged(_ timeline: Timeline, with repository: Repository) throws -> Timeline {
        var timeline = withoutFalse(timeline)
        var bench = Bench()
        defer { try? clear(bench) }
        var isChanged = true
        // A false delta may have hidden others.
        while try isChanged && !unjudged(timeline.deltas).isEmpty {
            // All that the volume's history is made of is proved on the way.
            try bringForward(timeline, with: repository)
            timeline = withoutFalse(timeline)
            isChanged = try judge(&timeline, repository, &bench)
        }
        return withoutFalse(timeline)
    }

    /// Judges deltas that the volume's history is not made of; whether there was anything to judge.
    private func judge(
        _ timeline: inout Timeline,
        _ repository: Repository,
        _ bench: inout Bench
    ) throws -> Bool {
        var isChanged = false
        // The last first: the path that leads to it is proved with it.
        for delta in try unjudged(timeline.deltas).reversed() {
            guard timeline.isReached(delta.head.from),
                try !unjudged([delta]).isEmpty
            else { continue }
            isChanged = true
            do {
                guard try !proves(delta, in: timeline, repository, &bench) else { continue }
                timeline = timeline.excluding([Timeline.Unproved(FalseDelta(delta))])
            } catch let error as RepositoryError where error.kind == .damaged {
                timeline = timeline.excluding([
                    Timeline.Unproved(delta: delta, reason: error.cause, isFalse: false)
                ])
            }
        }
        return isChanged
    }

    /// Whether a delta that begins at a snapshot of the timeline is true; what is found is remembered.
    ///
    /// - Throws: ``RepositoryError``: `damaged` where it cannot be told, `index` where the index is wrong.
    package func proves(
        _ delta: KnownDelta,
        in timeline: Timeline,
        with repository: Repository
    ) throws -> Bool {
        var bench = Bench()
        defer { try? clear(bench) }
        try bringForward(timeline, with: repository)
        return try proves(delta, in: timeline, repository, &bench)
    }

    /// What one go of judging uses.
    private struct Bench {
        /// Deltas that were proved each with a path of its own.
        var proofCount = 0
        /// A history of the volume that was made from the objects just now.
        var history: HistoryNumber?
        let target = SnapshotID(Digest(words: .max, .max, .max, .max))
    }

    private func clear(_ bench: Bench) throws {
        guard let history = bench.history else { return }
        try withUpdateLock {
            try dropHistory(history)
        }
    }

    /// Makes the history of the bench, along the path that the volume's own follows.
    private func prepare(
        _ bench: inout Bench,
        _ timeline: Timeline,
        _ repository: Repository
    ) throws {
        guard bench.history == nil, let tip = timeline.tip else { return }
        bench.history = try provingPaths(of: timeline, to: tip.id) { timeline in
            guard let path = timeline.finestPath(to: tip.id) else {
                throw Self.noPath(to: tip, of: timeline.volume)
            }
            return try applyAlone(path, timeline.volume, target: bench.target, repository)
        }
    }

    private func proves(
        _ delta: KnownDelta,
        in timeline: Timeline,
        _ repository: Repository,
        _ bench: inout Bench
    ) throws -> Bool {
        let isConfirmed = try confirms(delta, of: repository)
        if isConfirmed == true {
            try putVerdict(.proved, on: delta)
            return true
        }
        if isConfirmed == false {
            // It may be the index that is wrong.
            try prepare(&bench, timeline, repository)
            let again = try confirms(delta, of: repository, forkTarget: bench.target)
            if again == false {
                try putVerdict(.isFalse, on: delta)
                return false
            }
            if again == true {
                throw wrong("its history of '\(delta.name.volume)' differs from what was written")
            }
        }
        bench.proofCount += 1
        guard bench.proofCount <= Self.proofLimit else {
            throw RepositoryError(
                .damaged, "\(delta.name.objectName) is not verified yet; run the command again")
        }
        do {
            try proveAlone(delta, in: timeline, with: repository)
        } catch let error as RepositoryError where error.kind == .damaged {
            guard falseDeltas(among: [delta]).isEmpty else { return false }
            throw error
        }
        return true
    }

    /// Runs `body`, which follows a path of the timeline, again without each delta that proves false on
    /// the way, or whose map cannot be read.
    ///
    /// - Parameters:
    ///   - timeline: the volume.
    ///   - target: where the path leads; nil for the newest snapshot, whichever that is then.
    ///   - body: gets the timeline without those.
    /// - Returns: what `body` gives.
    /// - Throws: what `body` does; what could not be read where no other path leads there.
    func provingPaths<Result>(
        of timeline: Timeline,
        to target: SnapshotID?,
        _ body: (Timeline) throws -> Result
    ) throws -> Result {
        var timeline = withoutFalse(timeline)
        var unreadable: [UnreadableDelta] = []
        while true {
            let goal = target ?? timeline.tip?.id ?? .nothing
            do {
                return try body(timeline)
            } catch let error as FalseDelta {
                try putVerdict(.isFalse, on: error.delta)
                timeline = timeline.excluding([Timeline.Unproved(error)])
            } catch let error as UnreadableDelta {
                unreadable.append(error)
                timeline = timeline.excluding([Timeline.Unproved(error)])
            }
            guard !timeline.isReached(goal) else { continue }
            if let lost = unreadable.first(where: { !timeline.isReached($0.delta.head.to) }) {
                throw lost.error
            }
        }
    }

    static func noPath(
        to snapshot: Snapshot,
        of volume: VolumeName
    ) -> RepositoryError {
        RepositoryError(
            .damaged, "no path of deltas leads to snapshot \(snapshot.id.short) of '\(volume)'")
    }
}
