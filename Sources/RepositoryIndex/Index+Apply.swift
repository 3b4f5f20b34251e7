package import BlockModel
internal import LMDB
package import Repository
internal import RepositoryFormat
package import RepositoryModel

/// Bringing a history forward, delta by delta.
extension Index {
    package enum ApplyOption: Hashable, Sendable {
        /// Recomputes the image digest of every snapshot on the way and compares it.
        case verifyingImageDigests
    }

    /// Dirty bytes of one transaction: LMDB keeps them on the heap.
    private static let dirtyByteLimit = 16 << 20

    /// Brings the volume's own history to the timeline's tip and gives it back; nil for a volume
    /// without a restorable snapshot.
    ///
    /// An index that is behind catches up; one that shows another history starts over.
    package func synchronize(
        _ timeline: Timeline,
        with repository: Repository,
        options: Set<ApplyOption> = []
    ) throws -> History? {
        guard let tip = timeline.tip else { return nil }
        let known = try environment.read { try findHistory(timeline.volume, .nothing, $0) }
        if let (number, state) = known, state.isAt(tip.id, tip.generation) {
            return Self.history(number, state)
        }
        return try provingPaths(of: timeline, to: nil) { timeline in
            // The newest may have been false.
            guard let tip = timeline.tip else { return nil }
            guard let path = timeline.finestPath(to: tip.id) else {
                throw Self.noPath(to: tip, of: timeline.volume)
            }
            return try follow(
                path, volume: timeline.volume, forkTarget: .nothing, repository, options)
        }
    }

    /// Proves that a delta gives the image digest of the snapshot that it leads to.
    ///
    /// - Throws: ``RepositoryError`` of kind `damaged` when it does not.
    package func prove(
        _ delta: KnownDelta,
        in timeline: Timeline,
        with repository: Repository
    ) throws {
        if timeline.tip?.id == delta.head.to {
            do {
                _ = try synchronize(
                    timeline, with: repository, options: [.verifyingImageDigests])
                return
            } catch let error as RepositoryError
                where error.kind == .damaged || error.kind == .index
            {
                // This index may be what is wrong: the objects tell.
                try proveAlone(delta, in: timeline, with: repository)
                throw wrong("a history does not match the image digest of its snapshot")
            }
        }
        try proveAlone(delta, in: timeline, with: repository)
    }

    /// The same, from the objects alone, by an index that is made for it: whatever this one has.
    package func proveAlone(
        _ delta: KnownDelta,
        in timeline: Timeline,
        with repository: Repository
    ) throws {
        let scratch = try Index(transientOf: repository)
        var applied: [KnownDelta] = []
        try scratch.provingPaths(of: timeline, to: delta.head.from) { timeline in
            guard let path = timeline.cheapestPath(to: delta.head.from) else {
                throw RepositoryError.damaged(delta.name.objectName, FormatError.badValue("path"))
            }
            do {
                applied = path + [delta]
                _ = try scratch.applyAlone(
                    applied, delta.name.volume, target: .nothing, repository)
            } catch let error as FalseDelta where error.delta.name == delta.name {
                try putVerdict(.isFalse, on: delta)
                throw RepositoryError.damaged(
                    delta.name.objectName, RepositoryError(.damaged, FalseDelta.cause(delta)))
            } catch let error as UnreadableDelta where error.delta.name == delta.name {
                throw error.error
            }
        }
        // All that leads there was proved on the way: of a branch none needs a proof of its own.
        let open = Set(try scratch.unjudged(applied).map(\.name))
        let proved = try unjudged(applied).filter { !open.contains($0.name) }
        try environment.write { transaction in
            for delta in proved + [delta] { try putVerdict(.proved, on: delta, transaction) }
        }
    }

