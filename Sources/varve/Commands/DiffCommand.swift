import ArgumentParser
import BlockModel
import FileModel
import RepositoryModel
import SnapshotService

struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Show which bytes, or files, differ between two snapshots.",
        discussion: """
            A snapshot is \(SnapshotSelector.help).

            With --files, one line per file: + added, - removed, M modified, U only owner, mode or \
            attributes, R renamed. The files are found from the changed blocks, without walking \
            the file system (ext2, ext3, ext4).
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The older snapshot.")
    var older: String

    @Argument(help: "The newer snapshot.")
    var newer: String

    @Flag(help: "Show which files differ.")
    var files = false

    @Option(help: "With --files, the partition number, if several have files.")
    var partition: Int?

    private struct File: Encodable {
        var messageType = "change"
        let change: String
        let path: String
        let pathBytes: String?
        let oldPath: String?
        let oldPathBytes: String?
        let kind: String
        let inode: UInt64
    }

    private struct FileSummary: Encodable {
        var messageType = "summary"
        let olderSnapshotId: String
        let newerSnapshotId: String
        let files: Int
        let nameless: Int
    }

    private struct Extent: Encodable {
        var messageType = "extent"
        let offset: UInt64
        let length: UInt64
        let zero: Bool
    }

    private struct Summary: Encodable {
        var messageType = "summary"
        let olderSnapshotId: String
        let newerSnapshotId: String
        let extents: Int
        let bytesChanged: UInt64
        let bytesZeroed: UInt64
    }

    func run() throws {
        let service = try repository.open(output)
        guard !files else { return try showFiles(service) }
        var count = 0
        var changed: UInt64 = 0
        var zeroed: UInt64 = 0
        let ends = try service.difference(
            SnapshotSelector(older), SnapshotSelector(newer)
        ) { extent in
            count += 1
            changed += extent.byteCount
            if extent.isZero { zeroed += extent.byteCount }
            if output.json {
                JSONLine.write(
                    Extent(
                        offset: extent.byteOffset, length: extent.byteCount, zero: extent.isZero))
            } else {
                let kind = extent.isZero ? "  zero" : ""
                output.say("\(extent.byteOffset)+\(extent.byteCount)\(kind)")
            }
        }
        if output.json {
            JSONLine.write(
                Summary(
                    olderSnapshotId: ends.older.id.hexadecimal,
                    newerSnapshotId: ends.newer.id.hexadecimal, extents: count,
                    bytesChanged: changed, bytesZeroed: zeroed))
        }
        output.say(
            "\(Human.count(count, "extent")), \(Human.bytes(changed)) differ, \(Human.bytes(zeroed)) of them zero "
                + "in the newer one")
    }

    private static let letters: [FileChange.Kind: String] = [
        .added: "+", .removed: "-", .modified: "M", .metadata: "U", .renamed: "R",
    ]

    private func showFiles(_ service: OpenRepository) throws {
        let (older, newer, found) = try service.fileDifference(
            SnapshotSelector(self.older), SnapshotSelector(self.newer), partition: partition)
        for change in found.changes {
            let path = ByteString(bytes: change.path)
            let oldPath = change.oldPath.map { ByteString(bytes: $0) }
            guard !output.json else {
                JSONLine.write(
                    File(
                        change: change.kind.rawValue, path: path.readable,
                        pathBytes: path.hexadecimalIfNeeded, oldPath: oldPath?.readable,
                        oldPathBytes: oldPath?.hexadecimalIfNeeded,
                        kind: change.fileKind.rawValue, inode: change.inode))
                continue
            }
            let name =
                path.escaped + (change.fileKind == .directory && path != "/" ? "/" : "")
            output.say(
                "\(Self.letters[change.kind] ?? "?") "
                    + (oldPath.map { "\($0.escaped) -> " } ?? "") + name)
        }
        if output.json {
            JSONLine.write(
                FileSummary(
                    olderSnapshotId: older.id.hexadecimal,
                    newerSnapshotId: newer.id.hexadecimal, files: found.changes.count,
                    nameless: found.namelessCount))
        }
        if found.namelessCount > 0 {
            output.note("\(Human.count(found.namelessCount, "file")) without a name also changed")
        }
    }
}
