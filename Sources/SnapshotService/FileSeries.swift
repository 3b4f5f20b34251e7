internal import BlockModel
internal import DiskContents
internal import FileModel
internal import Repository
internal import RepositoryIndex
internal import Serving
internal import Synchronization

/// The files of one partition in a volume's snapshots, one after the other.
///
/// An answer is kept with the blocks that it was read from; it is the answer for the next snapshot too if
/// those have not changed there. So what is asked of every snapshot costs reading only where something
/// changed.
final class FileSeries {
    /// What is asked for, of any snapshot.
    enum Question: Hashable {
        case path(ByteString)
        case directory(UInt64)
        case inode(UInt64)
    }

    /// A name in a directory.
    struct Entry {
        let name: [UInt8]
        let inode: UInt64
        let isDirectory: Bool
    }

    enum Answer {
        case file(Inode?)
        case entries([Entry])
    }

    private struct Memory {
        let answer: Answer
        /// Blocks of the image, and what they held.
        let trace: [(block: UInt64, number: BlockNumber)]
    }

    /// The bytes of a snapshot, with a record of which blocks were asked for.
    private final class TracedBytes: ImageBytes {
        let reader: SnapshotReader
        private let blocks = Mutex<Set<UInt64>>([])

        init(_ reader: SnapshotReader) { self.reader = reader }

        var byteCount: UInt64 { reader.byteCount }

        func read(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
            unsafe try reader.read(into: target, at: offset)
            guard target.count > 0 else { return }
            let size = UInt64(reader.blockByteCount)
            blocks.withLock { blocks in
                for block in offset / size...(offset + UInt64(target.count) - 1) / size {
                    blocks.insert(block)
                }
            }
        }

        /// What was asked for since the last call.
        func takeBlocks() -> Set<UInt64> {
            blocks.withLock { blocks in
                defer { blocks.removeAll(keepingCapacity: true) }
                return blocks
            }
        }
    }

    private struct Home {
        let partition: Partition
        let byteCount: UInt64
        let identity: [UInt8]
        var rootInode: UInt64?
    }

    /// One snapshot of the series.
    private struct Place {
        let title: String
        let bytes: TracedBytes
        var tree: FileTree?
    }

    private let service: OpenRepository
    private var place: Place?
    /// Where the file system lies, and what it is.
    private var home: Home?
    private var hasWarned = false
    private var memories: [Question: Memory] = [:]

    init(_ service: OpenRepository) { self.service = service }

    /// Goes to a snapshot, of which is asked from then on.
    ///
    /// - Parameters:
    ///   - reader: its bytes.
    ///   - partition: where its files are, of a type that can be read.
    ///   - title: what it is called.
    /// - Throws: what the repository throws.
    func go(to reader: SnapshotReader, _ partition: Partition, title: String) throws {
        place = Place(title: title, bytes: TracedBytes(reader), tree: nil)
        let identity = try Self.identity(of: partition, in: reader)
        // What is remembered is of a file system; it may be another now, or elsewhere.
        if let home, home.partition == partition, home.byteCount == reader.byteCount,
            home.identity == identity
        {
            return
        }
        memories.removeAll()
        home = Home(partition: partition, byteCount: reader.byteCount, identity: identity)
    }

    /// What a superblock of ext says of the file system's layout, and its id: its counts of inodes and
    /// blocks, its sizes of blocks, groups and inodes; of another type, its first sector.
    static func identity(
        of partition: Partition,
        in reader: SnapshotReader
    ) throws -> [UInt8] {
        let bytes = partition.bytes
        var head = [UInt8](repeating: 0, count: 2048)
        guard bytes.count >= 2048, bytes.upperBound <= reader.byteCount else { return [] }
        try unsafe head.withUnsafeMutableBytes {
            unsafe try reader.read(into: $0, at: bytes.lowerBound)
        }
        guard partition.type.hasPrefix("ext") else { return Array(head[..<512]) }
        let superblock = head[1024...].map(\.self)
        return [0..<8, 20..<28, 32..<44, 88..<90, 104..<120].flatMap { superblock[$0] }
    }

    // MARK: Questions

    /// Number of the directory that all others are in.
    func rootInode() throws -> UInt64 {
        if let root = home?.rootInode { return root }
        return try openedTree().system.rootInode
    }

    /// The file at a path, where symbolic links on the way are followed; nil when there is none.
    func file(at path: ByteString) throws -> Inode? {
        guard
            case .file(let file) = try answer(
                .path(path),
                { tree in
                    do {
                        return .file(try tree.find(path))
                    } catch let error as ContentsError where error.kind == .missing {
                        return .file(nil)
                    }
                })
        else { return nil }
        return file
    }

    func inode(_ number: UInt64) throws -> Inode? {
        guard
            case .file(let file) = try answer(
                .inode(number), { .file(try $0.system.inode(number)) })
        else { return nil }
        return file
    }

    func entries(of directory: UInt64) throws -> [Entry] {
        guard
            case .entries(let entries) = try answer(
                .directory(directory),
                { tree in
                    .entries(
                        try tree.system.entries(of: directory).map { entry in
                            let isDirectory =
                                entry.mayBeDirectory
                                && (try? tree.system.inode(entry.inode))?.kind == .directory
                            return Entry(
                                name: entry.name, inode: entry.inode, isDirectory: isDirectory)
                        })
                })
        else { return [] }
        return entries
    }

    private func answer(
        _ question: Question,
        _ find: (FileTree) throws -> Answer
    ) throws -> Answer {
        guard let place else { throw ServiceError(.failed, "no snapshot is open") }
        let reader = place.bytes.reader
        if let memory = memories[question], try holds(memory, in: reader) { return memory.answer }
        let tree = try openedTree()
        // What is read to begin again belongs to the answer.
        _ = place.bytes.takeBlocks()
        tree.system.forget()
        let answer = try find(tree)
        let trace = try place.bytes.takeBlocks().map { ($0, try reader.number(ofBlock: $0)) }
        memories[question] = Memory(answer: answer, trace: trace)
        return answer
    }

    private func holds(_ memory: Memory, in reader: SnapshotReader) throws -> Bool {
        let blockCount =
            (reader.byteCount + UInt64(reader.blockByteCount) - 1) / UInt64(reader.blockByteCount)
        return try memory.trace.allSatisfy {
            try $0.block < blockCount && reader.number(ofBlock: $0.block) == $0.number
        }
    }

    private func openedTree() throws -> FileTree {
        guard var place else { throw ServiceError(.failed, "no snapshot is open") }
        let tree = try place.tree ?? open(place)
        place.tree = tree
        self.place = place
        return tree
    }

    private func open(_ place: Place) throws -> FileTree {
        guard let partition = home?.partition else {
            throw ServiceError(.failed, "no snapshot is open")
        }
        let system = try FileSystemChoice.open(partition, of: place.bytes)
        home?.rootInode = system.rootInode
        if system.needsRecovery, !hasWarned {
            hasWarned = true
            service.warnOfJournal(place.title)
        }
        return FileTree(system)
    }
}
