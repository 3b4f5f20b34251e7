package import BlockModel
internal import Hashing
internal import LMDB
package import Repository
package import RepositoryFormat
package import RepositoryModel

/// Which blocks are live: counted by the deltas and the patches that need them.
///
/// The page `Pruning` describes the tables, and says when everything is counted again.
extension Index {
    static let liveCountsKey = Key("account")
    /// How many blocks are needed and in no pack.
    static let placelessKey = Key("placeless")
    /// There while a delta is counted by several transactions.
    private static let countingKey = Key("counting")
    /// Counts that old are made again.
    private static let liveCountsLifetimeSeconds: Int64 = 30 * 86_400
    /// Pages of counts that one transaction changes at most.
    private static let pagesPerTransaction = 4000

    /// Counts what the repository has: all packs that the index knows, and `deltas`, which are
    /// all of the repository.
    ///
    /// - Parameters:
    ///   - deltas: all of the repository.
    ///   - repository: where their maps are.
    ///   - now: the time.
    ///   - isRecount: whether everything is counted again in any case.
    ///   - prefixes: makes what reads the patches of packs that are entered.
    /// - Returns: what was done.
    /// - Throws: ``UnreadableDelta`` when a map cannot be read, ``RepositoryError`` of kind `damaged` when a
    ///   table cannot.
    package func updateLiveCounts(
        _ deltas: [KnownDelta],
        of repository: Repository,
        now: Timestamp,
        isRecount: Bool,
        prefixes: () throws -> PrefixReader
    ) throws -> LiveCountReport {
        try withUpdateLock {
            try loadPacks()
            var report = LiveCountReport()
            report.reason = try misfit(deltas)
            if report.reason != nil { try beginLiveCounts(now: now) }
            do {
                try count(deltas, of: repository, prefixes, &report)
            } catch is LiveCountMismatch {
                report = LiveCountReport(reason: "it was inconsistent")
                try beginLiveCounts(now: now)
                try count(deltas, of: repository, prefixes, &report)
            }
            let age = try report.reason == nil ? ageOfLiveCounts(now) : nil
            if report.reason == nil,
                isRecount || age.map({ $0 >= Self.liveCountsLifetimeSeconds }) ?? true
            {
                // What was kept until now is held against what is so.
                let kept = try packTallies()
                report = LiveCountReport(
                    reason: isRecount ? "asked for" : "the last time was long ago")
                try beginLiveCounts(now: now)
                try count(deltas, of: repository, prefixes, &report)
                let new = Set(try packTallies())
                report.differenceCount = kept.count { !new.contains($0) }
            }
            guard try environment.read({ try countOfUnknown($0) }) == 0 else {
                throw RepositoryError(
                    .damaged,
                    "patches that snapshots need cannot be read, so it is unknown "
                        + "what else is needed; nothing is deleted: run 'varve check --read-data'")
            }
            return report
        }
    }

    /// Takes a delta out of the live counts before it is deleted; does nothing if it is not counted.
    package func removeFromLiveCounts(_ delta: KnownDelta, of repository: Repository) throws {
        guard try environment.read({ try $0.contains(Self.key(of: delta), in: tables.counted) })
        else { return }
        try withUpdateLock {
            do {
                try count(delta, by: -1, of: repository)
            } catch {
                // Only counting everything again takes back a map that can no longer be read.
                guard error is LiveCountMismatch || error is UnreadableDelta else { throw error }
                try environment.write { try $0.remove(Self.liveCountsKey, from: tables.meta) }
            }
        }
    }

    /// The packs that are counted.
    package func packTallies() throws -> [PackTally] {
        try environment.read { transaction in
            try transaction.withCursor(over: tables.tallies) { cursor in
                var tallies: [PackTally] = []
                var more = try cursor.first(tally)
                while let found = more {
                    if let tally = found { tallies.append(tally) }
                    more = try cursor.next(tally)
                }
                return tallies
            }
        }
    }

    /// The tally in a row; nil for one of a pack that is gone.
    private func tally(_ key: RawSpan, _ value: RawSpan) throws -> PackTally? {
        try Self.require(4, of: key)
        let number = key.littleEndian(at: 0, as: UInt32.self).byteSwapped
        return pack(number).flatMap { tally(of: $0, value) }
    }

