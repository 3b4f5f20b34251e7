import ArgumentParser
import BlockModel
import DiskContents
import Glibc
import LinuxIO
import Logging
import Serving
import SnapshotService

/// Which file of which snapshot, for the commands that read files without mounting.
struct FileOptions: ParsableArguments {
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "Number of the partition, where several have files.")
    var partition: Int?

    static let help = """
        Files are read without mounting, and without root, from ext2, ext3, ext4, FAT, exFAT and \
        NTFS; a journal is not replayed. The disk may have a partition table.
        """

    /// Runs `body` with the file, of a snapshot that is open until then.
    func withFile<Result>(
        _ text: String,
        followsLast: Bool,
        _ body: (FoundFile) throws -> Result
    ) throws -> Result {
        let selector = try FileSelector(text)
        let service = try repository.open(output)
        let snapshot = try service.open(
            selector.snapshot, purpose: "read files", options: SnapshotReader.Options())
        let (tree, _) = try snapshot.files(partition: partition)
        if tree.system.needsRecovery { service.warnOfJournal(snapshot.title) }
        let file = FoundFile(
            inode: try tree.find(selector.path, followsLast: followsLast), path: selector.path,
            tree: tree, title: snapshot.title)
        return try withExtendedLifetime(snapshot) { try body(file) }
    }

    /// The same, of the link itself where it leads to nothing.
    func withWhatIsThere<Result>(
        _ text: String,
        _ body: (FoundFile) throws -> Result
    ) throws -> Result {
        try withFile(text, followsLast: false) { found in
            guard found.inode.kind == .symbolicLink else { return try body(found) }
            var target = found
            do {
                target.inode = try found.tree.find(found.path, followsLast: true)
            } catch let error as ContentsError where error.kind == .missing {}
            return try body(target)
        }
    }
}

/// A file of a snapshot that is open.
struct FoundFile {
    var inode: Inode
    let path: ByteString
    let tree: FileTree
    /// Which snapshot it is of, for people.
    let title: String
}

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List files of a snapshot.",
        discussion: """
            FILE is SNAPSHOT or SNAPSHOT:/path, where SNAPSHOT is \(SnapshotSelector.help). \
            \(FileOptions.help)
            """)

    @OptionGroup var options: FileOptions

    @Argument(help: "The file or directory.")
    var file: String

    @Flag(name: .shortAndLong, help: "Show mode, owner, size and time too.")
    var long = false

    @Flag(name: [.customShort("R"), .long], help: "List everything below.")
    var recursive = false

    private struct Message: Encodable {
        var messageType = "file"
        let path: String
        let pathBytes: String?
        let kind: String
        let mode: String
        let uid: UInt32
        let gid: UInt32
        let size: UInt64
        let time: String
        let inode: UInt64
        let links: Int
        let linkTarget: String?
        let linkTargetBytes: String?
    }

    func run() throws {
        try options.withWhatIsThere(file) { found in
            let (inode, tree) = (found.inode, found.tree)
            guard inode.kind == .directory else { return try show(inode, found.path.bytes, tree) }
            if recursive {
                try tree.walk(inode) { path, inode in try show(inode, path, tree) }
            } else {
                for entry in try tree.system.entries(of: inode.number) {
                    try show(try tree.system.inode(entry.inode), entry.name, tree)
                }
            }
        }
    }

    private func show(_ inode: Inode, _ path: [UInt8], _ tree: FileTree) throws {
        if Interruption.isRequested { throw Interrupted.ofExtraction }
        let name = ByteString(bytes: path)
        let time = Timestamp(
            seconds: inode.modified.seconds, nanoseconds: inode.modified.nanoseconds)
        let target =
            inode.kind == .symbolicLink && (long || options.output.json)
            ? ByteString(bytes: try tree.linkTarget(of: inode)) : nil
        guard !options.output.json else {
            return JSONLine.write(
                Message(
                    path: name.readable, pathBytes: name.hexadecimalIfNeeded,
                    kind: inode.kind.rawValue,
                    mode: String(inode.mode & 0o7777, radix: 8), uid: inode.user, gid: inode.group,
                    size: inode.byteCount, time: time.rfc3339, inode: inode.number,
                    links: inode.linkCount, linkTarget: target?.readable,
                    linkTargetBytes: target?.hexadecimalIfNeeded))
        }
        guard long else { return Terminal.line(name.escaped) }
        let size = String(inode.byteCount)
        let owner = "\(inode.user):\(inode.group)"
        let facts =
            "\(Self.modeText(inode)) \(Human.padded(owner, 9)) "
            + "\(String(repeating: " ", count: max(0, 12 - size.count)))\(size) "
            + "\(Moment.local(time)) "
        Terminal.line(facts + name.escaped + (target.map { " -> \($0.escaped)" } ?? ""))
    }

    private static func modeText(_ inode: Inode) -> String {
        let kinds: [FileKind: String] = [
            .file: "-", .directory: "d", .symbolicLink: "l", .characterDevice: "c",
            .blockDevice: "b", .pipe: "p", .socket: "s",
        ]
        var text = kinds[inode.kind] ?? "?"
        for (position, letter) in "rwxrwxrwx".enumerated() {
            text += inode.mode >> UInt32(8 - position) & 1 == 1 ? String(letter) : "-"
        }
        return text
    }
}

