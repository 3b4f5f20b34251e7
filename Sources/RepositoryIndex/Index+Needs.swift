package import BlockModel
internal import LMDB

/// Blocks that are needed and that no pack gives, as far as the live counts know.
extension Index {
    /// How many there are: kept with the live counts, so asking costs nothing.
    package func placelessCount() throws -> UInt64 {
        try environment.read { transaction in
            try transaction.value(in: tables.meta, for: Self.placelessKey) {
                try Self.number($0, as: UInt64.self)
            } ?? 0
        }
    }

    /// Their digests, the first `limit` of them; the places of all blocks are looked at.
    ///
    /// - Parameters:
    ///   - limit: digests that are wanted at most.
    ///   - isSound: whether a place in a frame that is known to be bad is none.
    /// - Returns: the digests.
    /// - Throws: where the index does not fit together.
    package func neededWithoutPlace(limit: Int, isSound: Bool = false) throws -> Set<Digest> {
        try environment.read { transaction in
            var update = try LiveCountUpdate(self, transaction)
            var digests: Set<Digest> = []
            try transaction.withCursor(over: tables.numbers) { cursor in
                var more = try cursor.first {
                    self.withoutFirstPlace($0, $1, isSound: isSound)
                }
                while let suspects = more, digests.count < limit {
                    for (number, digest) in suspects
                    where try isNeeded(number, &update, isSound: isSound, transaction) {
                        digests.insert(digest)
                    }
                    more = try cursor.next { self.withoutFirstPlace($0, $1, isSound: isSound) }
                }
            }
            return digests
        }
    }

    /// The number of a block, where it is needed.
    package func needed(_ digest: Digest) throws -> BlockNumber? {
        try environment.read { transaction in
            guard let number = try number(of: digest, transaction) else { return nil }
            var update = try LiveCountUpdate(self, transaction)
            return try update.count(of: number, transaction) > 0 ? number : nil
        }
    }

    /// Whether a block is needed and has no place.
    private func isNeeded(
        _ number: BlockNumber,
        _ update: inout LiveCountUpdate,
        isSound: Bool,
        _ transaction: borrowing Transaction
    ) throws -> Bool {
        guard try update.count(of: number, transaction) > 0 else { return false }
        var isThere = false
        try forEachPlace(of: number, transaction) { place in
            isThere = !isSound || pack(place.pack)?.isBad(place) == false
            return !isThere
        }
        return !isThere
    }
}
