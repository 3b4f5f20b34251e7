package import BlockModel
internal import LMDB
internal import RepositoryFormat

/// A history that is ready to be read: a volume's history, or the path to one forked snapshot.
package struct History: Hashable, Sendable {
    package let number: HistoryNumber
    package let tip: SnapshotID
    package let tipGeneration: Generation
    package let tipByteCount: UInt64
    package var memory = CaptureMemory()

    /// The history of a volume that the index has nothing of.
    package static let none = History(
        number: 0, tip: .nothing, tipGeneration: 0, tipByteCount: 0)
}

/// A block of a page and its number.
struct PageEntry {
    let slot: Int
    let number: BlockNumber
}

/// Blocks of a page that all are zero, or free.
struct PageFill {
    let slots: Range<Int>
    let number: BlockNumber

    var entries: some Sequence<PageEntry> {
        slots.lazy.map { PageEntry(slot: $0, number: number) }
    }
}

/// Lines and their history: which block numbers stood in a page at a generation.
///
/// `history` has a row for each (history, page, generation) in which the page changed: a patch, words
/// of 16 bits of slot and 48 of number, or the full page, numbers of 40 bits, written when the
/// patches since the last full page would outweigh it. A page without rows is all zero.
extension Index {
    static let nextLineKey = Key("next line")
    private static let historyHeadByteCount = 8
    private static let slotShift: UInt64 = 48
    private static let numberMask: UInt64 = (1 << 48) - 1

    private enum HistoryKind: UInt32 {
        case patch = 0
        case full = 1

        var entryByteCount: Int {
            switch self {
            case .patch: 8
            case .full: 5
            }
        }
    }

    // MARK: Lines

    func histories(_ transaction: borrowing Transaction) throws -> [HistoryNumber: HistoryState] {
        try transaction.withCursor(over: tables.histories) { cursor in
            var histories: [HistoryNumber: HistoryState] = [:]
            var row = try cursor.first(Self.lineRow)
            while let (number, state) = row {
                histories[number] = state
                row = try cursor.next(Self.lineRow)
            }
            return histories
        }
    }

    private static func lineRow(
        _ key: RawSpan,
        _ value: RawSpan
    ) throws -> (HistoryNumber, HistoryState) {
        try require(4, of: key)
        return (
            key.littleEndian(at: 0, as: UInt32.self).byteSwapped,
            try HistoryState(decoding: [UInt8](copying: value))
        )
    }

    func historyState(
        _ history: HistoryNumber,
        _ transaction: borrowing Transaction
    ) throws -> HistoryState? {
        try transaction.value(in: tables.histories, for: Key().appending(history)) {
            try HistoryState(decoding: [UInt8](copying: $0))
        }
    }

    func putHistory(
        _ history: HistoryNumber,
        _ state: HistoryState,
        _ transaction: borrowing Transaction
    ) throws {
        try transaction.put(
            state.encoded().rawSpan, in: tables.histories, for: Key().appending(history))
    }

    func newLine(_ state: HistoryState, _ transaction: borrowing Transaction) throws
        -> HistoryNumber
    {
        let number =
            try transaction.value(in: tables.meta, for: Self.nextLineKey) {
                try Self.number($0, as: UInt32.self)
            } ?? 1
        var writer = ByteWriter()
        writer.append(number + 1)
        try transaction.put(writer.bytes.rawSpan, in: tables.meta, for: Self.nextLineKey)
        try putHistory(number, state, transaction)
        return number
    }

    // MARK: Snapshots of a history

    /// The generation's snapshot and size as the history has it.
    func snapshotRow(
        _ history: HistoryNumber,
        _ generation: Generation,
        _ transaction: borrowing Transaction
    ) throws -> (id: SnapshotID, byteCount: UInt64)? {
        try transaction.value(
            in: tables.snapshots, for: Key().appending(history).appending(generation)
        ) { bytes in
            try Self.require(40, of: bytes)
            return (SnapshotID(bytes.digest(at: 0)), bytes.littleEndian(at: 32, as: UInt64.self))
        }
    }

    func putSnapshot(
        _ history: HistoryNumber,
        _ generation: Generation,
        _ id: SnapshotID,
        byteCount: UInt64,
        _ transaction: borrowing Transaction
    ) throws {
        var writer = ByteWriter()
        writer.append(id)
        writer.append(byteCount)
        try transaction.put(
            writer.bytes.rawSpan, in: tables.snapshots,
            for: Key().appending(history).appending(generation))
    }

    // MARK: Reading history