    /// A tally as it is stored; nil for one that is not what was written.
    func tally(of pack: PackRecord, _ value: RawSpan) -> PackTally? {
        let end = PackTally.byteCount
        guard value.byteCount == end + 8,
            value.littleEndian(at: end, as: UInt64.self)
                == checksum(of: value.extracting(0..<end), key: UInt64(pack.number))
        else { return nil }
        return PackTally(of: pack, decoding: value.extracting(0..<end))
    }

    /// Guards a row against what a damaged file makes of it: a keyed hash of its bytes and of its key.
    func checksum(of bytes: RawSpan, key: UInt64) -> UInt64 {
        fingerprints.hash128(bytes).low ^ key &* 0x9E37_79B9_7F4A_7C15
    }

    private static func key(of delta: KnownDelta) -> Key {
        Key().appending(delta.name.id.high).appending(delta.name.id.low)
    }

    // MARK: Fitting the repository

    /// Why everything has to be counted again; nil if it need not.
    private func misfit(_ deltas: [KnownDelta]) throws -> String? {
        try environment.read { transaction in
            guard try transaction.contains(Self.liveCountsKey, in: tables.meta) else {
                return "there was none"
            }
            if try transaction.contains(Self.countingKey, in: tables.meta) {
                return "a delta was counted only partly"
            }
            let ids = Set(deltas.map(\.name.id))
            let areCounted = try transaction.withCursor(over: tables.counted) { cursor in
                var more = try cursor.first { key, _ in try Self.objectID(key) }
                while let id = more {
                    guard ids.contains(id) else { return false }
                    more = try cursor.next { key, _ in try Self.objectID(key) }
                }
                return true
            }
            guard areCounted else { return "a delta was deleted by another index" }
            let areThere = try transaction.withCursor(over: tables.tallies) { cursor in
                var more = try cursor.first(tally)
                while let found = more {
                    if found == nil { return false }
                    more = try cursor.next(tally)
                }
                return true
            }
            return areThere ? nil : "a pack was deleted by another index"
        }
    }

    /// Seconds since everything was last counted; nil if that is in the future.
    private func ageOfLiveCounts(_ now: Timestamp) throws -> Int64? {
        let made = try environment.read { transaction in
            try transaction.value(in: tables.meta, for: Self.liveCountsKey) {
                try Int64(bitPattern: Self.number($0, as: UInt64.self))
            }
        }
        return made.flatMap { $0 <= now.seconds ? now.seconds - $0 : nil }
    }

    private static func objectID(_ key: RawSpan) throws -> ObjectID {
        try require(16, of: key)
        return ObjectID(
            high: key.littleEndian(at: 0, as: UInt64.self).byteSwapped,
            low: key.littleEndian(at: 8, as: UInt64.self).byteSwapped)
    }

    private func beginLiveCounts(now: Timestamp) throws {
        try environment.write { transaction in
            try clearLiveCounts(transaction)
            var writer = ByteWriter()
            writer.append(now.seconds)
            try transaction.put(writer.bytes.rawSpan, in: tables.meta, for: Self.liveCountsKey)
        }
    }

    func clearLiveCounts(_ transaction: borrowing Transaction) throws {
        for table in [tables.uses, tables.prefixes, tables.tallies, tables.counted] {
            try transaction.clear(table)
        }
        try transaction.remove(Self.liveCountsKey, from: tables.meta)
        try transaction.remove(Self.countingKey, from: tables.meta)
        try transaction.remove(Self.placelessKey, from: tables.meta)
    }

    private func count(
        _ deltas: [KnownDelta],
        of repository: Repository,
        _ makeReader: () throws -> PrefixReader,
        _ report: inout LiveCountReport
    ) throws {
        let tallied = Set(try packTallies().map(\.number))
        let new = knownPacks.filter { !tallied.contains($0.number) }
        let reader = try makeReader()
        for pack in new.sorted(by: { $0.number < $1.number }) {
            try takeIn(pack, of: repository, reader)
            report.addedPackCount += 1
        }
        let uncounted = try environment.read { transaction in
            try deltas.filter { try !transaction.contains(Self.key(of: $0), in: tables.counted) }
        }
        for delta in uncounted { try count(delta, by: 1, of: repository) }
        report.addedDeltaCount = uncounted.count
    }

    // MARK: Deltas

