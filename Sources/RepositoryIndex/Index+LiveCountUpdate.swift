internal import BlockModel
internal import LMDB
internal import RepositoryFormat

extension Index {
    /// Thrown if the live counts are inconsistent.
    struct LiveCountMismatch: Error, CustomStringConvertible {
        var description: String {
            "the count of live blocks in the index is inconsistent; run 'varve index rebuild', "
                + "which loses nothing"
        }
    }

    /// Changes to the live counts within one transaction.
    struct LiveCountUpdate {
        /// With the page's checksum they fill one page of LMDB.
        static let countsPerPage: UInt64 = 2036

        private let index: Index
        private var hasFurtherPlaces: Bool
        private var hasFailures: Bool
        private var pages: [UInt64: [UInt16]] = [:]
        private var changedPages: Set<UInt64> = []
        private var tallies: [UInt32: PackTally?] = [:]
        /// Blocks whose count is still to be changed, because something that needs them lives or died.
        private var pending: [(number: BlockNumber, change: Int)] = []
        /// By how much there are more blocks that live and are nowhere.
        private var placelessChange = 0

        init(_ index: Index, _ transaction: borrowing Transaction) throws {
            self.index = index
            hasFurtherPlaces = try transaction.entryCount(of: index.tables.places) > 0
            hasFailures = try transaction.entryCount(of: index.tables.failures) > 0
        }

        mutating func count(
            of number: BlockNumber,
            _ transaction: borrowing Transaction
        ) throws -> UInt16 {
            let page = number / Self.countsPerPage
            if pages[page] == nil {
                pages[page] =
                    try storedCounts(page, transaction)
                    ?? [UInt16](repeating: 0, count: Int(Self.countsPerPage))
            }
            return pages[page]?[Int(number % Self.countsPerPage)] ?? 0
        }

        /// The same of a block of a pack that was taken in, whose page has to be there: what a damaged
        /// index lacks must not look as if nobody needed it.
        mutating func certainCount(
            of number: BlockNumber,
            _ transaction: borrowing Transaction
        ) throws -> UInt16 {
            let page = number / Self.countsPerPage
            if pages[page] == nil, try storedCounts(page, transaction) == nil {
                throw LiveCountMismatch()
            }
            return try count(of: number, transaction)
        }

        private func storedCounts(
            _ page: UInt64,
            _ transaction: borrowing Transaction
        ) throws -> [UInt16]? {
            try transaction.value(in: index.tables.uses, for: Key().appending(page)) { bytes in
                let end = 2 * Int(Self.countsPerPage)
                guard bytes.byteCount == end + 8,
                    bytes.littleEndian(at: end, as: UInt64.self)
                        == index.checksum(of: bytes.extracting(0..<end), key: page)
                else { throw LiveCountMismatch() }
                var counts = [UInt16](repeating: 0, count: Int(Self.countsPerPage))
                for slot in counts.indices {
                    counts[slot] = bytes.littleEndian(at: 2 * slot, as: UInt16.self)
                }
                return counts
            }
        }

        /// Lets the pages of blocks be stored, whether anybody needs these or not.
        mutating func keepPages(
            of numbers: [BlockNumber],
            _ transaction: borrowing Transaction
        ) throws {
            var last: UInt64?
            for number in numbers {
                let page = number / Self.countsPerPage
                if page == last { continue }
                last = page
                _ = try count(of: number, transaction)
                if !changedPages.contains(page),
                    try !transaction.contains(Key().appending(page), in: index.tables.uses)
                {
                    changedPages.insert(page)
                }
            }
        }

        /// Counts each of the sorted `numbers` by `change`.
        mutating func change(
            _ numbers: ArraySlice<BlockNumber>,
            by change: Int,
            _ transaction: borrowing Transaction
        ) throws {
            var position = numbers.startIndex
            while position < numbers.endIndex {
                let number = numbers[position]
                var end = position + 1
                while end < numbers.endIndex, numbers[end] == number { end += 1 }
                pending.append((number, change * (end - position)))
                try settle(transaction)
                position = end
            }
        }

