package import BlockModel
internal import DiskContents
package import FileModel
internal import Glibc
internal import LinuxIO
internal import Serving

/// A file or directory of a snapshot that is open.
package struct SnapshotFile {
    package fileprivate(set) var inode: Inode
    package let path: ByteString
    /// Which snapshot it is of, for people.
    package let title: String
    private let tree: FileTree

    /// A line of a list of files.
    package struct Entry {
        /// Relative to the directory that is listed.
        package let path: [UInt8]
        package let inode: Inode
        fileprivate let tree: FileTree

        /// Where a symbolic link leads.
        package func linkTarget() throws -> ByteString {
            ByteString(bytes: try tree.linkTarget(of: inode))
        }
    }

    fileprivate init(_ path: ByteString, in tree: FileTree, title: String, follows: Bool) throws {
        self.path = path
        self.tree = tree
        self.title = title
        inode = try tree.find(path, followsLast: follows)
    }

    /// What the link leads to; itself where that is nothing.
    fileprivate func followedIfThere() throws -> SnapshotFile {
        guard inode.kind == .symbolicLink else { return self }
        var target = self
        do {
            target.inode = try tree.find(path, followsLast: true)
        } catch let error as ContentsError where error.kind == .missing {}
        return target
    }

    /// Calls `body` with what is in a directory, or with a file itself.
    ///
    /// - Parameters:
    ///   - isRecursive: whether with everything below too.
    ///   - body: gets each.
    /// - Throws: ``ContentsError`` where it is damaged; ``Interrupted``.
    package func list(isRecursive: Bool, _ body: (Entry) throws -> Void) throws {
        func show(_ path: [UInt8], _ inode: Inode) throws {
            if Interruption.isRequested { throw Interrupted.ofExtraction }
            try body(Entry(path: path, inode: inode, tree: tree))
        }
        guard inode.kind == .directory else { return try show(path.bytes, inode) }
        if isRecursive {
            try tree.walk(inode, show)
        } else {
            for entry in try tree.system.entries(of: inode.number) {
                try show(entry.name, try tree.system.inode(entry.inode))
            }
        }
    }

    /// Writes what the file holds to standard output.
    package func writeToStandardOutput() throws {
        guard inode.kind == .file else {
            throw ContentsError(
                .unsuitable, "\(path.carrier) is not a file but a \(inode.kind.rawValue)")
        }
        func write(_ bytes: RawSpan) throws {
            try PositionedIO.writeStream(STDOUT_FILENO, bytes, subject: "standard output")
        }
        var done: UInt64 = 0
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        func skip(to end: UInt64) throws {
            while done < end {
                let count = Int(min(UInt64(zeros.count), end - done))
                try write(zeros.rawSpan.extracting(0..<count))
                done += UInt64(count)
            }
        }
        try tree.system.forEachPiece(of: inode) { offset, bytes in
            try skip(to: offset)
            try write(bytes)
            done += UInt64(bytes.byteCount)
        }
        try skip(to: inode.byteCount)
    }

    /// Writes the file, with everything below it, to a directory of this system.
    ///
    /// - Parameters:
    ///   - target: a new name, or a directory that gets the file under its own name.
    ///   - progress: gets the bytes that were written.
    /// - Returns: what was written, and what was not.
    /// - Throws: ``ContentsError``, `SystemError`; what was written until then stays.
    package func extract(
        to target: String,
        progress: @escaping (UInt64) -> Void
    ) throws -> ExtractionSummary {
        let (directory, name) = try Self.place(
            Directory.baseName(of: Self.trimmed(path.carrier)), target)
        let extraction = Extraction(
            tree, isInterrupted: { Interruption.isRequested },
            progress: { progress($0.byteCount) })
        return try extraction.run(inode, as: ByteString(carrying: name).bytes, in: directory)
    }

    /// The directory that is written to, and the name in it.
    private static func place(
        _ name: String,
        _ target: String
    ) throws -> (DirectoryHandle, String) {
        let target = trimmed(target)
        if try FileStatus(path: target)?.kind == .directory {
            guard !["/", "", ".", ".."].contains(name) else {
                throw ServiceError(
                    .usage, "\(target) exists; choose a name that does not exist")
            }
            return (try DirectoryHandle(path: target), name)
        }
        let parent = Directory.parent(of: target)
        return (try DirectoryHandle(path: parent), Directory.baseName(of: target))
    }

    /// Without slashes at its end.
    private static func trimmed(_ path: String) -> String {
        var path = ByteString(carrying: path)
        while path.bytes.count > 1, path.bytes.last == UInt8(ascii: "/") { path.bytes.removeLast() }
        return path.carrier
    }
}

extension OpenRepository {
    /// What a symbolic link at the end of a path stands for.
    package enum LastLink: Sendable {
        case target, itself
        /// Its target, or itself where it leads to nothing.
        case targetIfThere
    }

    /// Runs `body` with a file, of a snapshot that is open until then.
    ///
    /// - Parameters:
    ///   - selector: the file.
    ///   - partition: number of its partition, where several have files.
    ///   - link: what a symbolic link stands for.
    ///   - body: gets the file.
    /// - Returns: what `body` gives.
    /// - Throws: ``ContentsError`` where there is no such file; what `body` throws.
    package func withFile<Result>(
        _ selector: FileSelector,
        partition: Int?,
        link: LastLink,
        _ body: (SnapshotFile) throws -> Result
    ) throws -> Result {
        let snapshot = try open(
            selector.snapshot, purpose: "read files", options: SnapshotReader.Options())
        let (tree, _) = try snapshot.files(partition: partition)
        if tree.system.needsRecovery { warnOfJournal(snapshot.title) }
        var file = try SnapshotFile(
            selector.path, in: tree, title: snapshot.title, follows: link == .target)
        if link == .targetIfThere { file = try file.followedIfThere() }
        return try withExtendedLifetime(snapshot) { try body(file) }
    }
}
