package import BlockModel
internal import Fuse
internal import Glibc
internal import LinuxIO
package import Logging
internal import RepositoryModel
internal import Serving
package import SnapshotService

/// Shows snapshots in a directory: all of them as image files, or the files of one.
package struct MountWorkflow {
    /// What stands at the directory now.
    package struct Mounted: Sendable {
        /// Nil where all snapshots are shown.
        package let snapshotID: SnapshotID?
        package let partition: Int?
        /// Of the file system; nil where there is none.
        package let type: String?
        /// For people.
        package let title: String
    }

    private let directory: String
    private let logger: Logger

    /// - Parameters:
    ///   - directory: where to; it exists.
    ///   - logger: gets what is of note.
    /// - Throws: ``ServiceError`` where it is no directory.
    package init(at directory: String, logger: Logger) throws {
        guard try FileStatus(path: directory)?.kind == .directory else {
            throw ServiceError(.usage, "\(directory) is not a directory; create it first")
        }
        self.directory = directory
        self.logger = logger
    }

    /// Shows all snapshots, until it is unmounted or the user asks to stop.
    ///
    /// - Parameters:
    ///   - repository: where they are.
    ///   - cacheByteCount: kept in memory for each that is open; nil for the standard.
    ///   - allowsOthers: whether other users may read it too.
    ///   - mounted: called when it is there.
    /// - Throws: ``ServiceError`` where nothing could be mounted.
    package func showImages(
        of repository: sending OpenRepository,
        cacheByteCount: Int?,
        allowsOthers: Bool,
        mounted: @escaping (Mounted) -> Void
    ) throws {
        // What is not whole shows before it is mounted.
        _ = try repository.timelines()
        let tree = try SnapshotTree(repository, cacheByteCount: cacheByteCount, logger: logger)
        try Workers.startRepeating(everySeconds: 60) { [weak tree] in
            tree?.renew()
            return tree != nil
        }
        var options = "ro,nodev,nosuid,default_permissions,fsname=varve,subtype=varve"
        if allowsOthers { options += ",allow_other" }
        let wasMounted = Mount.run(tree, at: directory, options: options) {
            mounted(Mounted(snapshotID: nil, partition: nil, type: nil, title: ""))
        }
        guard wasMounted else {
            throw ServiceError(
                .failed,
                "nothing could be mounted at \(directory), see the output of libfuse above; "
                    + "install fuse3, and check that /dev/fuse exists")
        }
    }

    /// Mounts the files of a snapshot, until it is unmounted or the user asks to stop.
    ///
    /// - Parameters:
    ///   - selector: the snapshot.
    ///   - repository: where it is.
    ///   - partition: number of the partition, where several can be mounted.
    ///   - cacheByteCount: kept in memory; nil for the standard.
    ///   - mounted: called when it is there.
    ///   - isStillOpen: called where it ends for all but those who have something open.
    /// - Throws: ``ServiceError`` where it cannot be mounted.
    package func mountFiles(
        of selector: SnapshotSelector,
        in repository: OpenRepository,
        partition: Int?,
        cacheByteCount: Int?,
        mounted: (Mounted) -> Void,
        isStillOpen: () -> Void
    ) throws {
        guard geteuid() == 0 else {
            throw ServiceError(
                .usage, "mounting files needs root; 'varve ls', 'cat' and 'extract' do not")
        }
        guard (try Directory.names(in: directory))?.isEmpty == true else {
            throw ServiceError(.usage, "\(directory) is not empty; name an empty directory")
        }
        var options = SnapshotReader.Options()
        if let cacheByteCount { options.cacheByteCount = cacheByteCount }
        let snapshot = try repository.open(selector, purpose: "mount", options: options)
        let place = Directory.resolve(directory) ?? directory
        let logger = logger
        let mount = try FileMount(snapshot, partition: partition, at: place) {
            logger.error("\($0)")
        }
        let part = mount.partition.map { "partition \($0) (\(mount.type))" } ?? mount.type
        mounted(
            Mounted(
                snapshotID: snapshot.snapshot.id, partition: mount.partition, type: mount.type,
                title: "\(part) of \(snapshot.title)"))
        while !Interruption.isRequested, mount.stands {
            snapshot.renew()
            SystemClock.sleep(milliseconds: 100)
        }
        guard try mount.end() else { return }
        isStillOpen()
        while !mount.hasEnded {
            snapshot.renew()
            SystemClock.sleep(milliseconds: 100)
        }
    }
}