struct Cat: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a file of a snapshot to standard output.",
        discussion: """
            FILE is SNAPSHOT:/path, where SNAPSHOT is \(SnapshotSelector.help). \(FileOptions.help)
            """)

    @OptionGroup var options: FileOptions

    @Argument(help: "The file.")
    var file: String

    func run() throws {
        try options.withFile(file, followsLast: true, Self.write)
    }

    private static func write(_ found: FoundFile) throws {
        let inode = found.inode
        guard inode.kind == .file else {
            throw ContentsError(
                .unsuitable, "\(found.path.carrier) is no file, but a \(inode.kind.rawValue)")
        }
        var done: UInt64 = 0
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        func skip(to end: UInt64) throws {
            while done < end {
                let count = Int(min(UInt64(zeros.count), end - done))
                try PositionedIO.writeStream(
                    STDOUT_FILENO, zeros.rawSpan.extracting(0..<count), subject: "standard output")
                done += UInt64(count)
            }
        }
        try found.tree.system.forEachPiece(of: inode) { offset, bytes in
            try skip(to: offset)
            try PositionedIO.writeStream(STDOUT_FILENO, bytes, subject: "standard output")
            done += UInt64(bytes.byteCount)
        }
        try skip(to: inode.byteCount)
    }
}

struct Extract: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Copy files of a snapshot to a directory.",
        discussion: """
            FILE is SNAPSHOT:/path, where SNAPSHOT is \(SnapshotSelector.help). TARGET is a new \
            name, or a directory that gets the file under its own name. Nothing that exists is \
            written over. Modes, times, links and attributes are kept, and owners as root. \
            \(FileOptions.help)
            """)

    @OptionGroup var options: FileOptions

    @Argument(help: "The file or directory.")
    var file: String

    @Argument(help: "Where to.")
    var target: String

    private struct Message: Encodable {
        var messageType = "summary"
        let files: Int
        let directories: Int
        let others: Int
        let bytes: UInt64
        let remarks: Int
        let failures: Int
        let durationSeconds: Double
    }

    func run() throws {
        let start = Moment.monotonicNanoseconds()
        try options.withFile(file, followsLast: false) { try extract($0, start: start) }
    }

    private func extract(_ found: FoundFile, start: UInt64) throws {
        let (directory, name) = try place(
            Directory.baseName(of: Self.trimmed(found.path.carrier)))
        let line = ProgressLine("extracted", options.output)
        let extraction = Extraction(
            found.tree, isInterrupted: { Interruption.isRequested },
            progress: { line.update(done: $0.byteCount, total: nil) })
        let summary: Extraction.Summary
        do {
            summary = try extraction.run(
                found.inode, as: ByteString(carrying: name).bytes, in: directory)
        } catch {
            line.clear()
            throw error
        }
        line.clear()
        for remark in summary.remarks { options.output.logger.warning("\(remark)") }
        let others = summary.remarkCount - summary.remarks.count
        if others > 0 { options.output.logger.warning("\(others) more of these") }
        let seconds = Double(Moment.monotonicNanoseconds() - start) / 1e9
        if options.output.json {
            JSONLine.write(
                Message(
                    files: summary.fileCount, directories: summary.directoryCount,
                    others: summary.otherCount, bytes: summary.byteCount,
                    remarks: summary.remarkCount, failures: summary.failureCount,
                    durationSeconds: seconds))
        }
        options.output.say(
            "extracted \(Human.count(summary.fileCount, "file")), "
                + "\(summary.directoryCount) director\(summary.directoryCount == 1 ? "y" : "ies"), "
                + "\(Human.bytes(summary.byteCount)) of \(found.title) in "
                + Human.duration(seconds))
        for failure in summary.failures {
            Exit.report(ContentsError(.damaged, failure), about: nil)
        }
        let damagedCount = summary.failureCount - summary.refusedCount
        func missing(_ count: Int, _ what: String) -> String {
            "\(Human.count(count, "file")) could not be \(what) and "
                + "\(count == 1 ? "is" : "are") missing from \(target)"
        }
        guard damagedCount == 0 else {
            throw ContentsError(.damaged, missing(damagedCount, "read"))
        }
        guard summary.refusedCount == 0 else {
            throw ServiceError(.partial, missing(summary.refusedCount, "made"))
        }
    }

    /// Without slashes at its end.
    private static func trimmed(_ path: String) -> String {
        var path = ByteString(carrying: path)
        while path.bytes.count > 1, path.bytes.last == UInt8(ascii: "/") { path.bytes.removeLast() }
        return path.carrier
    }

    /// The directory that is written to, and the name in it.
    private func place(_ name: String) throws -> (DirectoryHandle, String) {
        let target = Self.trimmed(target)
        if try FileStatus(path: target)?.kind == .directory {
            guard !["/", "", ".", ".."].contains(name) else {
                throw ServiceError(
                    .usage, "\(target) exists; name a directory for the files that does not")
            }
            return (try DirectoryHandle(path: target), name)
        }
        let parent = Directory.parent(of: target)
        return (try DirectoryHandle(path: parent), Directory.baseName(of: target))
    }
}