    /// Counts what a delta names, once more or once less.
    private func count(_ delta: KnownDelta, by sign: Int, of repository: Repository) throws {
        let key = Self.key(of: delta)
        let isShort = delta.head.parts.isEmpty
        if !isShort {
            try environment.write {
                try $0.put([1].rawSpan, in: tables.meta, for: Self.countingKey)
            }
        }
        func finish(_ transaction: borrowing Transaction) throws {
            if sign > 0 {
                try transaction.put([1].rawSpan, in: tables.counted, for: key)
            } else {
                try transaction.remove(key, from: tables.counted)
            }
            if !isShort { try transaction.remove(Self.countingKey, from: tables.meta) }
        }
        var isFinished = false
        try forEachMap(of: delta, in: repository) { map in
            var numbers: [BlockNumber] = []
            try environment.write { transaction in
                numbers = try self.numbers(of: map.digests, transaction)
                guard isShort else { return }
                numbers.sort()
                var update = try LiveCountUpdate(self, transaction)
                try update.change(numbers[...], by: sign, transaction)
                try update.flush(transaction)
                try finish(transaction)
                isFinished = true
            }
            if isShort { return }
            numbers.sort()
            var rest = numbers[...]
            while !rest.isEmpty {
                let end = Self.endOfPages(Self.pagesPerTransaction, in: rest)
                try environment.write { transaction in
                    var update = try LiveCountUpdate(self, transaction)
                    try update.change(rest[..<end], by: sign, transaction)
                    try update.flush(transaction)
                }
                rest = rest[end...]
            }
        }
        // A delta may name nothing at all.
        if !isFinished { try environment.write { try finish($0) } }
    }

    /// The map of a delta, piece by piece.
    ///
    /// - Throws: ``UnreadableDelta`` where that is damaged.
    private func forEachMap(
        of delta: KnownDelta,
        in repository: Repository,
        _ body: (DeltaMap) throws -> Void
    ) throws {
        try UnreadableDelta.telling(delta) {
            try repository.forEachMap(of: delta.name) { map, _ in try body(map) }
        }
    }

    /// Where the sorted `numbers` leave the first `limit` pages of counts.
    private static func endOfPages(_ limit: Int, in numbers: ArraySlice<BlockNumber>) -> Int {
        var pages = 0
        var last: UInt64?
        for position in numbers.indices {
            let page = numbers[position] / LiveCountUpdate.countsPerPage
            if page == last { continue }
            last = page
            pages += 1
            if pages > limit { return position }
        }
        return numbers.endIndex
    }

    /// The numbers of `digests`, in their order; what the index never heard of gets one.
    func numbers(
        of digests: [Digest],
        _ transaction: borrowing Transaction
    ) throws -> [BlockNumber] {
        var numbers = [BlockNumber](repeating: 0, count: digests.count)
        var unknown: [Int] = []
        let order = rowOrder(of: digests)
        try transaction.withCursor(over: tables.digests) { cursor in
            for position in order {
                if let number = try number(of: digests[position], cursor, transaction) {
                    numbers[position] = number
                } else {
                    unknown.append(position)
                }
            }
        }
        guard !unknown.isEmpty else { return numbers }
        var adder = try Adder(self, transaction)
        var added: [Digest: BlockNumber] = [:]
        for position in unknown {
            let digest = digests[position]
            let number = try added[digest] ?? adder.add(digest, .missing, transaction)
            added[digest] = number
            numbers[position] = number
        }
        try adder.flush(transaction)
        return numbers
    }

    // MARK: Packs

