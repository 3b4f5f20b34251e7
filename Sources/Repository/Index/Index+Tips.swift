package import BlockModel
internal import LMDB
internal import RepositoryFormat

/// Fingerprints of one page of a line's newest snapshot, each valid or not.
package struct TipPage: Sendable {
    package private(set) var fingerprints: [Fingerprint]
    package private(set) var isValid: [Bool]

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

    /// One bit a block, in whole words, then the fingerprints.
    func encoded() -> [UInt8] {
        var writer = ByteWriter(
            reserving: (blockCount + 63) / 64 * 8 + blockCount * Fingerprint.byteCount)
        for start in stride(from: 0, to: blockCount, by: 64) {
            var word: UInt64 = 0
            for slot in start..<min(start + 64, blockCount) where isValid[slot] {
                word |= 1 << UInt64(slot - start)
            }
            writer.append(word)
        }
        for fingerprint in fingerprints {
            writer.append(fingerprint.low)
            writer.append(fingerprint.high)
        }
        return writer.bytes
    }

    init?(decoding bytes: RawSpan) {
        // Every 64 blocks take 8 bytes of bits and 16 each; solve for the count.
        let whole = bytes.byteCount / (8 + 64 * Fingerprint.byteCount)
        let rest = bytes.byteCount % (8 + 64 * Fingerprint.byteCount)
        let count = whole * 64 + (rest >= 8 ? (rest - 8) / Fingerprint.byteCount : 0)
        let bitsByteCount = (count + 63) / 64 * 8
        guard bytes.byteCount == bitsByteCount + count * Fingerprint.byteCount,
            count <= Page.blockCount
        else { return nil }
        self.init(blockCount: count)
        for slot in 0..<count {
            let word = bytes.littleEndian(at: slot / 64 * 8, as: UInt64.self)
            isValid[slot] = word >> UInt64(slot % 64) & 1 == 1
            let offset = bitsByteCount + slot * Fingerprint.byteCount
            fingerprints[slot] = Fingerprint(
                low: bytes.littleEndian(at: offset, as: UInt64.self),
                high: bytes.littleEndian(at: offset + 8, as: UInt64.self))
        }
    }
}

/// Tip fingerprints, and the staging of those of a capture under way.
extension Index {
    /// The page's fingerprints; nil when the index has none.
    func tipPage(
        _ line: LineNumber,
        page: UInt64,
        _ transaction: borrowing Transaction
    ) throws -> TipPage? {
        try transaction.value(in: tables.tips, for: Self.pageKey(line, page)) {
            TipPage(decoding: $0)
        } ?? nil
    }

    func putTip(
        _ tip: TipPage,
        _ line: LineNumber,
        page: UInt64,
        _ transaction: borrowing Transaction
    ) throws {
        try transaction.put(
            tip.encoded().rawSpan, in: tables.tips, for: Self.pageKey(line, page))
    }

    /// Keeps pages of an attempt aside until its delta is durable.
    package func stage(
        _ pages: [(page: UInt64, tip: TipPage)],
        line: LineNumber,
        attempt: UInt64
    ) throws {
        try environment.write { transaction in
            for (page, tip) in pages {
                try transaction.put(
                    tip.encoded().rawSpan, in: tables.staged,
                    for: Self.stagedKey(line, attempt, page))
            }
        }
    }

    /// Drops what attempts on this line staged and never applied.
    func dropStaged(_ line: LineNumber) throws {
        while true {
            let count = try environment.write { transaction in
                let keys = try stagedPages(line, transaction, limit: 256)
                for key in keys {
                    try transaction.remove(
                        Self.stagedKey(line, key.attempt, key.page), from: tables.staged)
                }
                return keys.count
            }
            if count == 0 { return }
        }
    }

    /// Moves the staged pages of `attempt` to the tips, a bounded number at a time.
    func applyStaged(_ line: LineNumber, attempt: UInt64) throws {
        while true {
            let count = try environment.write { transaction in
                let keys = try stagedPages(line, transaction, limit: 256).filter {
                    $0.attempt == attempt
                }
                for key in keys {
                    let staged = Self.stagedKey(line, key.attempt, key.page)
                    guard
                        let bytes = try transaction.value(
                            in: tables.staged, for: staged, { [UInt8](copying: $0) })
                    else { continue }
                    try transaction.put(
                        bytes.rawSpan, in: tables.tips, for: Self.pageKey(line, key.page))
                    try transaction.remove(staged, from: tables.staged)
                }
                return keys.count
            }
            if count == 0 { return }
        }
    }

    /// Says of blocks that what the tip has for them no longer counts.
    func invalidateTip(
        _ line: LineNumber,
        page: UInt64,
        slots: some Sequence<Int>,
        _ transaction: borrowing Transaction
    ) throws {
        guard var tip = try tipPage(line, page: page, transaction) else { return }
        for slot in slots where slot < tip.blockCount { tip[slot] = nil }
        try putTip(tip, line, page: page, transaction)
    }

    private func stagedPages(
        _ line: LineNumber,
        _ transaction: borrowing Transaction,
        limit: Int
    ) throws -> [(attempt: UInt64, page: UInt64)] {
        try transaction.withCursor(over: tables.staged) { cursor in
            var keys: [(attempt: UInt64, page: UInt64)] = []
            let read: (RawSpan, RawSpan) -> (LineNumber, UInt64, UInt64) = { key, _ in
                (
                    key.littleEndian(at: 0, as: UInt32.self).byteSwapped,
                    key.littleEndian(at: 4, as: UInt64.self).byteSwapped,
                    UInt64(key.littleEndian(at: 12, as: UInt32.self).byteSwapped)
                )
            }
            var row = try cursor.seek(atLeast: Key().appending(line), read)
            while let (found, attempt, page) = row, found == line, keys.count < limit {
                keys.append((attempt, page))
                row = try cursor.next(read)
            }
            return keys
        }
    }

    private static func stagedKey(_ line: LineNumber, _ attempt: UInt64, _ page: UInt64) -> Key {
        Key().appending(line).appending(attempt).appending(UInt32(truncatingIfNeeded: page))
    }
}
