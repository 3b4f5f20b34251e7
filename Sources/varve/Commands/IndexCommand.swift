import ArgumentParser
import BlockModel
import SnapshotService

struct IndexCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "index", abstract: "Maintain the index, a cache beside the repository.",
        subcommands: [Rebuild.self])

    struct Rebuild: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Discard the index and rebuild it from the repository; loses nothing.")

        @OptionGroup var repository: RepositoryOptions
        @OptionGroup var output: OutputOptions

        private struct Summary: Encodable {
            var messageType = "summary"
            let volumes: Int
            let snapshots: Int
            let indexBytes: UInt64
            let directory: String
        }

        func run() throws {
            let service = try repository.open(output)
            let result = try service.rebuildIndex()
            if output.json {
                JSONLine.write(
                    Summary(
                        volumes: result.volumes, snapshots: result.snapshots,
                        indexBytes: result.byteCount, directory: try service.indexDirectory))
            }
            output.say(
                "built the index of \(Human.count(result.volumes, "volume")), "
                    + "\(Human.count(result.snapshots, "snapshot")) "
                    + "(\(Human.bytes(result.byteCount))) in \(try service.indexDirectory)")
        }
    }
}
