internal import BlockModel
internal import LMDB
internal import RepositoryFormat
package import RepositoryModel
internal import Synchronization

/// What an open index has in memory of losses.
struct BadFrameState {
    var known: [ObjectID: Set<UInt32>] = [:]
    var unsaved: Set<BadFrame> = []
    /// Losses that were noted when the packs were loaded.
    var lossCount: UInt64 = 0
}

/// Frames that were found bad, so that backups store again what they held.
///
/// The table `rot` has a key of 20 bytes for each: the pack's id and the frame's offset. It is kept
/// when the index is rebuilt, because no structure of the repository tells of it. A mark is a doubt
/// and no verdict: a reader that needs the block tries its other places first, then this one.
extension Index {
    /// Keeps in memory that `place` failed; ``saveBadFrames()`` writes it down.
    package func noteBadFrame(at place: Place) {
        packsByNumber.withLock { packs in
            guard let id = packs[place.pack]?.id, packs[place.pack]?.isBad(place) == false
            else { return }
            // While it grows the set stands in one place: it would be copied for each frame else.
            packs[place.pack]?.badFrames = []
            packs[place.pack]?.badFrames = badFrameState.withLock { state in
                state.known[id, default: []].insert(place.byteOffset)
                state.unsaved.insert(BadFrame(pack: id, byteOffset: place.byteOffset))
                return state.known[id] ?? []
            }
        }
    }

    /// Writes down what was noted, for the captures to come.
    package func saveBadFrames() throws {
        let unsaved = badFrameState.withLock { $0.unsaved }
        guard !unsaved.isEmpty else { return }
        try environment.write { transaction in
            var isNew = false
            for frame in unsaved where try !isKnown(frame, transaction) {
                try put(frame, transaction)
                isNew = true
            }
            if isNew { try noteLoss(transaction) }
        }
        badFrameState.withLock { $0.unsaved.subtract(unsaved) }
    }

    /// Believes what a check found: nothing is expected any more of packs that cannot be read, and
    /// of those that were, the frames that it names are bad and no others.
    package func learn(from evidence: PackEvidence) throws {
        let hasNews = !evidence.unreadable.isEmpty || !evidence.badFrames.isEmpty
        guard try hasNews || !environment.read({ try loadRot($0) }).isEmpty else { return }
        try withUpdateLock {
            try loadPacks()
            let unreadable = Set(evidence.unreadable)
            for record in knownPacks where unreadable.contains(record.id) { try drop(record) }
            try replaceBadFrames(of: evidence.proved, by: evidence.badFrames)
        }
    }

    private func replaceBadFrames(of packs: [ObjectID], by frames: [BadFrame]) throws {
        let known = badFrameState.withLock { $0.known }
        guard !frames.isEmpty || packs.contains(where: { known[$0] != nil }) else { return }
        try environment.write { transaction in
            // What was known is no new loss: what it cost is stored again, or cannot be.
            let isNew = try frames.contains { try !isKnown($0, transaction) }
            for pack in packs {
                for byteOffset in known[pack] ?? [] {
                    let frame = BadFrame(pack: pack, byteOffset: byteOffset)
                    try transaction.remove(Self.key(of: frame), from: tables.rot)
                }
            }
            for frame in frames { try put(frame, transaction) }
            if isNew { try noteLoss(transaction) }
        }
        try loadPacks()
    }

    func loadRot(_ transaction: borrowing Transaction) throws -> [ObjectID: Set<UInt32>] {
        try transaction.withCursor(over: tables.rot) { cursor in
            var known: [ObjectID: Set<UInt32>] = [:]
            var more = try cursor.first { key, _ in try Self.badFrame(key) }
            while let frame = more {
                known[frame.pack, default: []].insert(frame.byteOffset)
                more = try cursor.next { key, _ in try Self.badFrame(key) }
            }
            return known
        }
    }

    private func isKnown(
        _ frame: BadFrame,
        _ transaction: borrowing Transaction
    ) throws -> Bool {
        try transaction.contains(Self.key(of: frame), in: tables.rot)
    }

    private func put(_ frame: BadFrame, _ transaction: borrowing Transaction) throws {
        try transaction.put([1].rawSpan, in: tables.rot, for: Self.key(of: frame))
    }

    private static func key(of frame: BadFrame) -> Key {
        Key().appending(frame.pack.high).appending(frame.pack.low).appending(frame.byteOffset)
    }

    private static func badFrame(_ key: RawSpan) throws -> BadFrame {
        try require(20, of: key)
        return BadFrame(
            pack: ObjectID(
                high: key.littleEndian(at: 0, as: UInt64.self).byteSwapped,
                low: key.littleEndian(at: 8, as: UInt64.self).byteSwapped),
            byteOffset: key.littleEndian(at: 16, as: UInt32.self).byteSwapped)
    }
}
