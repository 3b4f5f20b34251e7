internal import BlockModel
internal import Hashing
internal import LMDB
internal import Repository
internal import RepositoryFormat

/// Digests, their numbers, and where their bytes are.
///
/// `numbers` maps page *n* to 84 entries of 48 bytes (digest, place), which with their seal fill one
/// LMDB overflow page. `digests` is a sorted set of 11 bytes: the first six of a digest's hash under
/// the index's secret, and its number; the full digest in `numbers` decides. Without the secret nobody can
/// write packs that name many digests whose rows begin alike.
extension Index {
    static let entriesPerPage = 84
    static let entryByteCount = Digest.byteCount + Place.byteCount
    private static let digestRowByteCount = 11
    /// All rows of `digests` are values of one key: LMDB packs them without a header each.
    private static let digestsKey = Key("d")
    private static let numberLimit: UInt64 = 1 << 40
    static let nextNumberKey = Key("next number")
    static let nextPackKey = Key("next pack")
    static let lossKey = Key("losses")

    // MARK: Looking up

    /// The number of `digest`; nil when the index does not know it.
    func number(
        of digest: Digest,
        _ transaction: borrowing Transaction
    ) throws -> BlockNumber? {
        try transaction.withCursor(over: tables.digests) { cursor in
            try number(of: digest, cursor, transaction)
        }
    }

    func number(
        of digest: Digest,
        _ cursor: borrowing Cursor,
        _ transaction: borrowing Transaction
    ) throws -> BlockNumber? {
        let sought = start(of: digest)
        var count = 0
        defer { lookups.add(count) }
        var found = try Self.digestRow(sought, number: 0).withBytes { row in
            try cursor.seek(Self.digestsKey, atLeast: row, Self.splitDigestRow)
        }
        while let (start, number) = found, start == sought {
            count += 1
            if try entry(of: number, transaction)?.digest == digest { return number }
            found = try cursor.nextDuplicate { _, row in try Self.splitDigestRow(row) }
        }
        return nil
    }

    /// The digest and first place of a number.
    func entry(
        of number: BlockNumber,
        _ transaction: borrowing Transaction
    ) throws -> (digest: Digest, place: Place)? {
        let page = number / UInt64(Self.entriesPerPage)
        let offset = Int(number % UInt64(Self.entriesPerPage)) * Self.entryByteCount
        return try transaction.value(in: tables.numbers, for: Key().appending(page)) { bytes in
            offset + Self.entryByteCount <= bytes.byteCount
                ? (
                    bytes.digest(at: offset),
                    Place(at: offset + Digest.byteCount, in: bytes)
                )
                : nil
        } ?? nil
    }

    /// Calls `body` with the index in `numbers`, the digest and the first place of each number
    /// that stands for a digest; numbers that follow one another share a look-up.
    func forEachEntry(
        of numbers: borrowing Span<BlockNumber>,
        _ transaction: borrowing Transaction,
        _ body: (Int, Digest, Place) throws -> Void
    ) throws {
        let perPage = UInt64(Self.entriesPerPage)
        var index = 0
        while index < numbers.count {
            guard numbers[index] >= SpecialBlock.firstDigest else {
                index += 1
                continue
            }
            let page = numbers[index] / perPage
            let start = index
            let found: Void? = try transaction.value(
                in: tables.numbers, for: Key().appending(page)
            ) { bytes in
                while index < numbers.count, numbers[index] / perPage == page,
                    numbers[index] >= SpecialBlock.firstDigest
                {
                    let offset = Int(numbers[index] % perPage) * Self.entryByteCount
                    guard offset + Self.entryByteCount <= bytes.byteCount else {
                        throw Self.broken("a block number has no entry")
                    }
                    try body(
                        index, bytes.digest(at: offset),
                        Place(at: offset + Digest.byteCount, in: bytes))
                    index += 1
                }
            }
            guard found != nil, index > start else {
                throw Self.broken("a block number has no entry")
            }
        }
    }

