import ArgumentParser
import BlockModel
import Repository
import SnapshotService

struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show which bytes differ between two snapshots.",
        discussion: "A snapshot is \(SnapshotSelector.help).")

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The older snapshot.")
    var older: String

    @Argument(help: "The newer snapshot.")
    var newer: String

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
}