    /// Enters a pack, all of whose blocks the index has.
    private func takeIn(
        _ pack: PackRecord,
        of repository: Repository,
        _ reader: PrefixReader
    ) throws {
        let table = try repository.readPackTable(pack.id, byteCount: pack.byteCount)
        var patches: [(digest: Digest, prefixes: [Digest]?)] = []
        var failed: [Place] = []
        var position = 0
        for frame in table.frames {
            if frame.header.kind.isPatch {
                let place = Place(pack: pack.number, frame: frame, slot: 0)
                let prefixes = try prefixes(of: place, reader)
                if prefixes == nil { failed.append(place) }
                patches.append((table.digests[position], prefixes))
            }
            position += frame.header.blockCount
        }
        try environment.write { transaction in
            let digests = Array(Set(table.digests)).sorted()
            let numbers = try self.numbers(of: digests, transaction)
            let heads = try self.numbers(of: patches.map(\.digest), transaction)
            var update = try LiveCountUpdate(self, transaction)
            try update.rearrange(numbers, transaction) { update in
                update.takeIn(PackTally(of: pack, blockCount: numbers.count))
                // Where a block is elsewhere too, it is expected there.
                for place in failed { try putFailure(of: place, transaction) }
                try update.keepPages(of: numbers.sorted(), transaction)
                for (patch, head) in zip(patches, heads) {
                    let prefixes =
                        try patch.prefixes.map { try self.numbers(of: $0, transaction) }
                        ?? [Self.unknownPrefix]
                    let different = Set(prefixes)
                    for prefix in different {
                        let row = PrefixRow(
                            pack: pack.number, prefix: prefix, count: UInt32(different.count))
                        try transaction.put(
                            prefixRow(row).rawSpan, in: tables.prefixes,
                            for: Key().appending(head))
                    }
                }
            }
            try update.flush(transaction)
        }
    }

    /// Stands for what a patch is a patch of whose frame cannot be read.
    private static let unknownPrefix = SpecialBlock.free

    private func prefixes(of place: Place, _ reader: PrefixReader) throws -> [Digest]? {
        do {
            return try reader(place)
        } catch let error as RepositoryError where error.kind == .damaged {
            return nil
        }
    }

    /// How many live patches cannot be read.
    private func countOfUnknown(_ transaction: borrowing Transaction) throws -> UInt16 {
        var update = try LiveCountUpdate(self, transaction)
        return try update.count(of: Self.unknownPrefix, transaction)
    }

    /// Drops packs that are about to be deleted: from the live counts, and as places of their blocks.
    package func retire(_ packs: [(tally: PackTally, table: PackTable)]) throws {
        try withUpdateLock {
            let retired = Set(packs.map(\.tally.number))
            do {
                try environment.write { transaction in
                    var update = try LiveCountUpdate(self, transaction)
                    var numbers: Set<BlockNumber> = []
                    for (_, table) in packs {
                        numbers.formUnion(try self.numbers(of: table.digests, transaction))
                    }
                    try update.rearrange(numbers.sorted(), transaction) { update in
                        for number in numbers {
                            try removePrefixes(of: number, in: retired, transaction)
                            try removePlaces(of: number, in: retired, transaction)
                        }
                        for (tally, _) in packs {
                            update.drop(tally.number)
                            try transaction.remove(
                                Key().appending(tally.number), from: tables.tallies)
                            try putPack(
                                PackRecord(
                                    number: tally.number, id: tally.id, byteCount: 0, isOwn: false),
                                transaction)
                        }
                    }
                    try update.flush(transaction)
                }
            } catch is LiveCountMismatch {
                throw RepositoryError(
                    .failed,
                    "the count of live blocks is inconsistent, and nothing more was deleted; run "
                        + "'varve prune --recount'")
            }
            for number in retired { forgetPack(number) }
        }
    }

    /// Forgets the places of a block in packs that go.
    private func removePlaces(
        of number: BlockNumber,
        in retired: Set<UInt32>,
        _ transaction: borrowing Transaction
    ) throws {
        let key = Key().appending(number)
        var rest: [Place] = []
        for place in try furtherPlaces(of: number, transaction) {
            if retired.contains(place.pack) {
                try transaction.remove(Self.row(of: place).rawSpan, for: key, from: tables.places)
            } else if pack(place.pack) != nil {
                rest.append(place)
            }
        }
        guard let first = try entry(of: number, transaction)?.place, retired.contains(first.pack)
        else { return }
        let next = rest.min { $0.depth < $1.depth }
        if let next {
            try transaction.remove(Self.row(of: next).rawSpan, for: key, from: tables.places)
        }
        try replacePlace(of: number, by: next ?? .missing, transaction)
    }

    /// Forgets what patches in packs that go are patches of.
    private func removePrefixes(
        of number: BlockNumber,
        in retired: Set<UInt32>,
        _ transaction: borrowing Transaction
    ) throws {
        for row in try prefixes(of: number, transaction) where retired.contains(row.pack) {
            try transaction.remove(
                prefixRow(row).rawSpan, for: Key().appending(number), from: tables.prefixes)
        }
    }
}