        private mutating func settle(_ transaction: borrowing Transaction) throws {
            while let (number, change) = pending.popLast() {
                let old = Int(try count(of: number, transaction))
                if old == Int(UInt16.max) { continue }
                let new = old + change
                guard new >= 0 else { throw LiveCountMismatch() }
                let page = number / Self.countsPerPage
                pages[page]?[Int(number % Self.countsPerPage)] = UInt16(clamping: new)
                changedPages.insert(page)
                if (old == 0) != (new == 0) {
                    try turn(number, by: new == 0 ? -1 : 1, transaction)
                }
            }
        }

        /// Tells the packs of a block, and what it is a patch of, that it lives or died.
        private mutating func turn(
            _ number: BlockNumber,
            by sign: Int,
            _ transaction: borrowing Transaction
        ) throws {
            let places = try talliedPlaces(of: number, transaction)
            try tell(places, of: number, by: sign, transaction)
            for prefix in try needs(of: number, at: places, transaction) {
                pending.append((prefix, sign))
            }
        }

        private mutating func tell(
            _ places: [Place],
            of number: BlockNumber,
            by sign: Int,
            _ transaction: borrowing Transaction
        ) throws {
            if places.isEmpty, number >= SpecialBlock.firstDigest { placelessChange += sign }
            for place in Self.shallowestOfPacks(places) { try tell(place, by: sign, transaction) }
        }

        /// Where the block is, in packs that have a tally.
        mutating func talliedPlaces(
            of number: BlockNumber,
            _ transaction: borrowing Transaction
        ) throws -> [Place] {
            guard let first = try index.entry(of: number, transaction)?.place else { return [] }
            var places: [Place] = []
            if try tally(of: first.pack, transaction) != nil { places.append(first) }
            guard hasFurtherPlaces else { return places }
            for place in try index.furtherPlaces(of: number, transaction)
            where try tally(of: place.pack, transaction) != nil {
                places.append(place)
            }
            return places
        }

        /// In each pack the shallowest place.
        private static func shallowestOfPacks(_ places: [Place]) -> [Place] {
            guard places.count > 1 else { return places }
            var shallowest: [UInt32: Place] = [:]
            for place in places {
                if let known = shallowest[place.pack],
                    (known.depth, known.byteOffset, known.slot)
                        <= (place.depth, place.byteOffset, place.slot)
                {
                    continue
                }
                shallowest[place.pack] = place
            }
            return Array(shallowest.values)
        }

        /// The places that the block is expected from: those where it is patched least, of those that did
        /// not fail; all of them where every one did.
        func reliedPlaces(
            _ places: [Place],
            _ transaction: borrowing Transaction
        ) throws -> [Place] {
            var sound = places
            if hasFailures {
                sound = []
                for place in places where try !index.hasFailed(place, transaction) {
                    sound.append(place)
                }
            }
            guard let depth = sound.map(\.depth).min() else { return places }
            return sound.filter { $0.depth == depth }
        }

        /// What the block is a patch of where it is expected; nothing where that is a place in full.
        ///
        /// A shallow place needs shallower ones, so that no two blocks keep each other alive.
        private func needs(
            of number: BlockNumber,
            at places: [Place],
            _ transaction: borrowing Transaction
        ) throws -> [BlockNumber] {
            let packs = Set(
                try reliedPlaces(places, transaction).filter { $0.depth > 0 }.map(\.pack))
            guard !packs.isEmpty else { return [] }
            let rows = Dictionary(
                grouping: try index.prefixes(of: number, transaction), by: \.pack)
            return try packs.sorted().flatMap { pack in
                // What a damaged index lacks must not look as if nothing were needed.
                guard let rows = rows[pack], rows.count >= rows[0].count else {
                    throw LiveCountMismatch()
                }
                return rows.map(\.prefix)
            }
        }

