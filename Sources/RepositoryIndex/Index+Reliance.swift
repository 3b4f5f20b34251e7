package import BlockModel
internal import LMDB
package import Repository
internal import RepositoryFormat

/// What the deletion of packs relies on, and places that failed when that was proved.
///
/// That a pack holds a block is a claim of its table, which may be forged or older than the rot of its
/// frames. The live counts believe it as long as nothing goes for it: what a patch is a patch of dies
/// where the block is expected in full elsewhere, but is deleted only when it was proved to be there.
///
/// `failures` has a key of 8 bytes for each frame that failed: the pack's number and the frame's offset.
extension Index {
    /// A block that lives, and one of whose places is of no use when packs go.
    package struct Reliance {
        package let number: BlockNumber
        package let digest: Digest
        /// Where it is expected instead: one of these has to give it.
        package let places: [Place]
    }

    /// Blocks that live and for whose sake what they are patches of elsewhere counts as dead, where that
    /// would go with packs.
    ///
    /// Only what has several places can be such a block.
    ///
    /// - Parameters:
    ///   - excludingPacks: numbers of the packs that go.
    ///   - start: blocks with smaller numbers are passed over.
    ///   - limit: as many are given at once.
    /// - Returns: the blocks, and where to go on; nil when there are no more.
    /// - Throws: ``RepositoryError`` of kind `index` if the live counts are inconsistent.
    package func reliances(
        onPacks excludingPacks: Set<UInt32>,
        from start: BlockNumber,
        limit: Int
    ) throws -> (found: [Reliance], next: BlockNumber?) {
        do {
            return try environment.read { transaction in
                var update = try LiveCountUpdate(self, transaction)
                var departure = Departure(index: self, excludingPacks: excludingPacks)
                var found: [Reliance] = []
                var last: BlockNumber?
                let next = try transaction.withCursor(over: tables.places) { cursor in
                    var more = try cursor.seek(atLeast: Key().appending(start)) { key, _ in
                        try Self.blockNumber(key)
                    }
                    while let number = more {
                        if number != last {
                            if found.count == limit { return Optional(number) }
                            last = number
                            if let reliance = try reliance(
                                of: number, &departure, &update, transaction)
                            {
                                found.append(reliance)
                            }
                        }
                        more = try cursor.next { key, _ in try Self.blockNumber(key) }
                    }
                    return nil
                }
                return (found, next)
            }
        } catch is LiveCountMismatch {
            try environment.write { try $0.remove(Self.liveCountsKey, from: tables.meta) }
            throw wrong("its count of live blocks differs from what was written")
        }
    }

    private static func blockNumber(_ key: RawSpan) throws -> BlockNumber {
        try require(8, of: key)
        return key.littleEndian(at: 0, as: UInt64.self).byteSwapped
    }

    private func reliance(
        of number: BlockNumber,
        _ departure: inout Departure,
        _ update: inout LiveCountUpdate,
        _ transaction: borrowing Transaction
    ) throws -> Reliance? {
        guard try update.count(of: number, transaction) > 0 else { return nil }
        let places = try update.talliedPlaces(of: number, transaction)
        let relied = try update.reliedPlaces(places, transaction)
        guard relied.count < places.count else { return nil }
        let expected = Set(relied)
        let patches = places.filter { $0.depth > 0 && !expected.contains($0) }
        guard !patches.isEmpty,
            try departure.hits(patches, of: number, &update, transaction),
            let digest = try entry(of: number, transaction)?.digest
        else { return nil }
        return Reliance(number: number, digest: digest, places: relied)
    }

    /// Tells what goes with packs, through however many patches.
    private struct Departure {
        private struct Visit: Hashable {
            let number: BlockNumber
            let depth: UInt8
        }

        let index: Index
        let excludingPacks: Set<UInt32>
        private var known: [Visit: Bool] = [:]
        private static let knownLimit = 1 << 19

        init(index: Index, excludingPacks: Set<UInt32>) {
            self.index = index
            self.excludingPacks = excludingPacks
        }

        /// Whether what a block is a patch of at any of these places goes.
        mutating func hits(
            _ patches: [Place],
            of number: BlockNumber,
            _ update: inout LiveCountUpdate,
            _ transaction: borrowing Transaction
        ) throws -> Bool {
            let rows = Dictionary(
                grouping: try index.prefixes(of: number, transaction), by: \.pack)
            for place in patches {
                for row in rows[place.pack] ?? []
                where try takes(row.prefix, below: place.depth, &update, transaction) {
                    return true
                }
            }
            return false
        }

        /// Whether a dead block, or what it is a patch of, goes.
        ///
        /// Places that a patch of that depth cannot use do not matter. So this ends after as many hops as
        /// patches may have.
        private mutating func takes(
            _ number: BlockNumber,
            below depth: UInt8,
            _ update: inout LiveCountUpdate,
            _ transaction: borrowing Transaction
        ) throws -> Bool {
            // What cannot be told may be anything.
            guard number >= SpecialBlock.firstDigest else { return true }
            guard try update.count(of: number, transaction) == 0 else { return false }
            let visit = Visit(number: number, depth: depth)
            if let answer = known[visit] { return answer }
            let places = try update.talliedPlaces(of: number, transaction).filter {
                $0.depth < depth
            }
            let answer =
                try places.contains { excludingPacks.contains($0.pack) }
                || hits(places.filter { $0.depth > 0 }, of: number, &update, transaction)
            if known.count >= Self.knownLimit { known.removeAll(keepingCapacity: true) }
            known[visit] = answer
            return answer
        }
    }

    // MARK: Places that failed

    /// Expects blocks at these places no more where they have others; everything in the frames of these
    /// counts as failed.
    package func leaveOut(_ places: [Place], of repository: Repository) throws {
        try withUpdateLock {
            for (number, failed) in Dictionary(grouping: places, by: \.pack) {
                guard let record = pack(number) else { continue }
                let table = try repository.readPackTable(record.id, byteCount: record.byteCount)
                let offsets = Set(failed.map(\.byteOffset))
                var digests: Set<Digest> = []
                var position = 0
                for frame in table.frames {
                    let slots = position..<position + frame.header.blockCount
                    position = slots.upperBound
                    if offsets.contains(frame.byteOffset) {
                        digests.formUnion(table.digests[slots])
                    }
                }
                try environment.write { transaction in
                    let numbers = try self.numbers(of: digests.sorted(), transaction)
                    var update = try LiveCountUpdate(self, transaction)
                    try update.rearrange(numbers, transaction) { _ in
                        for place in failed { try putFailure(of: place, transaction) }
                    }
                    try update.flush(transaction)
                }
            }
        }
    }

    func putFailure(of place: Place, _ transaction: borrowing Transaction) throws {
        try transaction.put([1].rawSpan, in: tables.failures, for: Self.failureKey(place))
    }

    func hasFailed(_ place: Place, _ transaction: borrowing Transaction) throws -> Bool {
        try transaction.contains(Self.failureKey(place), in: tables.failures)
    }

    private static func failureKey(_ place: Place) -> Key {
        Key().appending(place.pack).appending(place.byteOffset)
    }
}
