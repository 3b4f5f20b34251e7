package import BlockModel
internal import LMDB
internal import RepositoryFormat

/// Bringing a line forward, delta by delta.
extension Index {
    package enum ApplyOption: Hashable, Sendable {
        /// Recomputes the image digest of every snapshot on the way and compares it.
        case verifyingImageDigests
    }

    /// Dirty bytes of one transaction: LMDB keeps them on the heap.
    private static let dirtyByteLimit = 16 << 20

    /// Brings the volume's own line to the timeline's tip and gives it back; nil for a volume
    /// without a restorable snapshot.
    ///
    /// An index that is behind catches up; one that shows another history begins anew.
    package func synchronize(
        _ timeline: Timeline,
        with repository: Repository,
        options: Set<ApplyOption> = []
    ) throws -> Line? {
        guard let tip = timeline.tip, let path = timeline.finestPath(to: tip.id) else {
            return nil
        }
        return try follow(
            path, volume: timeline.volume, sideTarget: .nothing, repository, options)
    }

    /// The line and generation at which `snapshot` can be read; one that is not on the volume's own
    /// line gets a line for itself.
    package func locate(
        _ snapshot: Timeline.Snapshot,
        in timeline: Timeline,
        with repository: Repository
    ) throws -> Line {
        // A delta further on may be damaged: what the line has up to there is as good as ever.
        // What is damaged below this snapshot shows when its own path is followed.
        do {
            _ = try synchronize(timeline, with: repository)
        } catch let error as RepositoryError where error.kind == .damaged {}
        let own = try environment.read { transaction -> Line? in
            guard let (number, _) = try findLine(timeline.volume, .nothing, transaction),
                let row = try snapshotRow(number, snapshot.generation, transaction),
                row.id == snapshot.id
            else { return nil }
            return Line(
                number: number, tip: snapshot.id, tipGeneration: snapshot.generation,
                tipByteCount: row.byteCount)
        }
        if let own { return own }
        guard let path = timeline.cheapestPath(to: snapshot.id),
            let line = try follow(
                path, volume: timeline.volume, sideTarget: snapshot.id, repository, [])
        else {
            throw RepositoryError(
                .damaged,
                "no path of deltas leads to snapshot \(snapshot.id.short) of '\(timeline.volume)'")
        }
        return line
    }

    private func follow(
        _ path: [KnownDelta],
        volume: VolumeName,
        sideTarget: SnapshotID,
        _ repository: Repository,
        _ options: Set<ApplyOption>
    ) throws -> Line? {
        guard let last = path.last else { return nil }
        let known = try environment.read { try findLine(volume, sideTarget, $0) }
        if let (number, state) = known, state.tip == last.head.to, state.pending == nil,
            state.tipGeneration == last.name.to
        {
            return Self.line(number, state)
        }

        let lock = try UpdateLock(directory: directory)
        defer { withExtendedLifetime(lock) {} }
        var (number, state) = try openLine(volume, sideTarget)
        if let pending = state.pending,
            let delta = path.first(where: { $0.head.to == pending.snapshot }),
            delta.head.from == state.tip, delta.name.to == pending.generation
        {
            state = try apply(
                delta, to: number, state, attempt: pending.attempt, repository, options)
        }
        guard let start = Self.start(of: state, on: path) else {
            try dropLine(number)
            (number, state) = try openLine(volume, sideTarget)
            for delta in path {
                state = try apply(delta, to: number, state, attempt: 0, repository, options)
            }
            return Self.line(number, state)
        }
        for delta in path[start...] {
            state = try apply(delta, to: number, state, attempt: 0, repository, options)
        }
        return Self.line(number, state)
    }

    /// Where on `path` the line stands: the index of the next delta; nil when it is not on it.
    private static func start(of state: LineState, on path: [KnownDelta]) -> Int? {
        guard state.pending == nil else { return nil }
        if state.tip == .nothing { return 0 }
        guard
            let position = path.firstIndex(where: {
                $0.head.to == state.tip && $0.name.to == state.tipGeneration
            })
        else { return nil }
        return position + 1
    }

    private static func line(_ number: LineNumber, _ state: LineState) -> Line {
        Line(
            number: number, tip: state.tip, tipGeneration: state.tipGeneration,
            tipByteCount: state.tipByteCount)
    }

    private func findLine(
        _ volume: VolumeName,
        _ sideTarget: SnapshotID,
        _ transaction: borrowing Transaction
    ) throws -> (LineNumber, LineState)? {
        for (number, state) in try lines(transaction)
        where state.volume == volume && state.sideTarget == sideTarget {
            return (number, state)
        }
        return nil
    }