        /// Runs `body`, which changes where the blocks `numbers` are, and counts again what they need.
        mutating func rearrange(
            _ numbers: [BlockNumber],
            _ transaction: borrowing Transaction,
            _ body: (inout LiveCountUpdate) throws -> Void
        ) throws {
            var live: [BlockNumber] = []
            for number in numbers where try count(of: number, transaction) > 0 {
                live.append(number)
            }
            for number in live {
                let places = try talliedPlaces(of: number, transaction)
                try tell(places, of: number, by: -1, transaction)
                for prefix in try needs(of: number, at: places, transaction) {
                    pending.append((prefix, -1))
                }
            }
            try body(&self)
            hasFurtherPlaces = try transaction.entryCount(of: index.tables.places) > 0
            hasFailures = try transaction.entryCount(of: index.tables.failures) > 0
            // These are taken up first: what is needed as before does not die in between.
            for number in live {
                let places = try talliedPlaces(of: number, transaction)
                try tell(places, of: number, by: 1, transaction)
                for prefix in try needs(of: number, at: places, transaction) {
                    pending.append((prefix, 1))
                }
            }
            try settle(transaction)
        }

        private mutating func tally(
            of pack: UInt32,
            _ transaction: borrowing Transaction
        ) throws -> PackTally? {
            if let known = tallies[pack] { return known }
            let record = index.pack(pack)
            let found = try transaction.value(
                in: index.tables.tallies, for: Key().appending(pack)
            ) { value in record.flatMap { index.tally(of: $0, value) } }
            tallies[pack] = .some(found ?? nil)
            return found ?? nil
        }

        private mutating func tell(
            _ place: Place,
            by sign: Int,
            _ transaction: borrowing Transaction
        ) throws {
            guard var tally = try tally(of: place.pack, transaction) else { return }
            let share = Index.share(of: place)
            if sign > 0 {
                tally.liveBlockCount += 1
                tally.liveByteCount += share
            } else {
                guard tally.liveBlockCount > 0, tally.liveByteCount >= share else {
                    throw LiveCountMismatch()
                }
                tally.liveBlockCount -= 1
                tally.liveByteCount -= share
            }
            tallies[place.pack] = tally
        }

        /// Enters a pack of which nothing lives yet.
        mutating func takeIn(_ tally: PackTally) { tallies[tally.number] = tally }

        /// Leaves a pack out from now on.
        mutating func drop(_ pack: UInt32) { tallies[pack] = .some(nil) }

        func flush(_ transaction: borrowing Transaction) throws {
            for page in changedPages.sorted() {
                var writer = ByteWriter(reserving: 2 * Int(Self.countsPerPage) + 8)
                for count in pages[page] ?? [] { writer.append(count) }
                writer.append(index.checksum(of: writer.bytes.rawSpan, key: page))
                try transaction.put(
                    writer.bytes.rawSpan, in: index.tables.uses, for: Key().appending(page))
            }
            if placelessChange != 0 {
                let old =
                    try transaction.value(in: index.tables.meta, for: Index.placelessKey) {
                        try Index.number($0, as: UInt64.self)
                    } ?? 0
                let new = Int64(clamping: old) + Int64(placelessChange)
                guard new >= 0 else { throw LiveCountMismatch() }
                var writer = ByteWriter()
                writer.append(UInt64(new))
                try transaction.put(
                    writer.bytes.rawSpan, in: index.tables.meta, for: Index.placelessKey)
            }
            for (pack, tally) in tallies {
                guard let tally else { continue }
                var writer = ByteWriter()
                writer.append(tally.encoded())
                writer.append(index.checksum(of: writer.bytes.rawSpan, key: UInt64(pack)))
                try transaction.put(
                    writer.bytes.rawSpan, in: index.tables.tallies, for: Key().appending(pack))
            }
        }
    }
}
