internal import BlockModel
internal import LMDB
package import RepositoryFormat

/// What the live counts say of the blocks of one pack, and its rows of patches.
extension Index {
    /// What is to become of a block of a pack that goes.
    package struct CountedBlock {
        let number: BlockNumber
        package let isLive: Bool
        /// Its places in packs that stay.
        package let elsewhere: [Place]
        /// Its places in those that go, the shallowest first.
        package let excluded: [Place]
    }

    /// The blocks of a pack, in the order of its table; `excludingPacks` are the packs that go.
    ///
    /// Nothing is taken for dead that the index may have lost: each block has to be known, at this place,
    /// and counted.
    ///
    /// - Throws: ``RepositoryError`` where the index does not fit the pack.
    package func counted(
        _ table: PackTable,
        of tally: PackTally,
        excludingPacks: Set<UInt32>
    ) throws -> [CountedBlock] {
        let places = self.places(of: table, in: tally.number)
        do {
            return try counted(places, excludingPacks: excludingPacks)
        } catch is LiveCountMismatch {
            // Where the index stays open, the next prune counts everything again.
            try environment.write { try $0.remove(Self.liveCountsKey, from: tables.meta) }
            throw wrong("its entry for \(ObjectNames.pack(tally.id)) does not match the pack")
        }
    }

    private func counted(
        _ blocks: [(digest: Digest, place: Place)],
        excludingPacks: Set<UInt32>
    ) throws -> [CountedBlock] {
        try environment.read { transaction in
            var update = try LiveCountUpdate(self, transaction)
            // A table may name one block over and over: its places are looked up once.
            var known: [Digest: (block: CountedBlock, places: Set<Place>)] = [:]
            return try blocks.map { digest, place in
                let found =
                    try known[digest] ?? counted(digest, excludingPacks, &update, transaction)
                known[digest] = found
                guard found.places.contains(place) else { throw LiveCountMismatch() }
                return found.block
            }
        }
    }

    private func counted(
        _ digest: Digest,
        _ excludingPacks: Set<UInt32>,
        _ update: inout LiveCountUpdate,
        _ transaction: borrowing Transaction
    ) throws -> (block: CountedBlock, places: Set<Place>) {
        guard let number = try number(of: digest, transaction),
            let first = try entry(of: number, transaction)?.place
        else { throw LiveCountMismatch() }
        let places = try places(of: number, transaction)
        let block = CountedBlock(
            number: number,
            isLive: try update.certainCount(of: number, transaction) > 0,
            elsewhere: places.filter {
                !excludingPacks.contains($0.pack) && pack($0.pack)?.isBad($0) == false
            },
            excluded: places.filter { excludingPacks.contains($0.pack) })
        return (block, Set([first] + (try furtherPlaces(of: number, transaction))))
    }

    /// Bytes of a pack that a block accounts for: its share of the frame, and what the table has of it.
    static func share(of place: Place) -> UInt64 {
        UInt64(
            place.frameByteCount / max(1, Int(place.frameBlockCount)) + Digest.byteCount
                + FrameEntry.byteCount)
    }

    // MARK: Rows

    private static let prefixByteCount = 16

    func prefixRow(_ row: PrefixRow) -> [UInt8] {
        var writer = ByteWriter()
        writer.append(row.pack)
        writer.append(row.prefix)
        writer.append(row.count)
        writer.append(checksum(of: writer.bytes.rawSpan, key: 0))
        return writer.bytes
    }

    func prefixes(
        of number: BlockNumber,
        _ transaction: borrowing Transaction
    ) throws -> [PrefixRow] {
        try transaction.withCursor(over: tables.prefixes) { cursor in
            let lowest = [UInt8](repeating: 0, count: Self.prefixByteCount + 8)
            var found: [PrefixRow] = []
            var more = try cursor.seek(
                Key().appending(number), atLeast: lowest.rawSpan, prefix)
            while let row = more {
                found.append(row)
                more = try cursor.nextDuplicate { _, value in try self.prefix(value) }
            }
            return found
        }
    }

    private func prefix(_ row: RawSpan) throws -> PrefixRow {
        let end = Self.prefixByteCount
        guard row.byteCount == end + 8,
            row.littleEndian(at: end, as: UInt64.self)
                == checksum(of: row.extracting(0..<end), key: 0)
        else { throw LiveCountMismatch() }
        return PrefixRow(
            pack: row.littleEndian(at: 0, as: UInt32.self),
            prefix: row.littleEndian(at: 4, as: UInt64.self),
            count: row.littleEndian(at: 12, as: UInt32.self))
    }

    /// One of the blocks that a patch in a pack is a patch of.
    struct PrefixRow: Hashable {
        let pack: UInt32
        let prefix: BlockNumber
        /// How many the patch has: none of them may be missing.
        let count: UInt32
    }
}
