import ArgumentParser
import BlockModel
import ProcessStart
import RepositoryModel
import SnapshotService
import Workflows

struct RepairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Recover lost data from wherever a copy still exists.",
        discussion: """
            Reads and verifies all data, like 'check --read-data'. Restores lost deltas \
            from the index or from other repositories, and rebuilds the index \
            if it is wrong. Looks for lost blocks frame by frame in unreadable \
            packs, in other repositories, and on disks that \
            may still have them, in use or not. Verifies everything by digest before use. Marks \
            snapshots that still lack blocks, in 'varve snapshots'. The next 'varve prune' deletes \
            damaged packs that are no longer needed.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "Another repository, such as a copy; can be repeated.")
    var fromRepo: [String] = []

    @Option(help: "A disk, a partition or an image file; can be repeated.")
    var from: [String] = []

    @Flag(
        help: ArgumentHelp(
            "Give up snapshots without a path of deltas, and notes that cannot be read.",
            discussion: """
                Without it they remain as damage, and nothing of their volume is forgotten or \
                pruned. Their numbers are not reused.
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
            rescue.foreignCount == 0 ? "" : "; \(rescue.foreignCount) belong to other repositories"
        output.say(
            "config was restored: repository \(id), blocks of \(rescue.blockByteCount) bytes, "
                + "according to \(Human.count(rescue.objectCount, "object"))\(others)")
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
                case .index: "restored from the index"
                case .otherRepository: "copied from another repository"
                case .otherPath: "another path leads to it"
                }
            output.say("\(volume)@\(mended.generation): its delta is recovered; \(origin)")
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
        if summary.indexWasRebuilt { output.say("the index was wrong and was rebuilt") }
        if summary.lostBlockCount > 0 {
            output.say(
                "\(Human.count(summary.lostBlockCount, "block")) were lost, "
                    + "\(summary.mendedBlockCount) recovered")
        }
        if summary.uselessPackCount > 0 {
            output.say(
                "\(Human.count(summary.uselessPackCount, "damaged pack")) no longer "
                    + "needed: 'varve prune' deletes the rest of them")
        }
    }

    private func conclude(_ summary: RepairSummary) throws {
        guard summary.isWhole else {
            var text: [String] = []
            if !summary.lost.isEmpty {
                text.append("\(Human.count(summary.lost.count, "snapshot")) cannot be recovered")
            }
            if !summary.lacking.isEmpty {
                text.append("\(Human.count(summary.lacking.count, "snapshot")) still lack blocks")
            }
            if summary.hasMoreLostBlocks {
                text.append("more is lost than one run can handle: repair again")
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
                    + "\(Human.count(summary.findings.count, "thing")) above cannot be repaired; "
                    + "see 'varve check'")
        }
        if summary.mended.isEmpty && summary.lostBlockCount == 0 && summary.deleted.isEmpty {
            output.say("nothing is lost")
        } else {
            output.say("every snapshot can be restored")
        }
    }
}