    /// Fills `numbers` with what the page held at `generation`; its count says how many blocks.
    func loadNumbers(
        _ history: HistoryNumber,
        page: UInt64,
        generation: Generation,
        into numbers: inout [BlockNumber],
        _ transaction: borrowing Transaction
    ) throws {
        for index in numbers.indices { numbers[index] = SpecialBlock.zero }
        try transaction.withCursor(over: tables.history) { cursor in
            // Newest first: a slot that a later row named is not touched again.
            var known = [Bool](repeating: false, count: numbers.count)
            var isDone = try startAtOrBefore(cursor, history, page, generation) { kind, words in
                Self.apply(kind, words, to: &numbers, &known)
            }
            while !isDone {
                isDone =
                    try cursor.previous { key, value in
                        guard Self.isRow(key, of: history, page) else { return true }
                        return try Self.withWords(value) { kind, words in
                            Self.apply(kind, words, to: &numbers, &known)
                        }
                    } ?? true
            }
        }
    }

    /// Whether the page has any row.
    func hasHistory(
        _ history: HistoryNumber,
        page: UInt64,
        _ transaction: borrowing Transaction
    ) throws -> Bool {
        try transaction.withCursor(over: tables.history) { cursor in
            try cursor.seek(atLeast: Self.historyKey(history, page, 0)) { key, _ in
                Self.isRow(key, of: history, page)
            } ?? false
        }
    }

    /// Moves to the newest row of the page that is not above `generation`; true when there is none.
    private func startAtOrBefore(
        _ cursor: borrowing Cursor,
        _ history: HistoryNumber,
        _ page: UInt64,
        _ generation: Generation,
        _ body: (HistoryKind, RawSpan) -> Bool
    ) throws -> Bool {
        let key = Self.historyKey(history, page, generation)
        let exact = try cursor.seek(atLeast: key) { found, value -> Bool? in
            guard Self.isRow(found, of: history, page),
                found.littleEndian(at: 8, as: UInt64.self).byteSwapped == generation
            else { return nil }
            return try Self.withWords(value, body)
        }
        if let hit = exact, let isDone = hit { return isDone }
        // Positioned behind it, or past the end of the table.
        let before: Bool?
        if exact == nil {
            before = try cursor.last { found, value in
                Self.isRow(found, of: history, page) ? try Self.withWords(value, body) : true
            }
        } else {
            before = try cursor.previous { found, value in
                Self.isRow(found, of: history, page) ? try Self.withWords(value, body) : true
            }
        }
        return before ?? true
    }

    private static func isRow(_ key: RawSpan, of history: HistoryNumber, _ page: UInt64) -> Bool {
        key.byteCount == 16
            && key.littleEndian(at: 0, as: UInt32.self).byteSwapped == history
            && key.littleEndian(at: 4, as: UInt32.self).byteSwapped
                == UInt32(truncatingIfNeeded: page)
    }

    private static func withWords(
        _ value: RawSpan,
        _ body: (HistoryKind, RawSpan) -> Bool
    ) throws -> Bool {
        guard value.byteCount >= historyHeadByteCount,
            let kind = HistoryKind(rawValue: value.littleEndian(at: 0, as: UInt32.self)),
            (value.byteCount - historyHeadByteCount) % kind.entryByteCount == 0
        else { throw broken("a history page has the wrong length") }
        return body(kind, value.extracting(historyHeadByteCount..<value.byteCount))
    }

    /// Takes what `words` say of slots not yet known; true when nothing older matters.
    private static func apply(
        _ kind: HistoryKind,
        _ words: RawSpan,
        to numbers: inout [BlockNumber],
        _ known: inout [Bool]
    ) -> Bool {
        switch kind {
        case .full:
            let width = kind.entryByteCount
            for slot in 0..<min(words.byteCount / width, numbers.count) where !known[slot] {
                let low = words.littleEndian(at: slot * width, as: UInt32.self)
                let high = words.littleEndian(at: slot * width + 4, as: UInt8.self)
                numbers[slot] = UInt64(high) << 32 | UInt64(low)
            }
            return true
        case .patch:
            for position in 0..<words.byteCount / 8 {
                let word = words.littleEndian(at: position * 8, as: UInt64.self)
                let slot = Int(word >> slotShift)
                guard slot < numbers.count, !known[slot] else { continue }
                known[slot] = true
                numbers[slot] = word & numberMask
            }
            return false
        }
    }

    // MARK: Writing history

