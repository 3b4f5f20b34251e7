import ArgumentParser
import BlockModel
import RepositoryModel
import SnapshotService

struct StatsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats",
        abstract: "Show the contents and size of the repository.")

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Flag(help: "Show what each snapshot alone costs, and what forgetting it would free.")
    var snapshots = false

    private struct Cost: Encodable {
        var messageType = "snapshot"
        let volume: String
        let generation: UInt64
        let snapshotId: String
        let time: String
        let bytesAlone: UInt64
        let bytesFreed: UInt64
    }

    private struct Summary: Encodable {
        var messageType = "summary"
        let volumes: Int
        let snapshots: Int
        let damagedSnapshots: Int
        let restorableBytes: UInt64
        let storedBytes: UInt64
        let storedBytesByKind: [String: UInt64]
        let packs: Int
        let blocks: Int
        let indexBytes: UInt64
    }

    func run() throws {
        let service = try repository.open(output)
        if snapshots { return try showCosts(service) }
        let numbers = try service.statistics()
        if output.json {
            JSONLine.write(
                Summary(
                    volumes: numbers.volumeCount, snapshots: numbers.snapshotCount,
                    damagedSnapshots: numbers.damagedSnapshotCount,
                    restorableBytes: numbers.restorableByteCount,
                    storedBytes: numbers.storedByteCount,
                    storedBytesByKind: numbers.storedByteCounts, packs: numbers.packCount,
                    blocks: numbers.blockCount, indexBytes: numbers.indexByteCount))
            return
        }
        var rows = [
            ["volumes", "\(numbers.volumeCount)"], ["snapshots", "\(numbers.snapshotCount)"],
            ["restorable", Human.bytes(numbers.restorableByteCount)],
            ["stored", Human.bytes(numbers.storedByteCount)],
        ]
        for (kind, count) in numbers.storedByteCounts.sorted(by: { $0.key < $1.key }) {
            rows.append(["  \(kind)", Human.bytes(count)])
        }
        rows.append(["packs", "\(numbers.packCount)"])
        rows.append(["different blocks", "\(numbers.blockCount)"])
        rows.append(["index (cache)", Human.bytes(numbers.indexByteCount)])
        if numbers.damagedSnapshotCount > 0 {
            rows.append(["damaged snapshots", "\(numbers.damagedSnapshotCount)"])
        }
        output.say(Human.table(rows, right: [1]))
    }

    private func showCosts(_ service: OpenRepository) throws {
        var rows = [["snapshot", "time", "alone", "frees"]]
        for (volume, snapshot, cost) in try service.costs() {
            if output.json {
                JSONLine.write(
                    Cost(
                        volume: volume.rawValue, generation: snapshot.generation,
                        snapshotId: snapshot.id.hexadecimal, time: snapshot.facts.time.rfc3339,
                        bytesAlone: cost.aloneByteCount, bytesFreed: cost.ownByteCount))
            }
            rows.append([
                "\(volume)@\(snapshot.generation)", Moment.local(snapshot.facts.time),
                Human.bytes(cost.aloneByteCount), Human.bytes(cost.ownByteCount),
            ])
        }
        output.say(Human.table(rows, right: [2, 3]))
    }
}
