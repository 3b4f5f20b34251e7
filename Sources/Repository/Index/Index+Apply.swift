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
        guard let tip = timeline.tip else { return nil }
        let known = try environment.read { try findLine(timeline.volume, .nothing, $0) }
        if let (number, state) = known, state.isAt(tip.id, tip.generation) {
            return Self.line(number, state)
        }
        guard let path = timeline.finestPath(to: tip.id) else { return nil }
        return try follow(
            path, volume: timeline.volume, sideTarget: .nothing, repository, options)
    }

    /// Proves that a delta gives the image digest of the snapshot that it leads to.
    ///
    /// - Throws: ``RepositoryError`` of kind `damaged` when it does not.
    func prove(_ delta: KnownDelta, in timeline: Timeline, with repository: Repository) throws {
        if timeline.tip?.id == delta.head.to {
            _ = try synchronize(timeline, with: repository, options: [.verifyingImageDigests])
            return
        }
        try proveAlone(delta, in: timeline, with: repository)
    }

    /// The same, from the objects alone, whatever the index has of the volume.
    func proveAlone(
        _ delta: KnownDelta,
        in timeline: Timeline,
        with repository: Repository
    ) throws {
        guard let path = timeline.cheapestPath(to: delta.head.to) else {
            throw RepositoryError.damaged(delta.name.objectName, FormatError.badValue("path"))
        }
        // The path gets a line for itself, for as long as this takes; nothing else is called like that.
        let target = SnapshotID(Digest(words: delta.name.id.high, delta.name.id.low, 0, 0))
        let lock = try UpdateLock(directory: directory)
        defer { withExtendedLifetime(lock) {} }
        let (number, state) = try openLine(delta.name.volume, target)
        defer { try? dropLine(number) }
        _ = try apply(path[...], to: number, state, repository, [])
        try verifyImageDigest(delta, number)
    }

    /// The line and generation at which `snapshot` can be read; one that is not on the volume's own
    /// line gets a line for itself.
    package func locate(
        _ snapshot: Timeline.Snapshot,
        in timeline: Timeline,
        with repository: Repository
    ) throws -> Line {
        if let own = try ownLine(with: snapshot, of: timeline.volume) { return own }
        if let path = try shortWay(to: snapshot, in: timeline),
            let line = try follow(
                path, volume: timeline.volume, sideTarget: snapshot.id, repository, [])
        {
            return line
        }
        try bringForward(timeline, with: repository)
        return try locateThere(snapshot, in: timeline, with: repository)
    }

    /// Deltas that a line may lack of its volume before a way that passes them by is worth a line.
    private static let farDeltaCount = 128
    /// Lines beside a volume's own that such ways may have.
    private static let wayLimit = 2

    /// The path to one snapshot where the volume's own line is far behind; nil where that does not pay.
    ///
    /// An index that is new need not read all deltas of a long history to open one snapshot.
    private func shortWay(
        to snapshot: Timeline.Snapshot,
        in timeline: Timeline
    ) throws -> [KnownDelta]? {
        guard timeline.deltas.count > Self.farDeltaCount, let tip = timeline.tip,
            let path = timeline.finestPath(to: tip.id),
            let short = timeline.cheapestPath(to: snapshot.id)
        else { return nil }
        let (own, sideCount) = try environment.read { transaction in
            (
                try findLine(timeline.volume, .nothing, transaction)?.1,
                try lines(transaction).values.count {
                    $0.volume == timeline.volume && $0.sideTarget != .nothing
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
        // A delta further on may be damaged: what the line has up to there is as good as ever.
        // What is damaged below a snapshot shows when its own path is followed.
        do {
            _ = try synchronize(timeline, with: repository)
        } catch let error as RepositoryError where error.kind == .damaged {}
    }

    /// The same as ``locate(_:in:with:)``, of a timeline that was brought forward.
    package func locateThere(
        _ snapshot: Timeline.Snapshot,
        in timeline: Timeline,
        with repository: Repository
    ) throws -> Line {
        if let own = try ownLine(with: snapshot, of: timeline.volume) { return own }
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

    /// The volume's own line at a snapshot; nil where that is not on it.
    private func ownLine(
        with snapshot: Timeline.Snapshot,
        of volume: VolumeName
    ) throws -> Line? {
        try environment.read { transaction in
            guard let (number, state) = try findLine(volume, .nothing, transaction),
                snapshot.generation <= state.tipGeneration,
                let row = try snapshotRow(number, snapshot.generation, transaction),
                row.id == snapshot.id
            else { return nil }
            return Line(
                number: number, tip: snapshot.id, tipGeneration: snapshot.generation,
                tipByteCount: row.byteCount)
        }
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
        if let (number, state) = known, state.isAt(last.head.to, last.name.to) {
            return Self.line(number, state)
        }

        let lock = try UpdateLock(directory: directory)
        defer { withExtendedLifetime(lock) {} }
        var (number, state) = try openLine(volume, sideTarget)
        var start = Self.start(of: state, on: path)
        if start == nil {
            try putAside(number, state)
            (number, state) = try openLine(volume, sideTarget)
            start = path.startIndex
        }
        let rest = path[(start ?? path.endIndex)...]
        return Self.line(number, try apply(rest, to: number, state, repository, options))
    }

    /// Where on `path` the line stands: the index of the next delta; nil when it is not on it.
    ///
    /// A delta that was half applied is the next one, and no other may take its place.
    private static func start(of state: LineState, on path: [KnownDelta]) -> Int? {
        let position: Int?
        if state.tip == .nothing {
            position = path.startIndex
        } else {
            position = path.firstIndex(where: {
                $0.head.to == state.tip && $0.name.to == state.tipGeneration
            }).map { $0 + 1 }
        }
        guard let position, let pending = state.pending else { return position }
        guard position < path.endIndex, LineState.Pending(of: path[position]) == pending else {
            return nil
        }
        return position
    }

    private static func line(_ number: LineNumber, _ state: LineState) -> Line {
        Line(
            number: number, tip: state.tip, tipGeneration: state.tipGeneration,
            tipByteCount: state.tipByteCount, memory: state.memory)
    }

    func findLine(
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

    /// Keeps a volume's line that shows what the repository does not: should that have lost something, this
    /// may be what brings it back.
    private func putAside(_ number: LineNumber, _ state: LineState) throws {
        guard state.sideTarget == .nothing, state.tip != .nothing else {
            return try dropLine(number)
        }
        try environment.write { transaction in
            if let (other, _) = try findLine(state.volume, state.tip, transaction) {
                try transaction.remove(Key().appending(other), from: tables.lines)
            }
            var state = state
            state.sideTarget = state.tip
            try putLine(number, state, transaction)
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

    // MARK: Deltas

    /// Applies deltas that are durable, the first one at the line's tip; doing it again changes
    /// nothing.
    private func apply(
        _ path: ArraySlice<KnownDelta>,
        to line: LineNumber,
        _ state: LineState,
        _ repository: Repository,
        _ options: Set<ApplyOption>
    ) throws -> LineState {
        let writer = LineWriter(index: self, line: line, state: state)
        do {
            for delta in path {
                writer.begin(delta)
                try repository.forEachMap(of: delta.name) { map, _ in try writer.add(map) }
                try writer.end()
                guard options.contains(.verifyingImageDigests) else { continue }
                try writer.flush()
                try verifyImageDigest(delta, line)
            }
        } catch {
            // What comes before the damage is as good as ever.
            try? writer.abandon()
            throw error
        }
        try writer.flush()
        return writer.state
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

    /// Applies the delta of a capture that has just committed, with what it found out.
    package func applyCommitted(
        _ delta: KnownDelta,
        line: LineNumber,
        findings: CaptureFindings,
        repository: Repository
    ) throws {
        let lock = try UpdateLock(directory: directory)
        defer { withExtendedLifetime(lock) {} }
        let known = try environment.read { try lineState(line, $0) }
        // Another process caught up already, or began the line anew: nothing is lost.
        guard let state = known, state.tip == delta.head.from, state.pending == nil else { return }
        let writer = LineWriter(index: self, line: line, state: state, findings: findings)
        writer.begin(delta)
        try repository.forEachMap(of: delta.name) { map, _ in try writer.add(map) }
        if let attempt = findings.attempt {
            try writer.suspend()
            try applyStaged(line, attempt: attempt)
        }
        try writer.end()
        try writer.flush()
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
            try putAside(number, state)
            (number, state) = try openLine(volume, .nothing)
        }
        try dropStaged(number)
        return Self.line(number, state)
    }

    static var transactionByteLimit: Int { dirtyByteLimit }
}
