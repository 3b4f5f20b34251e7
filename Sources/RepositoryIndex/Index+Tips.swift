package import BlockModel
internal import LMDB
internal import RepositoryFormat

/// Fingerprints of one page of a history's newest snapshot, each valid or not.
package struct TipPage: Sendable {
    package private(set) var fingerprints: [Fingerprint]
    package private(set) var isValid: [Bool]
    /// The leaf of the image digest of the page that these are the fingerprints of; nil when unknown.
    ///
    /// They count only while the page has that leaf: a row of another state, which a lost write brings
    /// back, would call blocks unchanged that are not.
    package var leaf: Digest?

    /// A page of which nothing is known.
    package init(blockCount: Int) {
        fingerprints = Array(repeating: .zero, count: blockCount)
        isValid = Array(repeating: false, count: blockCount)
    }

    package var blockCount: Int { fingerprints.count }

    package subscript(slot: Int) -> Fingerprint? {
        get { isValid[slot] ? fingerprints[slot] : nil }
        set {
            fingerprints[slot] = newValue ?? .zero
            isValid[slot] = newValue != nil
        }
    }

    /// Forgets or makes room for blocks at the end.
    package mutating func resize(to blockCount: Int) {
        while fingerprints.count > blockCount {
            fingerprints.removeLast()
            isValid.removeLast()
        }
        while fingerprints.count < blockCount {
            fingerprints.append(.zero)
            isValid.append(false)
        }
    }

    /// What is said of the blocks of a run; each run begins with a word of 32 bits, its kind in the
    /// upper two and its block count in the others.
    private enum FingerprintRun: UInt32 {
        /// Nothing is known; nothing follows.
        case unknown = 0
        /// All have the one fingerprint that follows, such as that of zeros.
        case repeated = 1
        /// As many fingerprints follow as there are blocks.
        case distinct = 2
        /// Stands for no blocks, and comes first: the leaf of their page follows.
        case leaf = 3
    }
    private static let kindShift: UInt32 = 30

    func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: 64 + blockCount * Fingerprint.byteCount)
        if let leaf {
            writer.append(FingerprintRun.leaf.rawValue << Self.kindShift)
            writer.append(leaf)
        }
        func append(_ kind: FingerprintRun, _ run: Range<Int>) {
            guard !run.isEmpty else { return }
            writer.append(kind.rawValue << Self.kindShift | UInt32(run.count))
            let values = kind == .distinct ? run : kind == .repeated ? run.prefix(1) : 0..<0
            for slot in values {
                writer.append(fingerprints[slot].low)
                writer.append(fingerprints[slot].high)
            }
        }
        // Where the run of distinct fingerprints began that is not written yet.
        var distinctStart = 0
        var slot = 0
        while slot < blockCount {
            let end = endOfEqual(from: slot)
            if isValid[slot], end - slot < 3 {
                slot = end
                continue
            }
            append(.distinct, distinctStart..<slot)
            append(isValid[slot] ? .repeated : .unknown, slot..<end)
            slot = end
            distinctStart = end
        }
        append(.distinct, distinctStart..<blockCount)
        return writer.bytes
    }

    /// Where the blocks end of which the same is said as of that at `start`.
    private func endOfEqual(from start: Int) -> Int {
        var end = start + 1
        while end < blockCount, isValid[end] == isValid[start],
            !isValid[start] || fingerprints[end] == fingerprints[start]
        {
            end += 1
        }
        return end
    }

    init?(decoding bytes: RawSpan) {
        fingerprints = []
        isValid = []
        fingerprints.reserveCapacity(Page.blockCount)
        isValid.reserveCapacity(Page.blockCount)
        var offset = 0
        while offset < bytes.byteCount {
            guard bytes.byteCount - offset >= 4 else { return nil }
            let word = bytes.littleEndian(at: offset, as: UInt32.self)
            offset += 4
            let count = Int(word & (1 << Self.kindShift - 1))
            if offset == 4, word == FingerprintRun.leaf.rawValue << Self.kindShift {
                guard bytes.byteCount - offset >= Digest.byteCount else { return nil }
                leaf = bytes.digest(at: offset)
                offset += Digest.byteCount
                continue
            }
            guard let kind = FingerprintRun(rawValue: word >> Self.kindShift), count > 0,
                kind != .leaf,
                count <= Page.blockCount - fingerprints.count
            else { return nil }
            let stored = kind == .distinct ? count : kind == .repeated ? 1 : 0
            guard bytes.byteCount - offset >= stored * Fingerprint.byteCount else { return nil }
            isValid.append(contentsOf: repeatElement(kind != .unknown, count: count))
            for position in 0..<stored {
                let start = offset + position * Fingerprint.byteCount
                fingerprints.append(
                    Fingerprint(
                        low: bytes.littleEndian(at: start, as: UInt64.self),
                        high: bytes.littleEndian(at: start + 8, as: UInt64.self)))
            }
            offset += stored * Fingerprint.byteCount
            let value = kind == .repeated ? fingerprints.last ?? .zero : .zero
            fingerprints.append(contentsOf: repeatElement(value, count: count - stored))
        }
    }
}