    /// Applies a path to a new history, which is the caller's to drop; none is left where that fails.
    func applyAlone(
        _ path: [KnownDelta],
        _ volume: VolumeName,
        target: SnapshotID,
        _ repository: Repository
    ) throws -> HistoryNumber {
        try withUpdateLock {
            // What a command that was killed left of it.
            if let (old, _) = try environment.read({ try findHistory(volume, target, $0) }) {
                try dropHistory(old)
            }
            let (number, state) = try openHistory(volume, target)
            do {
                _ = try apply(path[...], to: number, state, repository, [])
            } catch {
                try? dropHistory(number)
                throw error
            }
            return number
        }
    }

    /// The map of a snapshot of `timeline`; one that is not in the volume's own history gets a history
    /// for itself.
    package func map(
        of snapshot: Snapshot,
        in timeline: Timeline,
        with repository: Repository
    ) throws -> SnapshotMap {
        if let own = try ownLine(with: snapshot, of: timeline.volume) {
            return SnapshotMap(self, own, byteCount: snapshot.facts.byteCount)
        }
        let short = try provingPaths(of: timeline, to: snapshot.id) { timeline in
            try shortWay(to: snapshot, in: timeline).flatMap { path in
                try follow(
                    path, volume: timeline.volume, forkTarget: snapshot.id, repository, [])
            }
        }
        if let short { return SnapshotMap(self, short, byteCount: snapshot.facts.byteCount) }
        try bringForward(timeline, with: repository)
        return try mapWhenCurrent(of: snapshot, in: timeline, with: repository)
    }

    /// Deltas that a history may lack of its volume before a way that passes them by is worth a history.
    private static let farDeltaCount = 128
    /// Lines beside a volume's own that such ways may have.
    private static let wayLimit = 2

    /// The path to one snapshot where the volume's own history is far behind; nil where that does not pay.
    ///
    /// An index that is new need not read all deltas of a long history to open one snapshot.
    private func shortWay(
        to snapshot: Snapshot,
        in timeline: Timeline
    ) throws -> [KnownDelta]? {
        guard timeline.deltas.count > Self.farDeltaCount, let tip = timeline.tip,
            let path = timeline.finestPath(to: tip.id),
            let short = timeline.cheapestPath(to: snapshot.id)
        else { return nil }
        let (own, sideCount) = try environment.read { transaction in
            (
                try findHistory(timeline.volume, .nothing, transaction)?.1,
                try histories(transaction).values.count {
                    $0.volume == timeline.volume && $0.forkTarget != .nothing
                }
            )
        }
        let done = own.flatMap { Self.start(of: $0, on: path) } ?? 0
        let missing = path.count - done
        guard missing > Self.farDeltaCount, short.count * 4 < missing, sideCount < Self.wayLimit
        else { return nil }
        return short
    }

    /// Makes what the index has of a volume as new as `timeline`, as far as that is not damaged.
    package func bringForward(_ timeline: Timeline, with repository: Repository) throws {
        // A delta further on may be damaged: what the history has up to there is as good as ever.
        // What is damaged below a snapshot shows when its own path is followed.
        do {
            _ = try synchronize(timeline, with: repository)
        } catch let error as RepositoryError where error.kind == .damaged {}
    }

    /// The same as ``map(of:in:with:)``, of a timeline that was brought forward.
    package func mapWhenCurrent(
        of snapshot: Snapshot,
        in timeline: Timeline,
        with repository: Repository
    ) throws -> SnapshotMap {
        let byteCount = snapshot.facts.byteCount
        if let own = try ownLine(with: snapshot, of: timeline.volume) {
            return SnapshotMap(self, own, byteCount: byteCount)
        }
        return try provingPaths(of: timeline, to: snapshot.id) { timeline in
            guard let path = timeline.cheapestPath(to: snapshot.id),
                let history = try follow(
                    path, volume: timeline.volume, forkTarget: snapshot.id, repository, [])
            else { throw Self.noPath(to: snapshot, of: timeline.volume) }
            return SnapshotMap(self, history, byteCount: byteCount)
        }
    }

