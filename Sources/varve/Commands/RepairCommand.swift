import ArgumentParser
import FoundationEssentials
import Repository
import SnapshotService

struct RepairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Store again what is lost, from wherever it is still found.",
        discussion: """
            All data is read and proved, as by 'check --read-data'. Blocks that snapshots need and \
            nothing gives are looked for: in packs whose tables are lost, frame by frame; in other \
            repositories; and on disks, in use or not, which may still have them. Each is proved by \
            its digest, and stored in full. Nothing that is there is changed or deleted.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "Another repository, such as a copy; may be given several times.")
    var fromRepo: [String] = []

    @Option(help: "A disk, a partition or an image file; may be given several times.")
    var from: [String] = []

    private struct Summary: Encodable {
        var messageType = "summary"
        let findings: Int
        let blocksLost: Int
        let blocksMended: Int
    }

    func run() throws {
        let service = try repository.open(output)
        let environment = ProcessInfo.processInfo.environment
        let others = try fromRepo.map {
            try SnapshotService(location: $0, environment: environment, logger: output.logger)
        }
        let line = ProgressLine("proved", output)
        nonisolated(unsafe) let shown = line
        let summary = try service.repair(from: others, sources: from) { done, total in
            shown.update(done: done, total: total)
        }
        line.clear()
        let left = summary.lostCount - summary.mendedCount
        if output.json {
            JSONLine.write(
                Summary(
                    findings: summary.report.findings.count, blocksLost: summary.lostCount,
                    blocksMended: summary.mendedCount))
        } else {
            for finding in summary.report.findings where left > 0 || finding.isHarmless {
                output.say("\(finding.subject): \(finding.reason)")
            }
        }
        guard left == 0 else {
            throw ServiceError(
                .damaged,
                "\(Human.count(summary.lostCount, "block")) were lost, \(summary.mendedCount) are stored "
                    + "again, \(left) were not found; name other repositories (--from-repo) or disks "
                    + "(--from) that may have them")
        }
        let harm = summary.report.findings.count {
            !$0.isHarmless && $0.lack == nil && !$0.subject.hasPrefix("packs/")
        }
        guard harm == 0 else {
            throw ServiceError(
                .damaged,
                "no block is lost, but \(Human.count(harm, "finding")) of 'varve check' cannot be mended"
            )
        }
        output.say(
            summary.lostCount == 0
                ? "nothing is lost"
                : "\(Human.count(summary.lostCount, "block")) were lost, and all are stored again")
    }
}
