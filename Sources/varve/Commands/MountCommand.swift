import ArgumentParser
import BlockModel
import SnapshotService
import Workflows

struct MountCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mount",
        abstract: "Show all snapshots as image files in a directory, or the files of one.",
        discussion: """
            DIRECTORY then has one directory per volume, with TIME.img for each snapshot \
            (in UTC, 2026-11-22T194722Z.img) and latest.img, all read-only. New snapshots appear \
            within a second. The mount lasts until this is interrupted, or 'umount DIRECTORY'.

            With --files it has the files of one snapshot, mounted by the kernel: read-only, \
            without devices and set-user-id programs, without journal replay. That needs root, \
            and trust in the data on the disk: 'ls', 'cat' and 'extract' need neither. SNAPSHOT is \
            \(SnapshotSelector.help).
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "An empty directory.")
    var directory: String

    @Option(help: ArgumentHelp("Mount the files of this snapshot.", valueName: "snapshot"))
    var files: String?

    @Option(help: "With --files, the partition number, if several can be mounted.")
    var partition: Int?

    @Flag(help: "Also let other users read it (root, or user_allow_other in /etc/fuse.conf).")
    var allowOther = false

    @Option(
        help: """
            Bytes kept in memory for each open snapshot, such as 1G (default: 256M; with --files a \
            sixteenth of the memory, 256M to 1G).
            """)
    var cache: ByteCount?

    private struct Message: Encodable {
        var messageType = "mount"
        let directory: String
        let snapshotId: String?
        let partition: Int?
        let type: String?
    }

    func run() throws {
        let workflow = try MountWorkflow(at: directory, logger: output.logger)
        let service = try repository.open(output)
        let cache = cache.map { Int(clamping: $0.value) }
        guard let files else {
            return try workflow.showImages(
                of: service, cacheByteCount: cache, allowsOthers: allowOther, mounted: say)
        }
        try workflow.mountFiles(
            of: SnapshotSelector(files), in: service, partition: partition, cacheByteCount: cache,
            mounted: say,
            isStillOpen: {
                output.note(
                    "something in \(directory) is still open; it stays mounted until it is closed")
            })
    }

    private func say(_ mounted: MountWorkflow.Mounted) {
        if output.json {
            JSONLine.write(
                Message(
                    directory: directory, snapshotId: mounted.snapshotID?.hexadecimal,
                    partition: mounted.partition, type: mounted.type))
        }
        let what = mounted.title.isEmpty ? "" : "\(mounted.title) is "
        output.say("\(what)mounted at \(directory); interrupt this, or unmount it, to end")
    }
}
