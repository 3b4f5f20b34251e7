internal import BlockModel
internal import DiskContents
package import FileModel
internal import Repository
package import RepositoryModel
internal import Serving

extension OpenRepository {
    /// The files that differ between two snapshots, found from the blocks that differ.
    ///
    /// - Throws: ``ContentsError`` when a snapshot has no file system that can be read, or the two have
    ///   different ones.
    package func fileDifference(
        _ older: SnapshotSelector,
        _ newer: SnapshotSelector,
        partition: Int?
    ) throws -> (older: Snapshot, newer: Snapshot, found: FileChanges) {
        var changed: [Range<UInt64>] = []
        let ends = try difference(older, newer) { extent in
            changed.append(extent.byteOffset..<extent.byteOffset + extent.byteCount)
        }
        let options = SnapshotReader.Options()
        let a = try open(
            SnapshotSelector(ends.older.id.hexadecimal), purpose: "diff", options: options)
        let b = try open(
            SnapshotSelector(ends.newer.id.hexadecimal), purpose: "diff", options: options)
        let (treeB, place) = try b.files(partition: partition)
        let (treeA, _) = try a.files(partition: partition ?? place.number)
        for (snapshot, tree) in [(a, treeA), (b, treeB)] where tree.system.needsRecovery {
            warnOfJournal(snapshot.title)
        }
        var difference = try FileDifference(
            from: Self.ext(treeA), to: Self.ext(treeB), changed: changed)
        return (a.snapshot, b.snapshot, try difference.find())
    }

    private static func ext(_ tree: FileTree) throws -> ExtFileSystem {
        guard let system = tree.system as? ExtFileSystem else {
            throw ContentsError(
                .unsuitable,
                "files can be compared on ext2, ext3 and ext4 only; 'varve find' and 'varve history' "
                    + "show changes here")
        }
        return system
    }
}
