import ArgumentParser
import BlockModel
import Fuse
import Glibc
import LinuxIO
import Logging
import Repository
import Serving
import SnapshotService

struct MountCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mount",
        abstract: "Show all snapshots as image files in a directory, or the files of one.",
        discussion: """
            DIRECTORY has a directory for each volume then, and in it TIME.img for each snapshot \
            (in UTC, 2026-11-22T194722Z.img) and latest.img, all read-only. New snapshots appear \
            within a second. It stays until this is interrupted, or 'umount DIRECTORY'.

            With --files it has the files of one snapshot, by the kernel's own file systems: read-only, \
            without devices and set-user-id programs, with journals left as they are. That takes root, \
            and trust in what was on the disk: 'ls', 'cat' and 'extract' need neither. SNAPSHOT is \
            \(SnapshotSelector.help).
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "An empty directory.")
    var directory: String

    @Option(help: ArgumentHelp("Mount the files of this snapshot.", valueName: "snapshot"))
    var files: String?

    @Option(help: "With --files, the number of the partition, where several can be mounted.")
    var partition: Int?

    @Flag(help: "Let other users read it too (root, or user_allow_other in /etc/fuse.conf).")
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
        guard try FileStatus(path: directory)?.kind == .directory else {
            throw ServiceError(.usage, "\(directory) is no directory; make it first")
        }
        let service = try repository.open(output)
        if let files { return try mountFiles(of: SnapshotSelector(files), service) }
        // What is not whole shows before it is mounted.
        _ = try service.timelines()
        let tree = try SnapshotTree(
            service, cacheByteCount: cache.map { Int(clamping: $0.value) },
            logger: output.logger)
        try Workers.startRepeating(everySeconds: 60) { [weak tree] in
            tree?.renew()
            return tree != nil
        }
        var options = "ro,nodev,nosuid,default_permissions,fsname=varve,subtype=varve"
        if allowOther { options += ",allow_other" }
        let output = output
        let directory = directory
        let wasMounted = Mount.run(tree, at: directory, options: options) {
            if output.json {
                JSONLine.write(
                    Message(directory: directory, snapshotId: nil, partition: nil, type: nil))
            }
            output.say("mounted at \(directory); interrupt this, or unmount it, to end")
        }
        guard wasMounted else {
            throw ServiceError(
                .failed,
                "nothing could be mounted at \(directory); what libfuse said is above: install fuse3, "
                    + "and see that /dev/fuse is there")
        }
    }

    private func mountFiles(of selector: SnapshotSelector, _ service: OpenRepository) throws {
        guard geteuid() == 0 else {
            throw ServiceError(
                .usage, "mounting files takes root; 'varve ls', 'cat' and 'extract' do not")
        }
        guard (try Directory.names(in: directory))?.isEmpty == true else {
            throw ServiceError(.usage, "\(directory) is not empty; name an empty directory")
        }
        var readerOptions = SnapshotReader.Options()
        if let cache { readerOptions.cacheByteCount = Int(clamping: cache.value) }
        let snapshot = try service.open(selector, purpose: "mount", options: readerOptions)
        let place = Directory.resolve(directory) ?? directory
        let logger = output.logger
        let mount = try FileMount(snapshot, partition: partition, at: place) {
            logger.error("\($0)")
        }
        if output.json {
            JSONLine.write(
                Message(
                    directory: directory, snapshotId: snapshot.snapshot.id.hexadecimal,
                    partition: mount.partition, type: mount.type))
        }
        let part = mount.partition.map { "partition \($0) (\(mount.type))" } ?? mount.type
        output.say(
            "\(part) of \(snapshot.title) is mounted at \(directory); interrupt this, or unmount it, to end"
        )
        while !Interruption.isRequested, mount.stands {
            snapshot.renew()
            SystemClock.sleep(milliseconds: 100)
        }
        guard try mount.end() else { return }
        output.note("something in \(directory) is still open; it is there for those who have it")
        while !mount.hasEnded {
            snapshot.renew()
            SystemClock.sleep(milliseconds: 100)
        }
    }
}