    /// The volume's own history at a snapshot; nil where that is not on it.
    private func ownLine(
        with snapshot: Snapshot,
        of volume: VolumeName
    ) throws -> History? {
        try environment.read { transaction in
            guard let (number, state) = try findHistory(volume, .nothing, transaction),
                snapshot.generation <= state.tipGeneration,
                let row = try snapshotRow(number, snapshot.generation, transaction),
                row.id == snapshot.id
            else { return nil }
            return History(
                number: number, tip: snapshot.id, tipGeneration: snapshot.generation,
                tipByteCount: row.byteCount)
        }
    }

    private func follow(
        _ path: [KnownDelta],
        volume: VolumeName,
        forkTarget: SnapshotID,
        _ repository: Repository,
        _ options: Set<ApplyOption>
    ) throws -> History? {
        guard let last = path.last else { return nil }
        let known = try environment.read { try findHistory(volume, forkTarget, $0) }
        if let (number, state) = known, state.isAt(last.head.to, last.name.to) {
            return Self.history(number, state)
        }

        return try withUpdateLock {
            var (number, state) = try openHistory(volume, forkTarget)
            var start = Self.start(of: state, on: path)
            if start == nil {
                try putAside(number, state)
                (number, state) = try openHistory(volume, forkTarget)
                start = path.startIndex
            }
            do {
                return Self.history(
                    number,
                    try apply(
                        path[(start ?? path.endIndex)...], to: number, state, repository, options,
                        tipDigest: start.flatMap { $0 > 0 ? path[$0 - 1] : nil }?.head.facts
                            .imageDigest
                    ))
            } catch is HistoryMismatch {
                // The history is wrong, or may be: it is rebuilt from the objects.
                try putAside(number, state)
                (number, state) = try openHistory(volume, forkTarget)
                do {
                    return Self.history(
                        number, try apply(path[...], to: number, state, repository, options))
                } catch is HistoryMismatch {
                    throw wrong("its history of '\(volume)' differs from what was written")
                }
            } catch {
                guard error is FalseDelta || error is UnreadableDelta else { throw error }
                // Of what was written of it already nothing may stay.
                let left = try environment.read { try historyState(number, $0) }
                if let left, left.pending != nil { try putAside(number, left) }
                throw error
            }
        }
    }

    /// Where on `path` the history stands: the index of the next delta; nil when it is not on it.
    ///
    /// A delta that was half applied is the next one, and no other may take its place.
    private static func start(of state: HistoryState, on path: [KnownDelta]) -> Int? {
        let position: Int?
        if state.tip == .nothing {
            position = path.startIndex
        } else {
            position = path.firstIndex(where: {
                $0.head.to == state.tip && $0.name.to == state.tipGeneration
            }).map { $0 + 1 }
        }
        guard let position, let pending = state.pending else { return position }
        guard position < path.endIndex, HistoryState.Pending(of: path[position]) == pending else {
            return nil
        }
        return position
    }

    private static func history(_ number: HistoryNumber, _ state: HistoryState) -> History {
        History(
            number: number, tip: state.tip, tipGeneration: state.tipGeneration,
            tipByteCount: state.tipByteCount, memory: state.memory)
    }

    func findHistory(
        _ volume: VolumeName,
        _ forkTarget: SnapshotID,
        _ transaction: borrowing Transaction
    ) throws -> (HistoryNumber, HistoryState)? {
        for (number, state) in try histories(transaction)
        where state.volume == volume && state.forkTarget == forkTarget {
            return (number, state)
        }
        return nil
    }

    func openHistory(
        _ volume: VolumeName,
        _ forkTarget: SnapshotID
    ) throws -> (HistoryNumber, HistoryState) {
        try environment.write { transaction in
            if let known = try findHistory(volume, forkTarget, transaction) { return known }
            let state = HistoryState(volume: volume, forkTarget: forkTarget)
            return (try newLine(state, transaction), state)
        }
    }