    func openLine(
        _ volume: VolumeName,
        _ sideTarget: SnapshotID
    ) throws -> (LineNumber, LineState) {
        try environment.write { transaction in
            if let known = try findLine(volume, sideTarget, transaction) { return known }
            let state = LineState(volume: volume, sideTarget: sideTarget)
            return (try newLine(state, transaction), state)
        }
    }

    /// Forgets a line with all its pages; its number is not used again.
    ///
    /// What its pages held is left to the next rebuild: their keys are of a number that no line has.
    private func dropLine(_ number: LineNumber) throws {
        try environment.write { transaction in
            try transaction.remove(Key().appending(number), from: tables.lines)
        }
    }

    // MARK: One delta

    /// Applies a delta that is durable; doing it again changes nothing.
    ///
    /// First the line says so, then page by page, last that it is done.
    private func apply(
        _ delta: KnownDelta,
        to line: LineNumber,
        _ old: LineState,
        attempt: UInt64,
        _ repository: Repository,
        _ options: Set<ApplyOption>
    ) throws -> LineState {
        var state = old
        state.pending = LineState.Pending(
            snapshot: delta.head.to, generation: delta.name.to, attempt: attempt)
        try environment.write { try putLine(line, state, $0) }

        let job = DeltaApplication(
            index: self, line: line, delta: delta, oldByteCount: old.tipByteCount,
            keepsTips: attempt != 0)
        try repository.forEachMap(of: delta.name) { map, _ in try job.add(map) }
        try job.finish()
        if attempt != 0 { try applyStaged(line, attempt: attempt) }
        if options.contains(.verifyingImageDigests) {
            try verifyImageDigest(delta, line)
        }

        state.tip = delta.head.to
        state.tipGeneration = delta.name.to
        state.tipByteCount = delta.head.toByteCount
        state.pending = nil
        try environment.write { transaction in
            try putSnapshot(
                line, delta.name.to, delta.head.to, byteCount: delta.head.toByteCount, transaction)
            try putLine(line, state, transaction)
        }
        return state
    }

    private func verifyImageDigest(_ delta: KnownDelta, _ line: LineNumber) throws {
        let tree = ImageDigestTree(blockSize: blockSize)
        let leaves = try leaves(line, byteCount: delta.head.toByteCount)
        let root = tree.root(
            leaves: leaves, byteCount: delta.head.toByteCount, blockSize: blockSize)
        guard root == delta.head.facts.imageDigest else {
            throw RepositoryError(
                .damaged,
                "\(delta.name.objectName) is damaged: its map does not give the image digest of "
                    + "snapshot \(delta.head.to.short)")
        }
    }

    /// Leaves of the image digest at the line's tip, for an image of `byteCount` bytes.
    package func leaves(_ line: LineNumber, byteCount: UInt64) throws -> [Digest] {
        let blocks = blockSize.blockCount(coveringByteCount: byteCount)
        return try environment.read { transaction in
            try (0..<Page.count(forBlockCount: blocks)).map { page in
                guard let leaf = try leaf(line, page: page, transaction) else {
                    throw Self.broken("a leaf of the image digest is missing")
                }
                return leaf
            }
        }
    }

    /// Applies the delta of a capture that has just committed, with what it staged.
    package func applyCommitted(
        _ delta: KnownDelta,
        line: LineNumber,
        attempt: UInt64,
        repository: Repository
    ) throws {
        let lock = try UpdateLock(directory: directory)
        defer { withExtendedLifetime(lock) {} }
        let known = try environment.read { try lineState(line, $0) }
        // Another process caught up already, or began the line anew: nothing is lost.
        guard let state = known, state.tip == delta.head.from else { return }
        _ = try apply(delta, to: line, state, attempt: attempt, repository, [])
    }

    /// The volume's own line as a capture needs it, made when there is none.
    ///
    /// Drops what dead attempts staged: the caller has the volume to itself.
    package func lineForCapture(
        of volume: VolumeName,
        line: Line?
    ) throws -> Line {
        let lock = try UpdateLock(directory: directory)
        defer { withExtendedLifetime(lock) {} }
        if let line {
            try dropStaged(line.number)
            return line
        }
        var (number, state) = try openLine(volume, .nothing)
        if state.tip != .nothing || state.pending != nil {
            try dropLine(number)
            (number, state) = try openLine(volume, .nothing)
        }
        try dropStaged(number)
        return Self.line(number, state)
    }

    static var transactionByteLimit: Int { dirtyByteLimit }
}
