import ArgumentParser
import Repository
import SnapshotService

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prove the repository whole: its structure, or all its data.",
        discussion: """
            Without options every object but the contents of packs is read, and the image digest of \
            every snapshot is computed anew from the deltas. --read-data also decodes every block.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Flag(help: "Read and prove every block.")
    var readData = false

    @Option(help: "Read and prove a random share of the packs, such as 5%.")
    var readDataSubset: String?

    private struct FindingMessage: Encodable {
        var messageType = "finding"
        let subject: String
        let reason: String
    }

    private struct Summary: Encodable {
        var messageType = "summary"
        let volumes: Int
        let snapshots: Int
        let packs: Int
        let packsRead: Int
        let bytesRead: UInt64
        let findings: Int
    }

    private func coverage() throws -> DataCoverage {
        if readData { return .all }
        guard let readDataSubset else { return .none }
        let digits =
            readDataSubset.hasSuffix("%") ? String(readDataSubset.dropLast()) : readDataSubset
        guard let percent = Double(digits), percent > 0, percent <= 100 else {
            throw ServiceError(
                .usage, "'\(readDataSubset)' is no share; use a number of percent such as 5%")
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
                JSONLine.write(FindingMessage(subject: finding.subject, reason: finding.reason))
            } else {
                Terminal.write("\(finding.subject): \(finding.reason)\n")
            }
        }
        if output.json {
            JSONLine.write(
                Summary(
                    volumes: report.volumeCount, snapshots: report.snapshotCount,
                    packs: report.packCount, packsRead: report.packsRead,
                    bytesRead: report.bytesRead, findings: report.findings.count))
        }
        let read =
            coverage == .none
            ? "structure only; --read-data proves the data too"
            : "\(report.packsRead) packs read (\(Human.bytes(report.bytesRead)))"
        guard report.findings.isEmpty else {
            throw ServiceError(
                .damaged,
                "\(report.findings.count) findings in \(report.volumeCount) volumes, "
                    + "\(report.snapshotCount) snapshots, \(report.packCount) packs (\(read))")
        }
        output.say(
            "no damage in \(report.volumeCount) volumes, \(report.snapshotCount) snapshots, "
                + "\(report.packCount) packs (\(read))")
    }
}
