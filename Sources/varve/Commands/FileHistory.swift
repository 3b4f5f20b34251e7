import ArgumentParser
import BlockModel
import FileModel
import RepositoryModel
import SnapshotService

struct HistoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "Show when a file appeared, changed and disappeared.",
        discussion: """
            Prints one line per state of the file, over all snapshots of the volume, oldest \
            first, for each partition that had it. Reads only changes (ext2, ext3, ext4, FAT, \
            exFAT, NTFS). Lists other partitions that may have files; the exit status is 3 then.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "VOLUME:/path.")
    var file: String

    @Option(help: "Search only the partition with this number.")
    var partition: Int?

    func run() throws {
        let (name, path) = FileSelector.divided(file)
        guard let path, let volume = VolumeName(name) else {
            throw ServiceError(.usage, "'\(file)' is not VOLUME:/path")
        }
        let found = try repository.open(output).history(
            of: path, in: volume, partition: partition)
        for version in found.versions {
            VersionLine(volume, version, found.hasSeveralPartitions)
                .show(output, showsPath: false)
        }
        for problem in found.problems { Exit.report(ServiceError(.partial, problem), about: nil) }
        for version in found.versions {
            guard case .unreadable(let reason) = version.state else { continue }
            throw ServiceError(.damaged, reason)
        }
        guard found.problems.isEmpty else {
            throw ServiceError(
                .partial,
                found.versions.isEmpty
                    ? "\(path.carrier) is in no searchable snapshot of \(volume)"
                    : "not everything could be searched")
        }
        guard !found.versions.isEmpty else {
            throw ServiceError(.failed, "\(path.carrier) is in no snapshot of \(volume)")
        }
    }
}

struct FindCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "find",
        abstract: "Find files by name in snapshots.",
        discussion: """
            Each SNAPSHOT is \(SnapshotSelector.help); or VOLUME for all its snapshots. NAME may \
            have *, ? and [...]; one with a slash is matched against the whole path. Prints one \
            line per state of each file, with the snapshots that have it. Unchanged directories \
            are read only once (ext2, ext3, ext4, FAT, exFAT, NTFS). Lists unreadable \
            partitions that may have files; the exit status is 3 then.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "SNAPSHOT... NAME")
    var words: [String]

    @Flag(name: .shortAndLong, help: "Ignore the case of letters.")
    var ignoreCase = false

    @Option(help: "Search only the partition with this number.")
    var partition: Int?

    func validate() throws {
        guard words.count >= 2 else {
            throw ValidationError("name the snapshots or a volume, then what to find")
        }
    }

    func run() throws {
        let service = try repository.open(output)
        var problems: [String] = []
        var count = 0
        let all = try service.find(
            ByteString(carrying: words[words.count - 1]), in: words.dropLast(),
            partition: partition, ignoresCase: ignoreCase)
        for (volume, found) in all {
            count += found.versions.count
            problems += found.problems
            for version in found.versions {
                VersionLine(volume, version, found.hasSeveralPartitions)
                    .show(output, showsPath: true)
            }
        }
        for problem in problems { Exit.report(ServiceError(.damaged, problem), about: nil) }
        guard problems.isEmpty else {
            throw ServiceError(.partial, "not everything could be searched")
        }
        if count == 0 { output.note("no file has that name") }
    }
}

/// A state of a file, as people and scripts see it.
private struct VersionLine {
    private struct Message: Encodable {
        var messageType = "version"
        let volume: String
        let path: String
        let pathBytes: String?
        let partition: Int?
        let state: String
        let firstGeneration: UInt64
        let firstTime: String
        let lastGeneration: UInt64
        let lastTime: String
        let snapshots: Int
        let kind: String?
        let mode: String?
        let uid: UInt32?
        let gid: UInt32?
        let size: UInt64?
        let time: String?
        let inode: UInt64?
        let reason: String?
    }

    private let volume: VolumeName
    private let version: FileVersion
    private let showsPartition: Bool

    init(_ volume: VolumeName, _ version: FileVersion, _ showsPartition: Bool) {
        self.volume = volume
        self.version = version
        self.showsPartition = showsPartition
    }

    private var inode: Inode? {
        if case .present(let inode) = version.state { inode } else { nil }
    }

    var reason: String? {
        if case .unreadable(let reason) = version.state { reason } else { nil }
    }

    func show(_ output: OutputOptions, showsPath: Bool) {
        let inode = inode
        let time = inode.map {
            Timestamp(seconds: $0.modified.seconds, nanoseconds: $0.modified.nanoseconds)
        }
        let (first, last) = (version.first, version.last)
        guard !output.json else {
            return JSONLine.write(
                Message(
                    volume: volume.rawValue, path: version.path.readable,
                    pathBytes: version.path.hexadecimalIfNeeded, partition: version.partition,
                    state: inode != nil ? "present" : reason != nil ? "unreadable" : "absent",
                    firstGeneration: first.generation, firstTime: first.facts.time.rfc3339,
                    lastGeneration: last.generation, lastTime: last.facts.time.rfc3339,
                    snapshots: version.snapshotCount, kind: inode?.kind.rawValue,
                    mode: inode.map { String($0.mode & 0o7777, radix: 8) }, uid: inode?.user,
                    gid: inode?.group, size: inode?.byteCount, time: time?.rfc3339,
                    inode: inode?.number, reason: reason))
        }
        let generations =
            first.generation == last.generation
            ? "\(volume)@\(first.generation)" : "\(volume)@\(first.generation)…\(last.generation)"
        let days =
            first.generation == last.generation
            ? Moment.local(first.facts.time)
            : "\(Moment.local(first.facts.time)) … \(Moment.local(last.facts.time))"
        var text = "\(Human.padded(generations, 14))  \(Human.padded(days, 41))  "
        if let inode, let time {
            text += Human.padded(Human.bytes(inode.byteCount), 9, right: true)
            text += "  modified \(Moment.local(time))"
        } else {
            text += reason == nil ? "   absent" : "  UNREADABLE"
        }
        if showsPartition, let partition = version.partition {
            text += "  partition \(partition)"
        }
        output.answer(text + (showsPath ? "  \(version.path.escaped)" : ""))
    }
}