/// Tip fingerprints, and the staging of those of a capture under way.
extension Index {
    /// The page's fingerprints; nil when the index has none.
    func tipPage(
        _ history: HistoryNumber,
        page: UInt64,
        _ transaction: borrowing Transaction
    ) throws -> TipPage? {
        try transaction.value(in: tables.tips, for: Self.pageKey(history, page)) {
            TipPage(decoding: $0)
        } ?? nil
    }

    func putTip(
        _ tip: TipPage,
        _ history: HistoryNumber,
        page: UInt64,
        _ transaction: borrowing Transaction
    ) throws {
        try transaction.put(
            tip.encoded().rawSpan, in: tables.tips, for: Self.pageKey(history, page))
    }

    /// Keeps pages of an attempt aside until its delta is durable.
    package func stage(
        _ pages: [(page: UInt64, tip: TipPage)],
        history: HistoryNumber,
        attempt: UInt64
    ) throws {
        try environment.write { transaction in
            for (page, tip) in pages {
                try transaction.put(
                    tip.encoded().rawSpan, in: tables.staged,
                    for: Self.stagedKey(history, attempt, page))
            }
        }
    }

    /// Drops what attempts on this history staged and never applied.
    func dropStaged(_ history: HistoryNumber) throws {
        while true {
            let count = try environment.write { transaction in
                let keys = try stagedPages(history, nil, transaction, limit: 256)
                for key in keys {
                    try transaction.remove(
                        Self.stagedKey(history, key.attempt, key.page), from: tables.staged)
                }
                return keys.count
            }
            if count == 0 { return }
        }
    }

    /// Moves the staged pages of `attempt` to the tips, a bounded number at a time.
    func applyStaged(_ history: HistoryNumber, attempt: UInt64) throws {
        while true {
            let count = try environment.write { transaction in
                let keys = try stagedPages(history, attempt, transaction, limit: 256)
                for key in keys {
                    let staged = Self.stagedKey(history, attempt, key.page)
                    guard
                        let bytes = try transaction.value(
                            in: tables.staged, for: staged, { [UInt8](copying: $0) })
                    else { continue }
                    try transaction.put(
                        bytes.rawSpan, in: tables.tips, for: Self.pageKey(history, key.page))
                    try transaction.remove(staged, from: tables.staged)
                }
                return keys.count
            }
            if count == 0 { return }
        }
    }

    /// Makes of a page's fingerprints those of its next state.
    ///
    /// What the tip has for `slots` no longer counts. Fingerprints of neither state are dropped.
    func carryTip(
        _ history: HistoryNumber,
        page: UInt64,
        from old: Digest?,
        to new: Digest,
        without slots: some Sequence<Int>,
        _ transaction: borrowing Transaction
    ) throws {
        guard var tip = try tipPage(history, page: page, transaction), tip.leaf != new else {
            return
        }
        guard let old, tip.leaf == old else {
            return try transaction.remove(Self.pageKey(history, page), from: tables.tips)
        }
        for slot in slots where slot < tip.blockCount { tip[slot] = nil }
        tip.leaf = new
        try putTip(tip, history, page: page, transaction)
    }

    /// The first pages that are staged on a history, by one attempt or by any.
    private func stagedPages(
        _ history: HistoryNumber,
        _ wanted: UInt64?,
        _ transaction: borrowing Transaction,
        limit: Int
    ) throws -> [(attempt: UInt64, page: UInt64)] {
        try transaction.withCursor(over: tables.staged) { cursor in
            var keys: [(attempt: UInt64, page: UInt64)] = []
            let read: (RawSpan, RawSpan) throws -> (HistoryNumber, UInt64, UInt64) = { key, _ in
                try Self.require(16, of: key)
                return (
                    key.littleEndian(at: 0, as: UInt32.self).byteSwapped,
                    key.littleEndian(at: 4, as: UInt64.self).byteSwapped,
                    UInt64(key.littleEndian(at: 12, as: UInt32.self).byteSwapped)
                )
            }
            var row = try cursor.seek(atLeast: Self.stagedKey(history, wanted ?? 0, 0), read)
            while let (found, attempt, page) = row, found == history, keys.count < limit,
                attempt == wanted ?? attempt
            {
                keys.append((attempt, page))
                row = try cursor.next(read)
            }
            return keys
        }
    }

    private static func stagedKey(_ history: HistoryNumber, _ attempt: UInt64, _ page: UInt64)
        -> Key
    {
        Key().appending(history).appending(attempt).appending(UInt32(truncatingIfNeeded: page))
    }
}
