import ArgumentParser
import Fuse
import LinuxIO
import Repository
import SnapshotService

struct MountCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mount",
        abstract: "Show all snapshots as image files in a directory.",
        discussion: """
            DIRECTORY has a directory for each volume then, and in it TIME.img for each snapshot \
            (in UTC, 2026-11-22T194722Z.img) and latest.img, all read-only. New snapshots appear \
            within a second. It stays until this is interrupted, or 'umount DIRECTORY'.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "An empty directory.")
    var directory: String

    @Flag(help: "Let other users read it too (root, or user_allow_other in /etc/fuse.conf).")
    var allowOther = false

    @Option(help: "Bytes kept in memory for each open snapshot, such as 1G (default: 256M).")
    var cache: ByteCount?

    private struct Message: Encodable {
        var messageType = "mount"
        let directory: String
    }

    func run() throws {
        guard try FileStatus(path: directory)?.kind == .directory else {
            throw ServiceError(.usage, "\(directory) is no directory; make it first")
        }
        let service = try repository.open(output)
        // What is not whole shows before it is mounted.
        _ = try service.timelines()
        let hold = try service.holdForReading(purpose: "mount")
        let tree = SnapshotTree(
            service, cacheByteCount: cache.map { Int(clamping: $0.value) }, logger: output.logger)
        try Workers.startRepeating(everySeconds: 60) { [weak tree] in
            try? hold?.renew(now: Moment.now())
            tree?.renew()
            return tree != nil
        }
        var options = "ro,nodev,nosuid,default_permissions,fsname=varve,subtype=varve"
        if allowOther { options += ",allow_other" }
        let output = output
        let directory = directory
        let wasMounted = Mount.run(tree, at: directory, options: options) {
            if output.json { JSONLine.write(Message(directory: directory)) }
            output.say("mounted at \(directory); interrupt this, or unmount it, to end")
        }
        guard wasMounted else {
            throw ServiceError(
                .failed,
                "nothing could be mounted at \(directory); what libfuse said is above: install fuse3, "
                    + "and see that /dev/fuse is there")
        }
    }
}
