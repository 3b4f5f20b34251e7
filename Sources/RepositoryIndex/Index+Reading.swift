package import BlockModel
internal import LMDB
internal import RepositoryFormat
internal import Synchronization

/// What a snapshot has in one page.
package struct PageBlocks: Sendable {
    package let numbers: [BlockNumber]
    /// The digest of a block of zeros where the number is none of a digest.
    package let digests: [Digest]

    package var blockCount: Int { numbers.count }

    package func isData(_ slot: Int) -> Bool { numbers[slot] >= SpecialBlock.firstDigest }
}

/// A digest that the index has a place for.
package struct KnownBlock: Hashable, Sendable {
    package let number: BlockNumber
    /// Whether this index saw one of its packs written; otherwise the block is to be proved first.
    package let isOwn: Bool
    /// Where one of those has it without the help of another block.
    package let plainPlace: Place?
}

/// What the engines ask; each answer is one short transaction.
extension Index {
    /// The page's fingerprints at the history's tip; nil when the index has none.
    package func tipPage(of history: HistoryNumber, page: UInt64) throws -> TipPage? {
        try environment.read { try tipPage(history, page: page, $0) }
    }

    /// Numbers and digests of the page at `generation`.
    package func blocks(
        of history: HistoryNumber,
        page: UInt64,
        generation: Generation,
        blockCount: Int,
        zeroDigest: Digest
    ) throws -> PageBlocks {
        var numbers = [BlockNumber](repeating: SpecialBlock.zero, count: blockCount)
        var digests = [Digest](repeating: zeroDigest, count: blockCount)
        guard blockCount > 0 else { return PageBlocks(numbers: [], digests: []) }
        try environment.read { transaction in
            try loadNumbers(
                history, page: page, generation: generation, into: &numbers, transaction)
            try forEachEntry(of: numbers.span, transaction) { slot, digest, _ in
                digests[slot] = digest
            }
        }
        return PageBlocks(numbers: numbers, digests: digests)
    }

    /// Numbers of the page at `generation`.
    package func numbers(
        of history: HistoryNumber,
        page: UInt64,
        generation: Generation,
        blockCount: Int
    ) throws -> [BlockNumber] {
        var numbers = [BlockNumber](repeating: SpecialBlock.zero, count: blockCount)
        guard blockCount > 0 else { return numbers }
        try environment.read { transaction in
            try loadNumbers(
                history, page: page, generation: generation, into: &numbers, transaction)
        }
        return numbers
    }

    /// Digests and first places of blocks, in the order of `numbers`, which are all of data.
    package func whereabouts(
        of numbers: [BlockNumber]
    ) throws -> (digests: [Digest], places: [Place?]) {
        var digests = [Digest](repeating: .zero, count: numbers.count)
        var places = [Place?](repeating: nil, count: numbers.count)
        try environment.read { transaction in
            try forEachEntry(of: numbers.span, transaction) { position, digest, place in
                digests[position] = digest
                places[position] = place
            }
        }
        return (digests, places)
    }

    /// Whether the page ever held anything but zeros.
    package func hasHistory(of history: HistoryNumber, page: UInt64) throws -> Bool {
        try environment.read { try hasHistory(history, page: page, $0) }
    }

    /// Where the blocks of a page are, for reading them in the order of their packs; nil for those
    /// that need none.
    package func firstPlaces(of blocks: PageBlocks) throws -> [Place?] {
        var places = [Place?](repeating: nil, count: blocks.blockCount)
        try environment.read { transaction in
            try forEachEntry(of: blocks.numbers.span, transaction) { slot, _, place in
                places[slot] = place
            }
        }
        return places
    }

    /// The block of `digest`, if a pack of the repository holds it.
    package func find(_ digest: Digest) throws -> KnownBlock? {
        try environment.read { transaction in
            guard let number = try number(of: digest, transaction) else { return nil }
            var known: KnownBlock?
            try forEachPlace(of: number, transaction) { place in
                let isOwn = isOwn(place)
                let isPlain = isOwn && place.depth == 0
                known = KnownBlock(
                    number: number, isOwn: isOwn || known?.isOwn == true,
                    plainPlace: isPlain ? place : nil)
                // No more is wanted: somebody may have written very many places.
                return !isPlain
            }
            return known
        }
    }

    /// The number of `digest`; nil where the index never heard of it.
    package func numberOf(_ digest: Digest) throws -> BlockNumber? {
        try environment.read { try number(of: digest, $0) }
    }

