package import BlockModel
internal import LMDB
internal import Repository
package import RepositoryFormat
package import RepositoryModel

/// The leaf of a page in the image digest.
package struct PageLeaf: Hashable, Sendable {
    package let digest: Digest
    /// Whether the page is nothing but zeros; nil where the row is of a version that did not say.
    package let isZero: Bool?

    package init(_ digest: Digest, isZero: Bool?) {
        self.digest = digest
        self.isZero = isZero
    }
}

/// What a capture takes from the index is proved before it is relied on.
///
/// LMDB takes its file for whole, and a seal shows only that a row was written once. A write that the
/// disk lost leaves an older page, whose rows all have good seals. The repository says which image digest
/// a snapshot has, so the leaves that give it are right; and what gives a leaf is right as well.
extension Index {
    /// The leaves of a snapshot at the tip of a history, in page order, proved by its image digest.
    ///
    /// Costs a look-up and about 40 bytes for each 4,096 blocks. An index that was built from the
    /// repository by this process is taken as it is: what does not fit then is the snapshot.
    ///
    /// - Throws: ``RepositoryError`` of kind `index` when they are not its leaves.
    package func provedLeaves(
        of history: History,
        at snapshot: Snapshot,
        _ tree: ImageDigestTree
    ) throws -> [PageLeaf] {
        let facts = snapshot.facts
        guard history.tip == snapshot.id, history.tipByteCount == facts.byteCount else {
            throw wrong("the history of a volume is at a different snapshot than recorded")
        }
        let leaves = try pageLeaves(history.number, byteCount: facts.byteCount)
        guard isNew || gives(leaves, facts.imageDigest, facts.byteCount, tree) else {
            throw wrong("the leaves of snapshot \(snapshot.id.short) do not match its image digest")
        }
        return leaves
    }

    /// Whether the leaves of a history are those of the snapshot that a delta leads to.
    func hasLeaves(of delta: KnownDelta, on history: HistoryNumber, _ tree: ImageDigestTree) -> Bool
    {
        let byteCount = delta.head.toByteCount
        guard let leaves = try? pageLeaves(history, byteCount: byteCount) else { return false }
        return gives(leaves, delta.head.facts.imageDigest, byteCount, tree)
    }

    private func gives(
        _ leaves: [PageLeaf],
        _ imageDigest: Digest,
        _ byteCount: UInt64,
        _ tree: ImageDigestTree
    ) -> Bool {
        tree.root(leaves: leaves.map(\.digest), byteCount: byteCount, blockSize: blockSize)
            == imageDigest
    }

    func pageLeaves(_ history: HistoryNumber, byteCount: UInt64) throws -> [PageLeaf] {
        let blocks = blockSize.blockCount(coveringByteCount: byteCount)
        return try environment.read { transaction in
            try (0..<Page.count(forBlockCount: blocks)).map { page in
                guard let leaf = try leaf(history, page: page, transaction) else {
                    throw Self.broken("a leaf of the image digest is missing")
                }
                return leaf
            }
        }
    }
}
