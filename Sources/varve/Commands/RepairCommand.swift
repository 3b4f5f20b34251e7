import ArgumentParser
import BlockModel
import ProcessStart
import RepositoryModel
import SnapshotService
import Workflows

struct RepairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Bring back what is lost, from wherever it is still known.",
        discussion: """
            All data is read and proved, as by 'check --read-data'. Deltas that are lost are written \
            again from what the index knows, or taken from other repositories; the index is built anew \
            where it is wrong. Blocks that snapshots need and nothing gives are looked for in packs that \
            cannot be read, frame by frame; in other repositories; and on disks, in use or not, which \
            may still have them. All of it is proved by digests before anything relies on it. Snapshots \
            that lack blocks even so are marked, in 'varve snapshots'. Damaged packs that nothing needs \
            any more are deleted by the next 'varve prune'.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "Another repository, such as a copy; may be given several times.")
    var fromRepo: [String] = []

    @Option(help: "A disk, a partition or an image file; may be given several times.")
    var from: [String] = []

    @Flag(
        help: ArgumentHelp(
            "Give up snapshots that no path of deltas leads to, and notes that cannot be read.",
            discussion: """
                Without it they stay, as damage, and nothing of their volume is forgotten or pruned. Their \
                numbers are not used again.
                """))
    var forgetLost = false

    private struct MendedMessage: Encodable {
        var messageType = "mended"
        let volume: String
        let generation: UInt64
        let snapshotId: String
        let from: String
    }

    private struct LostMessage: Encodable {
        var messageType = "lost"
        let volume: String
        let generation: UInt64
        let snapshotId: String?
        let reason: String
        /// Nil where the snapshot as a whole is lost.
        let blocksLacking: UInt64?
    }

    private struct Summary: Encodable {
        var messageType = "summary"
        let snapshotsMended: Int
        let snapshotsLost: Int
        let snapshotsLackingBlocks: Int
        let blocksLost: Int
        let blocksMended: Int
        let objectsDeleted: [String]
        let indexRebuilt: Bool
        let packsToPrune: Int
        let findings: Int
    }

    private struct ConfigMessage: Encodable {
        var messageType = "config"
        let repositoryId: String
        let blockSize: Int
        let objects: Int
        let foreignObjects: Int
    }

    /// Without `config` nothing else can begin.
    private func rescueConfiguration() throws {
        guard
            let rescue = try OpenRepository.rescueConfiguration(
                location: try repository.location())
        else { return }
        let id = rescue.repository.hexadecimal
        if output.json {
            JSONLine.write(
                ConfigMessage(
                    repositoryId: id, blockSize: rescue.blockByteCount, objects: rescue.objectCount,
                    foreignObjects: rescue.foreignCount))
        }
        let others =
            rescue.foreignCount == 0 ? "" : "; \(rescue.foreignCount) are of other repositories"
        output.say(
            "config was written again: repository \(id), blocks of \(rescue.blockByteCount) bytes, as "
                + "\(Human.count(rescue.objectCount, "object")) say\(others)")
    }

    func run() throws {
        try rescueConfiguration()
        let service = try repository.open(output)
        let environment = ProcessStart.environment
        let others = try fromRepo.map {
            try OpenRepository(location: $0, environment: environment, logger: output.logger)
        }
        var options = RepairOptions()
        options.sources = from
        options.givesUp = forgetLost
        let line = ProgressLine("proved", output)
        nonisolated(unsafe) let shown = line
        let summary = try service.repair(from: others, options) { done, total in
            shown.update(done: done, total: total)
        }
        line.clear()
        if output.json { write(summary) } else { say(summary) }
        try conclude(summary)
    }

    private func write(_ summary: RepairSummary) {
        for (volume, mended) in summary.mended {
            JSONLine.write(
                MendedMessage(
                    volume: volume.rawValue, generation: mended.generation,
                    snapshotId: mended.snapshot.hexadecimal, from: mended.origin.rawValue))
        }
        for (volume, lost) in summary.lost {
            JSONLine.write(
                LostMessage(
                    volume: volume.rawValue, generation: lost.generation,
                    snapshotId: lost.id?.hexadecimal, reason: lost.reason, blocksLacking: nil))
        }
        for (volume, snapshot, count) in summary.lacking {
            JSONLine.write(
                LostMessage(
                    volume: volume.rawValue, generation: snapshot.generation,
                    snapshotId: snapshot.id.hexadecimal, reason: "blocks are lost",
                    blocksLacking: count))
        }
        JSONLine.write(
            Summary(
                snapshotsMended: summary.mended.count, snapshotsLost: summary.lost.count,
                snapshotsLackingBlocks: summary.lacking.count,
                blocksLost: summary.lostBlockCount, blocksMended: summary.mendedBlockCount,
                objectsDeleted: summary.deleted, indexRebuilt: summary.indexWasRebuilt,
                packsToPrune: summary.uselessPackCount, findings: summary.findings.count))
    }

    private func say(_ summary: RepairSummary) {
        for (volume, mended) in summary.mended {
            let origin =
                switch mended.origin {
                case .index: "written again from the index"
                case .otherRepository: "copied from another repository"
                case .otherPath: "another path leads to it"
                }
            output.say("\(volume)@\(mended.generation): its delta is back; \(origin)")
        }
        for (volume, lost) in summary.lost {
            output.say("\(volume)@\(lost.generation): lost; \(lost.reason)")
        }
        for (volume, snapshot, count) in summary.lacking {
            output.say(
                "\(volume)@\(snapshot.generation): lacks \(Human.count(Int(count), "block"))")
        }
        for name in summary.deleted { output.say("deleted \(name)") }
        for finding in summary.findings { output.say("\(finding.subject): \(finding.reason)") }
        if summary.indexWasRebuilt { output.say("the index was wrong, and was built anew") }
        if summary.lostBlockCount > 0 {
            output.say(
                "\(Human.count(summary.lostBlockCount, "block")) were lost, of which "
                    + "\(summary.mendedBlockCount) are stored again")
        }
        if summary.uselessPackCount > 0 {
            output.say(
                "\(Human.count(summary.uselessPackCount, "damaged pack")) that nothing needs any "
                    + "more: 'varve prune' deletes what is left of them")
        }
    }

    private func conclude(_ summary: RepairSummary) throws {
        guard summary.isWhole else {
            var text: [String] = []
            if !summary.lost.isEmpty {
                text.append("\(Human.count(summary.lost.count, "snapshot")) cannot be brought back")
            }
            if !summary.lacking.isEmpty {
                text.append("\(Human.count(summary.lacking.count, "snapshot")) still lack blocks")
            }
            if summary.hasMoreLostBlocks {
                text.append("more is lost than is looked for at once: repair again")
            }
            var remedy = "; name other repositories (--from-repo)"
            if !summary.lacking.isEmpty {
                remedy += " or disks (--from) that may have them, or forget them ('varve forget')"
            }
            if !summary.lost.isEmpty { remedy += ", or give up what is lost (--forget-lost)" }
            throw ServiceError(.damaged, text.joined(separator: ", ") + remedy)
        }
        guard summary.findings.isEmpty else {
            throw ServiceError(
                .damaged,
                "every snapshot can be restored, but "
                    + "\(Human.count(summary.findings.count, "thing")) above cannot be mended; see "
                    + "'varve check'")
        }
        if summary.mended.isEmpty && summary.lostBlockCount == 0 && summary.deleted.isEmpty {
            output.say("nothing is lost")
        } else {
            output.say("every snapshot can be restored")
        }
    }
}
