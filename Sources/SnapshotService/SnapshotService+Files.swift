package import DiskContents
internal import Repository
package import RepositoryFormat
package import Serving

extension SnapshotReader: ImageBytes {}

extension OpenSnapshot {
    /// What libext2fs opens.
    private static let extTypes: Set<String> = ["ext2", "ext3", "ext4"]

    /// Where file systems lie on the snapshot.
    package func partitions() throws -> [Partition] {
        try PartitionTable(of: reader).partitions
    }

    /// What starts the system that is on the disk: UEFI where it has a partition for that.
    package func firmware() throws -> BootProof.Firmware {
        try partitions().contains(where: \.isUEFISystem) ? .uefi : .bios
    }

    /// The files of a partition: the one that has files which can be read, when none is named.
    ///
    /// - Throws: ``ContentsError`` when there is none, or more than one and none named.
    package func files(partition number: Int?) throws -> (tree: FileTree, partition: Partition) {
        let partitions = try partitions()
        let chosen: Partition
        if let number {
            guard let found = partitions.first(where: { $0.number == number }) else {
                throw ContentsError(
                    .missing, "\(title) has no partition \(number); \(Self.list(partitions))")
            }
            chosen = found
        } else {
            let readable = partitions.filter { Self.extTypes.contains($0.type) }
            guard readable.count < 2 else {
                throw ContentsError(
                    .unsuitable,
                    "\(title) has several file systems; name one with --partition: "
                        + Self.list(readable))
            }
            guard let found = readable.first ?? (partitions.count == 1 ? partitions.first : nil)
            else {
                throw ContentsError(
                    .unsuitable,
                    "\(title) has no file system that can be read here; \(Self.list(partitions)); "
                        + "'varve export' serves it to what can")
            }
            chosen = found
        }
        guard Self.extTypes.contains(chosen.type) else {
            let type = chosen.type.isEmpty ? "nothing that is known" : chosen.type
            throw ContentsError(
                .unsuitable,
                "\(Self.name(of: chosen)) of \(title) holds \(type), and only ext2, ext3 and ext4 can be "
                    + "read here; 'varve export' serves it to what can mount it")
        }
        return (try FileTree(ExtFileSystem(on: reader, chosen.bytes)), chosen)
    }

    private static func name(of partition: Partition) -> String {
        partition.number.map { "partition \($0)" } ?? "the disk"
    }

    private static func list(_ partitions: [Partition]) -> String {
        guard !partitions.isEmpty else { return "it has no partitions" }
        return "it has "
            + partitions.map { partition in
                let mebibytes = partition.bytes.count >> 20
                let type = partition.type.isEmpty ? "unknown" : partition.type
                return "\(name(of: partition)) (\(type), \(mebibytes) MiB)"
            }.joined(separator: ", ")
    }
}

/// A file of a snapshot, as commands name it: `SNAPSHOT:/path`, or the snapshot alone for its root.
package struct FileSelector: Hashable, Sendable {
    package let snapshot: SnapshotSelector
    package let path: String

    /// - Throws: ``ServiceError`` of kind `usage`.
    package init(_ text: String) throws {
        // A moment has colons too, and no slash behind them.
        guard let range = text.firstRange(of: ":/") else {
            snapshot = try SnapshotSelector(text)
            path = "/"
            return
        }
        snapshot = try SnapshotSelector(String(text[..<range.lowerBound]))
        path = String(text[text.index(after: range.lowerBound)...])
    }
}