    /// Whether the index ever heard of `digest`, from a pack or a delta.
    package func hasNumber(_ digest: Digest) throws -> Bool {
        try environment.read { try number(of: digest, $0) != nil }
    }

    private func isOwn(_ place: Place) -> Bool {
        guard let pack = pack(place.pack) else { return false }
        return pack.isOwn && !pack.isBad(place)
    }

    /// How often a pack was found gone, a frame bad, or a delta to name blocks that no pack holds.
    ///
    /// What is in memory of packs and rot is at least as new as the count: what is found meanwhile
    /// counts as found later.
    package func lossCount() throws -> UInt64 {
        let count = try environment.read { try lossCount($0) }
        if count != badFrameState.withLock({ $0.lossCount }) { try loadPacks() }
        return count
    }

    func lossCount(_ transaction: borrowing Transaction) throws -> UInt64 {
        try transaction.value(in: tables.meta, for: Self.lossKey) {
            try Self.number($0, as: UInt64.self)
        } ?? 0
    }

    func noteLoss(_ transaction: borrowing Transaction) throws {
        var writer = ByteWriter()
        writer.append(try lossCount(transaction) + 1)
        try transaction.put(writer.bytes.rawSpan, in: tables.meta, for: Self.lossKey)
    }

    /// Blocks of a page whose bytes may be lost: no pack has their first place, it is bad, or
    /// they are patches.
    package func doubtfulSlots(
        of history: HistoryNumber,
        page: UInt64,
        generation: Generation,
        blockCount: Int
    ) throws -> [Int] {
        var numbers = [BlockNumber](repeating: SpecialBlock.zero, count: blockCount)
        var slots: [Int] = []
        try environment.read { transaction in
            try loadNumbers(
                history, page: page, generation: generation, into: &numbers, transaction)
            try forEachEntry(of: numbers.span, transaction) { slot, _, place in
                if place.depth > 0 || pack(place.pack)?.isBad(place) != false {
                    slots.append(slot)
                }
            }
        }
        return slots
    }

    /// All places of a number whose packs are in the repository, as ``places(of:_:)`` orders them.
    package func allPlaces(of number: BlockNumber) throws -> [Place] {
        try environment.read { try places(of: number, $0) }
    }

    // MARK: For the check

    /// Calls `missing` with those of `digests` that no pack holds.
    package func requireKnown(_ digests: [Digest], missing: (Digest) -> Void) throws {
        try environment.read { transaction in
            for digest in digests {
                guard let number = try number(of: digest, transaction),
                    try hasPlace(number, transaction)
                else {
                    missing(digest)
                    continue
                }
            }
        }
    }

    /// Digests that a delta names and no pack holds.
    package func digestsWithoutPlace(limit: Int) throws -> [Digest] {
        let suspects = try environment.read { transaction in
            try transaction.withCursor(over: tables.numbers) { cursor in
                var suspects: [(number: BlockNumber, digest: Digest)] = []
                var more: Void? = try cursor.first { suspects += self.withoutFirstPlace($0, $1) }
                while more != nil, suspects.count < limit {
                    more = try cursor.next { suspects += self.withoutFirstPlace($0, $1) }
                }
                return suspects
            }
        }
        return try environment.read { transaction in
            try suspects.filter { try !hasPlace($0.number, transaction) }.map(\.digest)
        }
    }

    /// Entries of a page of `numbers` whose first place is in no pack of the repository.
    ///
    /// With `isSound` also those whose first place is bad.
    func withoutFirstPlace(
        _ key: RawSpan,
        _ bytes: RawSpan,
        isSound: Bool = false
    ) -> [(number: BlockNumber, digest: Digest)] {
        guard key.byteCount == 8 else { return [] }
        let page = key.littleEndian(at: 0, as: UInt64.self).byteSwapped
        return (0..<bytes.byteCount / Self.entryByteCount).compactMap { slot in
            let number = page * UInt64(Self.entriesPerPage) + UInt64(slot)
            let offset = slot * Self.entryByteCount
            let place = Place(at: offset + Digest.byteCount, in: bytes)
            guard number >= SpecialBlock.firstDigest,
                pack(place.pack).map({ isSound && $0.isBad(place) }) ?? true
            else { return nil }
            return (number, bytes.digest(at: offset))
        }
    }

    /// Number of blocks with different digests.
    package var blockCount: Int {
        (try? environment.read { try $0.entryCount(of: tables.digests) }) ?? 0
    }

    /// Packs of the repository that the index knows.
    package var packCount: Int { knownPacks.count }
}
