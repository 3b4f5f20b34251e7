package import BlockModel
package import DiskContents
internal import Logging
internal import Repository
internal import RepositoryFormat
package import RepositoryModel
package import Serving

extension SnapshotReader: ImageBytes {}

extension OpenSnapshot {
    /// What starts the system that is on the disk: UEFI where it has a partition for that.
    package func firmware() throws -> BootProof.Firmware {
        try PartitionTable(of: reader, sectorByteCount: reader.sectorByteCount)
            .partitions.contains(where: \.isUEFISystem) ? .uefi : .bios
    }

    /// The files of a partition: the one that has files which can be read, when none is named.
    ///
    /// - Throws: ``ContentsError`` when there is none, or more than one and none named.
    package func files(partition number: Int?) throws -> (tree: FileTree, partition: Partition) {
        let chosen = try FileSystemChoice(reader, title: title)
            .partition(number, of: FileSystemChoice.readableTypes)
        return (FileTree(try FileSystemChoice.open(chosen, of: reader)), chosen)
    }
}

extension OpenRepository {
    /// Says that what a journal holds is not in its place.
    package func warnOfJournal(_ title: String) {
        logger.warning(
            """
            the file system of \(title) was in use when it was captured, and its journal is not \
            replayed: the latest writes may be missing
            """)
    }
}

/// Chooses the file system of an image that is meant.
struct FileSystemChoice {
    /// What is read without the kernel.
    static let readableTypes = ExtFileSystem.types.union(ConfinedFileSystem.types)

    private let partitions: [Partition]
    private let title: String

    init(_ reader: SnapshotReader, title: String) throws {
        self.init(
            try PartitionTable(of: reader, sectorByteCount: reader.sectorByteCount).partitions,
            title: title)
    }

    init(_ partitions: [Partition], title: String) {
        self.partitions = partitions
        self.title = title
    }

    /// Opens what lies on a partition, which is of a type that can be read.
    static func open(_ partition: Partition, of image: any ImageBytes) throws -> any FileSystem {
        guard ExtFileSystem.types.contains(partition.type) else {
            return try ConfinedFileSystem(
                on: image, partition.bytes, type: partition.type)
        }
        return try ExtFileSystem(on: image, partition.bytes)
    }

    /// The partition with the number; the only one of `types` when none is given.
    ///
    /// - Throws: ``ContentsError`` when there is none, or more than one and none named.
    func partition(_ number: Int?, of types: Set<String>) throws -> Partition {
        let chosen: Partition
        if let number {
            guard let found = partitions.first(where: { $0.number == number }) else {
                throw ContentsError(
                    .missing, "\(title) has no partition \(number); \(list(partitions))")
            }
            chosen = found
        } else {
            var suitable = partitions.filter { types.contains($0.type) }
            // What starts the system is seldom what is meant.
            if suitable.count > 1 { suitable.removeAll(where: \.isUEFISystem) }
            guard suitable.count < 2 else {
                throw ContentsError(
                    .unsuitable,
                    "\(title) has several file systems; name one with --partition: "
                        + list(suitable))
            }
            guard let found = suitable.first ?? (partitions.count == 1 ? partitions.first : nil)
            else {
                throw ContentsError(
                    .unsuitable,
                    "\(title) has no file system that can be read here; \(list(partitions)); "
                        + "'varve export' serves it to tools that can")
            }
            chosen = found
        }
        guard types.contains(chosen.type) else {
            let type = chosen.type.isEmpty ? "an unrecognised file system" : chosen.type
            let isReading = types == Self.readableTypes
            throw ContentsError(
                .unsuitable,
                "\(Self.name(of: chosen)) of \(title) holds \(type), which "
                    + (isReading
                        ? "cannot be read here (supported: ext2, ext3, ext4, FAT, exFAT, NTFS): "
                            + "'varve mount --files' mounts it, as root, if the system supports it"
                        : "cannot be mounted here; 'varve export' serves it to tools that can use "
                            + "it"))
        }
        return chosen
    }

    private static func name(of partition: Partition) -> String {
        partition.number.map { "partition \($0)" } ?? "the disk"
    }

    private func list(_ partitions: [Partition]) -> String {
        guard !partitions.isEmpty else { return "it has no partitions" }
        return "it has "
            + partitions.map { partition in
                Self.words(partition)
            }.joined(separator: ", ")
    }

    static func words(_ partition: Partition) -> String {
        let mebibytes = partition.bytes.count >> 20
        let type = partition.type.isEmpty ? "unknown" : partition.type
        return "\(Self.name(of: partition)) (\(type), \(mebibytes) MiB)"
    }
}

/// A file of a snapshot, as commands name it: `SNAPSHOT:/path`, or the snapshot alone for its root.
package struct FileSelector: Hashable, Sendable {
    package let snapshot: SnapshotSelector
    package let path: ByteString

    /// - Throws: ``ServiceError`` of kind `usage`.
    package init(_ text: String) throws {
        let (name, path) = Self.divided(text)
        snapshot = try SnapshotSelector(name)
        self.path = path ?? "/"
    }

    /// What stands before the path, and the path, of a text that carries one.
    package static func divided(_ text: String) -> (name: String, path: ByteString?) {
        let bytes = ByteString(carrying: text).bytes
        // A moment has colons too, and no slash behind them.
        guard
            let colon = bytes.indices.dropLast().first(where: {
                bytes[$0] == UInt8(ascii: ":") && bytes[$0 + 1] == UInt8(ascii: "/")
            })
        else { return (text, nil) }
        return (
            ByteString(bytes: bytes[..<colon]).carrier, ByteString(bytes: bytes[(colon + 1)...])
        )
    }
}
