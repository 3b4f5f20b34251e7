package import BlockModel
internal import LMDB
package import Repository
internal import RepositoryFormat
package import RepositoryModel

/// What the index still knows of snapshots whose deltas are lost.
extension Index {
    /// The facts of snapshots of a volume whose heads were read at some time.
    package func rememberedFacts(of volume: VolumeName) throws -> [SnapshotID: SnapshotFacts] {
        try environment.read { transaction in
            try transaction.withCursor(over: tables.heads) { cursor in
                var facts: [SnapshotID: SnapshotFacts] = [:]
                var more = try cursor.first { _, row in self.head(row, of: volume) }
                while let found = more {
                    if let head = found { facts[head.to] = head.facts }
                    more = try cursor.next { _, row in self.head(row, of: volume) }
                }
                return facts
            }
        }
    }

    /// The histories of a volume, its own and those that were put aside, on which that snapshot is.
    package func histories(
        of volume: VolumeName,
        with snapshot: HistoryPoint
    ) throws -> [HistoryNumber] {
        try environment.read { transaction in
            try histories(transaction).filter { number, state in
                guard state.volume == volume, snapshot.generation <= state.tipGeneration else {
                    return false
                }
                return try snapshotRow(number, snapshot.generation, transaction)?.id == snapshot.id
            }.map(\.key).sorted()
        }
    }

    /// Whether the snapshot is on the history.
    package func has(_ snapshot: HistoryPoint, on history: HistoryNumber) throws -> Bool {
        if snapshot.generation == 0 { return true }
        return try environment.read { try snapshotRow(history, snapshot.generation, $0) }?.id
            == snapshot.id
    }

    /// A snapshot of a history, or what was before the first one.
    package struct HistoryPoint: Hashable {
        package var id = SnapshotID.nothing
        package var generation: Generation = 0
        package var byteCount: UInt64 = 0

        package init(
            id: SnapshotID = .nothing,
            generation: Generation = 0,
            byteCount: UInt64 = 0
        ) {
            self.id = id
            self.generation = generation
            self.byteCount = byteCount
        }
    }

    /// Calls `body` with the runs of blocks that are not at `end` what they were at `start`, in order, as
    /// the map of a delta between the two names them; digests are those of a run of data.
    package func forEachChange(
        on history: HistoryNumber,
        from start: HistoryPoint,
        to end: HistoryPoint,
        _ body: (RunKind, Range<UInt64>, ArraySlice<Digest>) throws -> Void
    ) throws {
        let blockCount = blockSize.blockCount(coveringByteCount: end.byteCount)
        // What a volume grew by is new, whatever it was before it shrank.
        let commonCount = min(
            blockCount, blockSize.blockCount(coveringByteCount: start.byteCount))
        for page in 0..<Page.count(forBlockCount: blockCount) {
            let first = page * UInt64(Page.blockCount)
            let count = Page.blockCount(ofPage: page, volumeBlockCount: blockCount)
            let span = start.generation + 1...end.generation
            if first + UInt64(count) <= commonCount, try !hasHistory(history, page: page, in: span)
            {
                continue
            }
            let new = try blocks(
                of: history, page: page, generation: end.generation, blockCount: count,
                zeroDigest: .zero)
            let commonSlots = Int(clamping: commonCount - min(commonCount, first))
            let old = try blocks(
                of: history, page: page, generation: start.generation,
                blockCount: min(count, commonSlots), zeroDigest: .zero)
            var slot = 0
            while slot < count {
                let begin = slot
                let kind = RunKind(new.numbers[slot])
                while slot < count, RunKind(new.numbers[slot]) == kind,
                    slot >= old.blockCount || old.numbers[slot] != new.numbers[slot]
                {
                    slot += 1
                }
                guard slot > begin else {
                    slot += 1
                    continue
                }
                try body(
                    kind, first + UInt64(begin)..<first + UInt64(slot),
                    kind == .data ? new.digests[begin..<slot] : [])
            }
        }
    }
}

extension RunKind {
    fileprivate init(_ number: BlockNumber) {
        self =
            number >= SpecialBlock.firstDigest
            ? .data : number == SpecialBlock.free ? .free : .zero
    }
}

extension Index {
    /// Whether the volume's own history, where it shows a snapshot of the timeline, gives its image digest.
    package func isSound(_ timeline: Timeline) throws -> Bool {
        do {
            return try givesImageDigest(timeline)
        } catch is LMDBError {
            return false
        }
    }

    private func givesImageDigest(_ timeline: Timeline) throws -> Bool {
        guard
            let (number, state) = try environment.read({
                try findHistory(timeline.volume, .nothing, $0)
            }), let snapshot = timeline.snapshot(state.tip),
            snapshot.generation == state.tipGeneration
        else { return true }
        let byteCount = snapshot.facts.byteCount
        let blockCount = blockSize.blockCount(coveringByteCount: byteCount)
        let tree = ImageDigestTree(blockSize: blockSize)
        let leaves = try (0..<Page.count(forBlockCount: blockCount)).map { page in
            let blocks = try blocks(
                of: number, page: page, generation: state.tipGeneration,
                blockCount: Page.blockCount(ofPage: page, volumeBlockCount: blockCount),
                zeroDigest: tree.zeroBlock)
            return tree.leaf(page: page, digests: blocks.digests.span)
        }
        return tree.root(leaves: leaves, byteCount: byteCount, blockSize: blockSize)
            == snapshot.facts.imageDigest
    }
}
