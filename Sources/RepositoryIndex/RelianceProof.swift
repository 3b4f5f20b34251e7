package import BlockModel
package import Repository
internal import RepositoryFormat
internal import Synchronization

/// Blocks that are not stored because the index says that a pack has them, to be proved before anything
/// names them: their packs' tables, read from the repository, must say the same.
///
/// Shared by threads. Claims are proved together, those of a pack with one reading of its table.
package final class RelianceProof: Sendable {
    private struct Claim {
        let digest: Digest
        let place: Place
    }

    /// Claims that wait: 48 bytes each.
    private static let claimLimit = 1 << 15

    private let repository: Repository
    private let index: Index
    private let waiting = Mutex<[Claim]>([])
    /// Tables that were read, so that each is read once as a rule.
    private let known = Mutex<(tables: [UInt32: PackTable], digestCount: Int)>(([:], 0))
    /// Digests of tables that are kept: 32 bytes each.
    private static let keptDigestLimit = 1 << 19

    package init(repository: Repository, index: Index) {
        self.repository = repository
        self.index = index
    }

    /// Takes note that `digest` is relied on at a place that nobody read.
    ///
    /// - Throws: ``RepositoryError`` of kind `index` when that, or an earlier claim, is not so.
    package func add(_ digest: Digest, at place: Place) throws {
        let claims = waiting.withLock { waiting -> [Claim] in
            waiting.append(Claim(digest: digest, place: place))
            guard waiting.count >= Self.claimLimit else { return [] }
            defer { waiting.removeAll() }
            return waiting
        }
        try prove(claims)
    }

    /// Proves what is still waiting; to be done before the delta is written.
    ///
    /// - Throws: ``RepositoryError`` of kind `index` when a claim is not so.
    package func finish() throws {
        let claims = waiting.withLock { waiting -> [Claim] in
            defer { waiting.removeAll() }
            return waiting
        }
        try prove(claims)
    }

    private func prove(_ claims: [Claim]) throws {
        for (number, claims) in Dictionary(grouping: claims, by: \.place.pack) {
            guard let pack = index.pack(number) else {
                throw index.wrong("a pack that holds blocks is gone")
            }
            let table: PackTable
            do {
                table = try self.table(of: pack)
            } catch let error as RepositoryError where error.kind == .damaged {
                // A new index leaves such a pack out, and its blocks are stored again.
                throw index.wrong(error.cause)
            }
            guard Self.proves(table, claims) else {
                throw index.wrong(
                    "\(ObjectNames.pack(pack.id)) lacks blocks that it should hold")
            }
        }
    }

    private func table(of pack: PackRecord) throws -> PackTable {
        if let table = known.withLock({ $0.tables[pack.number] }) { return table }
        let table = try repository.readPackTable(pack.id, byteCount: pack.byteCount)
        known.withLock { known in
            if known.digestCount + table.digests.count > Self.keptDigestLimit { known = ([:], 0) }
            known.tables[pack.number] = table
            known.digestCount += table.digests.count
        }
        return table
    }

    private static func proves(_ table: PackTable, _ claims: [Claim]) -> Bool {
        var first: [UInt32: (digest: Int, frame: FrameEntry)] = [:]
        var position = 0
        for frame in table.frames {
            first[frame.byteOffset] = (position, frame)
            position += frame.header.blockCount
        }
        return claims.allSatisfy { claim in
            guard let (digest, frame) = first[claim.place.byteOffset],
                claim.place.slot < frame.header.blockCount, !frame.header.kind.isPatch
            else { return false }
            return table.digests[digest + Int(claim.place.slot)] == claim.digest
        }
    }
}
