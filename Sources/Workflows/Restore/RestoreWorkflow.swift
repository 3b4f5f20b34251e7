internal import LinuxIO
package import LiveVolumes
internal import RepositoryModel
internal import RestoreEngine
package import SnapshotService

/// Restores snapshots to files, devices and standard output.
///
/// Order, always: what this program lives by is known → the snapshot is found → the target is opened → it is
/// written and proved.
package struct RestoreWorkflow {
    private let repository: OpenRepository
    private let ownPaths: [String]

    /// - Parameters:
    ///   - repository: where the snapshots are.
    ///   - states: where volumes' states are kept, which no restore may write over.
    ///   - configurationPaths: files of the configuration, which none may either.
    package init(
        _ repository: OpenRepository,
        states: StateDirectory,
        configurationPaths: [String]
    ) {
        self.repository = repository
        ownPaths =
            configurationPaths
            + [states.path, (try? Program.own()) ?? "/proc/self/exe"]
    }

    /// Restores a snapshot.
    ///
    /// - Parameters:
    ///   - selector: the snapshot.
    ///   - target: a new file, a device, or `-` for standard output.
    ///   - options: how.
    ///   - progress: gets bytes that are done, and those of the volume.
    /// - Returns: what was done.
    /// - Throws: ``ServiceError`` where the target may not be written to, before anything is.
    package func run(
        _ selector: SnapshotSelector,
        to target: String,
        _ options: RestoreOptions,
        progress: @escaping (UInt64, UInt64) -> Void
    ) throws -> RestoreSummary {
        var options = options
        options.ownPaths += ownPaths
        let state = RestoreProgress()
        return try repository.restore(selector, to: target, options: options, progress: state) {
            progress(state.doneByteCount, $0.facts.byteCount)
        }
    }
}
