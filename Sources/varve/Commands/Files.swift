import ArgumentParser
import BlockModel
import FileModel
import Logging
import SnapshotService

/// Which file of which snapshot, for the commands that read files without mounting.
struct FileOptions: ParsableArguments {
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "Partition number, if several have files.")
    var partition: Int?

    static let help = """
        Reads files from ext2, ext3, ext4, FAT, exFAT and NTFS without mounting and without \
        root; journals are not replayed. The disk may have a partition table.
        """

    /// Runs `body` with the file, of a snapshot that is open until then.
    func withFile<Result>(
        _ text: String,
        link: OpenRepository.LastLink,
        _ body: (SnapshotFile) throws -> Result
    ) throws -> Result {
        let selector = try FileSelector(text)
        return try repository.open(output)
            .withFile(selector, partition: partition, link: link, body)
    }
}

struct ListCommand: ParsableCommand {
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

    @Flag(name: .shortAndLong, help: "Also show mode, owner, size and time.")
    var long = false

    @Flag(name: [.customShort("R"), .long], help: "List directories recursively.")
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
        try options.withFile(file, link: .targetIfThere) { found in
            try found.list(isRecursive: recursive, show)
        }
    }

    private func show(_ entry: SnapshotFile.Entry) throws {
        let (inode, path) = (entry.inode, entry.path)
        let name = ByteString(bytes: path)
        let time = Timestamp(
            seconds: inode.modified.seconds, nanoseconds: inode.modified.nanoseconds)
        let target =
            inode.kind == .symbolicLink && (long || options.output.json)
            ? try entry.linkTarget() : nil
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

struct CatCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cat",
        abstract: "Write a file of a snapshot to standard output.",
        discussion: """
            FILE is SNAPSHOT:/path, where SNAPSHOT is \(SnapshotSelector.help). \(FileOptions.help)
            """)

    @OptionGroup var options: FileOptions

    @Argument(help: "The file.")
    var file: String

    func run() throws {
        try options.withFile(file, link: .target) { try $0.writeToStandardOutput() }
    }
}

struct ExtractCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "extract",
        abstract: "Copy files of a snapshot to a directory.",
        discussion: """
            FILE is SNAPSHOT:/path, where SNAPSHOT is \(SnapshotSelector.help). TARGET is a new \
            name, or a directory that receives the file under its own name. Existing files are not \
            overwritten. Modes, times, links and attributes are kept; as root, owners too. \
            \(FileOptions.help)
            """)

    @OptionGroup var options: FileOptions

    @Argument(help: "The file or directory.")
    var file: String

    @Argument(help: "The new name, or a directory.")
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
        try options.withFile(file, link: .itself) { try extract($0, start: start) }
    }

    private func extract(_ found: SnapshotFile, start: UInt64) throws {
        let line = ProgressLine("extracted", options.output)
        let summary: ExtractionSummary
        do {
            summary = try found.extract(to: target) { line.update(done: $0, total: nil) }
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
            Exit.report(ServiceError(.damaged, failure), about: nil)
        }
        let damagedCount = summary.failureCount - summary.refusedCount
        func missing(_ count: Int, _ what: String) -> String {
            "\(Human.count(count, "file")) could not be \(what) and "
                + "\(count == 1 ? "is" : "are") missing from \(target)"
        }
        guard damagedCount == 0 else {
            throw ServiceError(.damaged, missing(damagedCount, "read"))
        }
        guard summary.refusedCount == 0 else {
            throw ServiceError(.partial, missing(summary.refusedCount, "made"))
        }
    }
}