    /// All places of a number whose packs are in the repository: shallowest first, bad ones last.
    func places(
        of number: BlockNumber,
        _ transaction: borrowing Transaction
    ) throws -> [Place] {
        guard let first = try entry(of: number, transaction)?.place else { return [] }
        let places = [first] + (try furtherPlaces(of: number, transaction))
        return places.compactMap { place in pack(place.pack).map { (place, $0.isBad(place)) } }
            .sorted { ($0.1 ? 1 : 0, $0.0.depth) < ($1.1 ? 1 : 0, $1.0.depth) }
            .map(\.0)
    }

    /// Calls `body` with the places of a number whose packs are in the repository, in the order in which
    /// they came, until it gives false.
    func forEachPlace(
        of number: BlockNumber,
        _ transaction: borrowing Transaction,
        _ body: (Place) throws -> Bool
    ) throws {
        guard let first = try entry(of: number, transaction)?.place else { return }
        if pack(first.pack) != nil, try !body(first) { return }
        try forEachFurtherPlace(of: number, transaction) { place in
            try pack(place.pack) == nil || body(place)
        }
    }

    /// Whether a pack of the repository claims the block of that number.
    func hasPlace(_ number: BlockNumber, _ transaction: borrowing Transaction) throws -> Bool {
        var isAny = false
        try forEachPlace(of: number, transaction) { _ in
            isAny = true
            return false
        }
        return isAny
    }

    /// The places of a number behind the first, in packs that may be gone.
    func furtherPlaces(
        of number: BlockNumber,
        _ transaction: borrowing Transaction
    ) throws -> [Place] {
        var places: [Place] = []
        try forEachFurtherPlace(of: number, transaction) { place in
            places.append(place)
            return true
        }
        return places
    }

    /// Calls `body` with the places of a number behind the first until it gives false.
    private func forEachFurtherPlace(
        of number: BlockNumber,
        _ transaction: borrowing Transaction,
        _ body: (Place) throws -> Bool
    ) throws {
        try transaction.withCursor(over: tables.places) { cursor in
            let lowest = Key().appending(UInt64(0)).appending(UInt64(0))
            var count = 0
            defer { lookups.add(count) }
            var more = try lowest.withBytes { lowest in
                try cursor.seek(Key().appending(number), atLeast: lowest) { try Self.place($0) }
            }
            while let place = more {
                count += 1
                guard try body(place) else { return }
                more = try cursor.nextDuplicate { _, value in try Self.place(value) }
            }
        }
    }

    private static func place(_ row: RawSpan) throws -> Place {
        try require(Place.byteCount, of: row)
        return Place(at: 0, in: row)
    }

    // MARK: Adding

    /// Adds blocks and their places in one transaction; ``finish`` writes what is still in memory.
    struct Adder {
        private let index: Index
        private var next: BlockNumber
        private var page: UInt64
        private var bytes: [UInt8]
        private(set) var addedCount = 0

        init(_ index: Index, _ transaction: borrowing Transaction) throws {
            self.index = index
            next =
                try transaction.value(in: index.tables.meta, for: Index.nextNumberKey) {
                    try Index.number($0, as: UInt64.self)
                } ?? SpecialBlock.firstDigest
            page = next / UInt64(Index.entriesPerPage)
            bytes =
                try transaction.value(in: index.tables.numbers, for: Key().appending(page)) {
                    [UInt8](copying: $0)
                } ?? []
        }

        /// Gives `digest` the next number.
        mutating func add(
            _ digest: Digest,
            _ place: Place,
            _ transaction: borrowing Transaction
        ) throws -> BlockNumber {
            guard next < Index.numberLimit else { throw Index.broken("it holds too many blocks") }
            let number = next
            next += 1
            addedCount += 1
            let offset = Int(number % UInt64(Index.entriesPerPage)) * Index.entryByteCount
            if bytes.count < offset + Index.entryByteCount {
                bytes.append(
                    contentsOf: repeatElement(
                        0, count: offset + Index.entryByteCount - bytes.count))
            }
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            raw.store(digest, at: offset)
            place.store(at: offset + Digest.byteCount, in: &raw)
            try Index.digestRow(index.start(of: digest), number: number).withBytes {
                try transaction.put($0, in: index.tables.digests, for: Index.digestsKey)
            }
            if next % UInt64(Index.entriesPerPage) == 0 {
                try flush(transaction)
                page += 1
                bytes.removeAll(keepingCapacity: true)
            }
            return number
        }