    /// Records that blocks of the page changed in `generation`: `data` to what they say, `fills` to
    /// zeros or free ones.
    func putHistory(
        _ history: HistoryNumber,
        page: UInt64,
        generation: Generation,
        data: [PageEntry],
        fills: [PageFill],
        blockCount: Int,
        _ transaction: borrowing Transaction
    ) throws {
        var entries = data
        guard let weightBefore = try weightBefore(history, page, generation, transaction) else {
            // The first row of a page: what it does not name is zero, so that zeros need no entry.
            for fill in fills where fill.number != SpecialBlock.zero { entries += fill.entries }
            let numbers = [BlockNumber](repeating: SpecialBlock.zero, count: blockCount)
            guard !entries.isEmpty else { return }
            return try putRow(
                history, page, generation, entries, weight: entries.count, blockCount: blockCount,
                full: { numbers }, transaction)
        }
        for fill in fills { entries += fill.entries }
        try putRow(
            history, page, generation, entries, weight: weightBefore + entries.count,
            blockCount: blockCount,
            full: {
                var numbers = [BlockNumber](repeating: SpecialBlock.zero, count: blockCount)
                try loadNumbers(
                    history, page: page, generation: generation - 1, into: &numbers, transaction)
                return numbers
            }, transaction)
    }

    /// Writes a patch of `entries`, or the full page where that is no larger or reads better;
    /// `full` gives the page as it was before.
    private func putRow(
        _ history: HistoryNumber,
        _ page: UInt64,
        _ generation: Generation,
        _ entries: [PageEntry],
        weight: Int,
        blockCount: Int,
        full: () throws -> [BlockNumber],
        _ transaction: borrowing Transaction
    ) throws {
        var writer = ByteWriter(reserving: 8 + 8 * entries.count)
        if weight > Page.blockCount || entries.count * 2 > blockCount {
            var numbers = try full()
            for entry in entries where entry.slot < numbers.count {
                numbers[entry.slot] = entry.number
            }
            writer.append(HistoryKind.full.rawValue)
            writer.append(UInt32(0))
            for number in numbers {
                writer.append(UInt32(truncatingIfNeeded: number))
                writer.append(UInt8(truncatingIfNeeded: number >> 32))
            }
        } else {
            writer.append(HistoryKind.patch.rawValue)
            writer.append(UInt32(weight))
            for entry in entries {
                writer.append(UInt64(entry.slot) << Self.slotShift | entry.number)
            }
        }
        try transaction.put(
            writer.bytes.rawSpan, in: tables.history,
            for: Self.historyKey(history, page, generation))
    }

    /// Entries of the patches between the last full page and `generation`, without it; nil when
    /// the page has no row before it.
    private func weightBefore(
        _ history: HistoryNumber,
        _ page: UInt64,
        _ generation: Generation,
        _ transaction: borrowing Transaction
    ) throws -> Int? {
        try transaction.withCursor(over: tables.history) { cursor in
            let key = Self.historyKey(history, page, generation)
            let weight: (RawSpan, RawSpan) -> Int? = { found, value in
                Self.isRow(found, of: history, page) && value.byteCount >= 8
                    ? Int(value.littleEndian(at: 4, as: UInt32.self)) : nil
            }
            // The row at or behind this generation, then the one before it.
            if try cursor.seek(atLeast: key, { _, _ in true }) == nil {
                return try cursor.last(weight) ?? nil
            }
            return try cursor.previous(weight) ?? nil
        }
    }

    static func historyKey(
        _ history: HistoryNumber,
        _ page: UInt64,
        _ generation: Generation
    ) -> Key {
        Key().appending(history).appending(UInt32(truncatingIfNeeded: page)).appending(generation)
    }

    // MARK: Leaves

    func leaf(
        _ history: HistoryNumber,
        page: UInt64,
        _ transaction: borrowing Transaction
    ) throws -> PageLeaf? {
        try transaction.value(in: tables.leaves, for: Self.pageKey(history, page)) {
            try Self.require(Digest.byteCount, of: $0)
            let isZero =
                $0.byteCount > Digest.byteCount
                ? $0.littleEndian(at: Digest.byteCount, as: UInt8.self) == 1 : nil
            return PageLeaf($0.digest(at: 0), isZero: isZero)
        }
    }

    func putLeaf(
        _ history: HistoryNumber,
        page: UInt64,
        _ leaf: PageLeaf,
        _ transaction: borrowing Transaction
    ) throws {
        var writer = ByteWriter()
        writer.append(leaf.digest)
        if let isZero = leaf.isZero { writer.append(UInt8(isZero ? 1 : 0)) }
        try transaction.put(
            writer.bytes.rawSpan, in: tables.leaves, for: Self.pageKey(history, page))
    }

    static func pageKey(_ history: HistoryNumber, _ page: UInt64) -> Key {
        Key().appending(history).appending(UInt32(truncatingIfNeeded: page))
    }
}