    /// Keeps a volume's history that shows what the repository does not: should that have lost something, this
    /// may be what brings it back.
    private func putAside(_ number: HistoryNumber, _ state: HistoryState) throws {
        guard state.forkTarget == .nothing, state.tip != .nothing else {
            return try dropHistory(number)
        }
        try environment.write { transaction in
            if let (other, _) = try findHistory(state.volume, state.tip, transaction) {
                try transaction.remove(Key().appending(other), from: tables.histories)
            }
            var state = state
            state.forkTarget = state.tip
            try putHistory(number, state, transaction)
        }
    }

    /// Forgets a history with all its pages; its number is not used again.
    ///
    /// What its pages held is left to the next rebuild: their keys are of a number that no history has.
    func dropHistory(_ number: HistoryNumber) throws {
        try environment.write { transaction in
            try transaction.remove(Key().appending(number), from: tables.histories)
        }
    }

    // MARK: Deltas

    /// Applies deltas that are durable, the first one at the history's tip; doing it again changes
    /// nothing.
    private func apply(
        _ path: ArraySlice<KnownDelta>,
        to history: HistoryNumber,
        _ state: HistoryState,
        _ repository: Repository,
        _ options: Set<ApplyOption>,
        tipDigest: Digest? = nil
    ) throws -> HistoryState {
        let writer = try HistoryWriter(
            index: self, history: history, state: state, tipDigest: tipDigest)
        do {
            for delta in path {
                writer.begin(delta)
                try UnreadableDelta.telling(delta) {
                    try repository.forEachMap(of: delta.name) { map, _ in try writer.add(map) }
                }
                try writer.end()
                guard options.contains(.verifyingImageDigests) else { continue }
                try writer.flush()
                try verifyImageDigest(delta, history)
            }
        } catch {
            // What comes before the damage is as good as ever.
            try? writer.abandon()
            throw error
        }
        try writer.flush()
        return writer.state
    }

    private func verifyImageDigest(_ delta: KnownDelta, _ history: HistoryNumber) throws {
        guard hasLeaves(of: delta, on: history, ImageDigestTree(blockSize: blockSize)) else {
            throw RepositoryError(
                .damaged,
                "\(delta.name.objectName) is damaged: its map does not match the image digest of "
                    + "snapshot \(delta.head.to.short)")
        }
    }

    /// Leaves of the image digest at the history's tip, for an image of `byteCount` bytes.
    package func leaves(_ history: HistoryNumber, byteCount: UInt64) throws -> [Digest] {
        try pageLeaves(history, byteCount: byteCount).map(\.digest)
    }

    /// Applies the delta of a capture that has just committed, with what it found out.
    package func applyCommitted(
        _ delta: KnownDelta,
        history: HistoryNumber,
        findings: CaptureFindings,
        repository: Repository
    ) throws {
        try withUpdateLock {
            let known = try environment.read { try historyState(history, $0) }
            // Another process caught up already, or restarted the history: nothing is lost.
            guard let state = known, state.tip == delta.head.from, state.pending == nil else {
                return
            }
            let writer = try HistoryWriter(
                index: self, history: history, state: state, findings: findings)
            writer.begin(delta)
            try repository.forEachMap(of: delta.name) { map, _ in try writer.add(map) }
            if let attempt = findings.attempt {
                try writer.suspend()
                try applyStaged(history, attempt: attempt)
            }
            try writer.end()
            try writer.flush()
        }
    }

    /// The volume's own history as a capture needs it, made when there is none.
    ///
    /// Drops what dead attempts staged: the caller has the volume to itself.
    package func historyForCapture(
        of volume: VolumeName,
        history: History?
    ) throws -> History {
        try withUpdateLock {
            if let history {
                try dropStaged(history.number)
                return history
            }
            var (number, state) = try openHistory(volume, .nothing)
            if state.tip != .nothing || state.pending != nil {
                try putAside(number, state)
                (number, state) = try openHistory(volume, .nothing)
            }
            try dropStaged(number)
            return Self.history(number, state)
        }
    }

    static var transactionByteLimit: Int { dirtyByteLimit }
}