        /// Whether `number` is so new that its page is still in memory.
        func holds(_ number: BlockNumber) -> Bool {
            number / UInt64(Index.entriesPerPage) == page
        }

        mutating func flush(_ transaction: borrowing Transaction) throws {
            if !bytes.isEmpty {
                try transaction.put(
                    bytes.rawSpan, in: index.tables.numbers, for: Key().appending(page))
            }
            var writer = ByteWriter()
            writer.append(next)
            try transaction.put(
                writer.bytes.rawSpan, in: index.tables.meta, for: Index.nextNumberKey)
        }
    }

    /// Gives a known number another place: instead of the first one when that is gone or bad.
    func addPlace(
        _ place: Place,
        to number: BlockNumber,
        _ transaction: borrowing Transaction
    ) throws {
        guard let first = try entry(of: number, transaction)?.place else { return }
        if first == place { return }
        // A large pack counts only when all its blocks are there, and may hold one twice.
        if first.pack == place.pack { return try putFurtherPlace(place, of: number, transaction) }
        guard let pack = pack(first.pack) else {
            return try replacePlace(of: number, by: place, transaction)
        }
        guard !pack.isBad(first) else {
            // The old one may be right after all, when its pack is copied back.
            try putFurtherPlace(first, of: number, transaction)
            return try replacePlace(of: number, by: place, transaction)
        }
        try putFurtherPlace(place, of: number, transaction)
    }

    private func putFurtherPlace(
        _ place: Place,
        of number: BlockNumber,
        _ transaction: borrowing Transaction
    ) throws {
        try transaction.put(
            Self.row(of: place).rawSpan, in: tables.places, for: Key().appending(number))
    }

    /// The row of a further place.
    static func row(of place: Place) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Place.byteCount)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        place.store(at: 0, in: &raw)
        return bytes
    }

    func replacePlace(
        of number: BlockNumber,
        by place: Place,
        _ transaction: borrowing Transaction
    ) throws {
        let key = Key().appending(number / UInt64(Self.entriesPerPage))
        let offset = Int(number % UInt64(Self.entriesPerPage)) * Self.entryByteCount
        guard
            var bytes = try transaction.value(
                in: tables.numbers, for: key, { [UInt8](copying: $0) })
        else { return }
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        place.store(at: offset + Digest.byteCount, in: &raw)
        try transaction.put(bytes.rawSpan, in: tables.numbers, for: key)
    }

    // MARK: Encoding

    static func broken(_ why: String) -> RepositoryError {
        RepositoryError(
            .index,
            "the index is inconsistent (\(why)); run 'varve index rebuild', which loses nothing",
            cause: "the index is inconsistent (\(why))")
    }

    /// What the rows of a digest begin with.
    private func start(of digest: Digest) -> UInt64 {
        let words: InlineArray<4, UInt64> = [
            digest.word0, digest.word1, digest.word2, digest.word3,
        ]
        return unsafe fingerprints.hash128(words.span.bytes).low >> 16
    }

    /// Positions of digests in the order of their rows: what is looked up one after another shares pages.
    func rowOrder(of digests: [Digest]) -> [Int] {
        let starts = digests.map(start)
        return starts.indices.sorted { starts[$0] < starts[$1] }
    }

    private static func digestRow(_ start: UInt64, number: BlockNumber) -> Key {
        Key().appending(UInt32(truncatingIfNeeded: start >> 16))
            .appending(UInt16(truncatingIfNeeded: start))
            .appending(UInt8(truncatingIfNeeded: number >> 32))
            .appending(UInt32(truncatingIfNeeded: number))
    }

    private static func splitDigestRow(
        _ row: RawSpan
    ) throws -> (start: UInt64, number: BlockNumber) {
        guard row.byteCount == digestRowByteCount else {
            throw broken("a digest has a row of the wrong length")
        }
        let start = row.littleEndian(at: 0, as: UInt32.self).byteSwapped
        let startEnd = row.littleEndian(at: 4, as: UInt16.self).byteSwapped
        let number = row.littleEndian(at: 6, as: UInt8.self)
        let numberEnd = row.littleEndian(at: 7, as: UInt32.self).byteSwapped
        return (
            UInt64(start) << 16 | UInt64(startEnd), UInt64(number) << 32 | UInt64(numberEnd)
        )
    }
}
