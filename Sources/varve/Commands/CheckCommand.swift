import ArgumentParser
import BlockModel
import RepositoryModel
import SnapshotService
import Workflows

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Verify the repository: its structure, or all its data.",
        discussion: """
            Without options, reads every object except the contents of packs, and recomputes the \
            image digest of every snapshot from the deltas. --read-data also decodes every block.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Flag(help: "Read and verify every block.")
    var readData = false

    @Option(help: "Read and verify a random share of the packs, such as 5%.")
    var readDataSubset: String?

    private struct FindingMessage: Encodable {
        var messageType = "finding"
        let subject: String
        let reason: String
        let harmless: Bool
        let volume: String?
        let firstGeneration: UInt64?
        let lastGeneration: UInt64?
        let blocksLost: UInt64?

        init(_ finding: Finding) {
            subject = finding.subject
            reason = finding.reason
            harmless = finding.isHarmless
            volume = finding.lack?.volume.rawValue
            firstGeneration = finding.lack?.generations.lowerBound
            lastGeneration = finding.lack?.generations.upperBound
            blocksLost = finding.lack?.blockCount
        }
    }

    private struct Summary: Encodable {
        var messageType = "summary"
        let volumes: Int
        let snapshots: Int
        let packs: Int
        let packsRead: Int
        let bytesRead: UInt64
        let findings: Int
        let harmlessFindings: Int
        let snapshotsLackingBlocks: UInt64
    }

    private func coverage() throws -> DataCoverage {
        if readData { return .all }
        guard let readDataSubset else { return .none }
        let digits =
            readDataSubset.hasSuffix("%") ? String(readDataSubset.dropLast()) : readDataSubset
        guard let percent = Double(digits), percent > 0, percent <= 100 else {
            throw ServiceError(
                .usage, "'\(readDataSubset)' is not a share; use a percentage such as 5%")
        }
        return .percent(percent)
    }

    func run() throws {
        let coverage = try coverage()
        let service = try repository.open(output)
        let line = ProgressLine("proved", output)
        nonisolated(unsafe) let shown = line
        let report = try service.check(coverage) { done, total in
            shown.update(done: done, total: total)
        }
        line.clear()
        for finding in report.findings {
            if output.json {
                JSONLine.write(FindingMessage(finding))
            } else {
                Terminal.line("\(finding.subject): \(finding.reason)")
            }
        }
        if output.json {
            JSONLine.write(
                Summary(
                    volumes: report.volumeCount, snapshots: report.snapshotCount,
                    packs: report.packCount, packsRead: report.packsRead,
                    bytesRead: report.bytesRead, findings: report.findings.count,
                    harmlessFindings: report.findings.count - report.harmCount,
                    snapshotsLackingBlocks: report.lackingSnapshotCount))
        }
        try conclude(report, coverage)
    }

    private func conclude(_ report: CheckReport, _ coverage: DataCoverage) throws {
        let read =
            coverage == .none
            ? "structure only; --read-data also verifies the data"
            : "\(Human.count(report.packsRead, "pack")) read (\(Human.bytes(report.bytesRead)))"
        let scope =
            "in \(Human.count(report.volumeCount, "volume")), "
            + "\(Human.count(report.snapshotCount, "snapshot")), "
            + "\(Human.count(report.packCount, "pack")) (\(read))"
        let findings = Human.count(report.findings.count, "finding")
        guard report.harmCount == 0 else {
            var text = "\(findings) \(scope)"
            if report.lackingSnapshotCount > 0 {
                text +=
                    "; \(report.lackingSnapshotCount) of \(report.snapshotCount) cannot be restored "
                    + "completely: 'varve repair' looks for lost blocks, and the next backup "
                    + "stores again what its disk still has"
            }
            throw ServiceError(.damaged, text)
        }
        output.say(
            report.findings.isEmpty
                ? "no damage \(scope)"
                : "no snapshot is damaged: \(findings) that affect no snapshot \(scope)")
    }
}
