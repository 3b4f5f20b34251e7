package import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import Packs
package import Repository
internal import RepositoryFormat
internal import RepositoryIndex
package import RepositoryModel

/// What one reading called lost is read again before anything is said of it for good: a bit that flips in
/// memory, or in the cache of the system, is no damage of the repository.
extension Repository {
    /// Those of `lost` that a second reading gives after all.
    ///
    /// The packs that failed are dropped from the system's cache first, and an index of its own says where
    /// blocks are.
    ///
    /// - Parameters:
    ///   - lost: digests that nothing gave.
    ///   - evidence: which packs and frames failed.
    /// - Returns: digests of blocks that were read and proved.
    /// - Throws: what the store throws, and when there is no place for the index.
    package func secondLook(
        at lost: Set<Digest>,
        _ evidence: PackEvidence
    ) throws -> Set<Digest> {
        guard !lost.isEmpty else { return [] }
        let failed = Set(evidence.unreadable + evidence.badFrames.map(\.pack))
        for pack in failed { store.dropCached(ObjectNames.pack(pack)) }
        let index = try Index(transientOf: self)
        try index.synchronizePacks(with: self)
        // What can be read of a bad frame is no proof that it is not bad.
        let reader = try BlockReader(repository: self, index: index, readsWholeFrames: true)
        let plain = try AlignedBuffer(byteCount: blockSize.byteCount)
        return try lost.filter { digest in
            guard let number = try index.numberOf(digest) else { return false }
            let isRead: Void? = try? plain.withMutableBytes {
                try reader.read(number, digest: digest, into: &$0)
            }
            return isRead != nil
        }
    }

    /// Takes back what was said of snapshots that lack nothing any more.
    ///
    /// - Parameters:
    ///   - lacks: what ``lacks(of:in:)`` gave, of all blocks that are lost.
    ///   - timeline: the volume.
    ///   - time: now.
    ///   - identifiers: gives ids of notes.
    /// - Returns: how many snapshots that were.
    /// - Throws: what the store throws.
    package func takeBackLacks(
        besides lacks: [SnapshotID: UInt64],
        in timeline: Timeline,
        time: Timestamp,
        identifiers: any IdentifierSource
    ) throws -> Int {
        let standings = try standings(of: timeline.volume)
        var count = 0
        for snapshot in timeline.snapshots + timeline.forgotten where lacks[snapshot.id] == nil {
            guard let standing = standings[snapshot.id], standing.lackingBlockCount != nil else {
                continue
            }
            try takeBackLack(
                standing, on: snapshot.id, of: timeline.volume, time: time,
                identifiers: identifiers)
            count += 1
        }
        return count
    }
}
