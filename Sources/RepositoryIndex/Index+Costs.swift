internal import BlockModel
internal import LMDB
internal import RepositoryFormat
package import RepositoryModel

/// Costs of snapshots, by the shares that their blocks have in the frames of packs; what blocks are
/// patches of counts with them.
extension Index {
    /// What each of `snapshots` costs; all of the repository are to be given, hidden ones too.
    ///
    /// The live counts are up to date with the repository: they know what patches depend on.
    ///
    /// - Parameters:
    ///   - snapshots: their maps.
    ///   - isInterrupted: asked now and then; the work ends when it is true.
    /// - Returns: a cost for each, in order; nil when it was interrupted.
    /// - Throws: ``RepositoryError`` when the index does not fit together.
    package func costs(
        of snapshots: [SnapshotMap],
        isInterrupted: () -> Bool
    ) throws -> [SnapshotCost]? {
        let count = try environment.read { transaction in
            try transaction.value(in: tables.meta, for: Self.nextNumberKey) {
                try Self.number($0, as: UInt64.self)
            } ?? 0
        }
        // One snapshot, or several.
        var users = [UInt8](repeating: 0, count: Int(count))
        for snapshot in snapshots {
            if isInterrupted() { return nil }
            try forEachNeeded(by: snapshot, numberCount: count) { number, _ in
                users[Int(number)] = min(2, users[Int(number)] + 1)
            }
        }
        var costs: [SnapshotCost] = []
        for snapshot in snapshots {
            if isInterrupted() { return nil }
            var cost = SnapshotCost()
            try forEachNeeded(by: snapshot, numberCount: count) { number, share in
                cost.aloneByteCount += share
                if users[Int(number)] == 1 { cost.ownByteCount += share }
            }
            costs.append(cost)
        }
        return costs
    }

    /// Calls `body` once with each block that a snapshot needs, and its share of a pack.
    private func forEachNeeded(
        by snapshot: SnapshotMap,
        numberCount: UInt64,
        _ body: (BlockNumber, UInt64) -> Void
    ) throws {
        var seen = [UInt64](repeating: 0, count: Int(numberCount / 64) + 1)
        func isNew(_ number: BlockNumber) -> Bool {
            guard number >= SpecialBlock.firstDigest, number < numberCount else { return false }
            let bit = UInt64(1) << (number % 64)
            guard seen[Int(number / 64)] & bit == 0 else { return false }
            seen[Int(number / 64)] |= bit
            return true
        }
        for page in 0..<snapshot.pageCount {
            let found = try snapshot.numbers(ofPage: page)
            try environment.read { transaction in
                var pending = found.filter(isNew)
                while !pending.isEmpty {
                    var next: [BlockNumber] = []
                    try forEachEntry(of: pending.span, transaction) { position, _, place in
                        body(pending[position], Self.share(of: place))
                        guard place.kind.isPatch else { return }
                        for row in try prefixes(of: pending[position], transaction)
                        where row.pack == place.pack && isNew(row.prefix) {
                            next.append(row.prefix)
                        }
                    }
                    pending = next.sorted()
                }
            }
        }
    }
}
