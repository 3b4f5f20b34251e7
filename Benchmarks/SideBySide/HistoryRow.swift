import BlockModel
import LinuxIO
import LiveVolumes
import Logging
import RepositoryFormat
import RepositoryModel
import SnapshotService
import Workflows

/// A year of hours on a small volume: the last snapshot must open as fast as the first.
extension Workbench {
    static let openTarget = 1.2
    private static let volumeByteCount: UInt64 = 64 << 20

    func measureHistory() throws {
        let count = options.generations
        let repository = try newRepository("history")
        let path = scratch + "/history.img"
        try makeDatabase(path, byteCount: Self.volumeByteCount, seed: options.seed ^ 0x81)
        let captures = try capture(path, count: count, in: repository)
        reportCaptures(captures)

        let list = try repeated("history, list") {
            try self.varve(repository.command("snapshots", "disk"), "list of \(count) snapshots")
        }
        addTime(list, "list \(count) snapshots")
        try measureOpening(repository, count: count)
        let cold = try repeated("history, restore without the index") {
            try repository.removeIndex()
            return try self.stream(repository, count)
        }
        addTime(cold, "restore snapshot \(count) (64 MiB), the index deleted")

        let target = scratch + "/restored.img"
        try Storage.remove(target)
        _ = try varve(
            repository.command("restore", "--quiet", "disk@latest", target), "restore")
        try prove(target, equals: path, row: "history")
        let stored = try repository.storedByteCount()
        report.add(
            ResultRow(
                row: "history", work: "repository of \(count) generations",
                varve: "\(Format.bytes(stored)), "
                    + "\(try Storage.fileCount(of: repository.path)) files"))
        try reportIndex(
            repository, row: "history", dataByteCount: DiskImage.dataByteCount(of: path),
            changedBlockCount: captures.changedBlocks)
        try Storage.remove(target)
        try Storage.remove(path)
        try repository.remove()
    }

    // MARK: Building it

    private struct Captures {
        var seconds: [Double] = []
        var changedBlocks: UInt64 = 0
    }

    /// A volume of pages as databases have them.
    func makeDatabase(_ path: String, byteCount: UInt64, seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        try DiskImage.createEmpty(path, byteCount: byteCount)
        let editor = try ImageEditor(path)
        for page in 0..<(Int(byteCount) / 8192) {
            let bytes = SyntheticText.databasePage(number: page, byteCount: 8192, &generator)
            try editor.write(bytes, at: UInt64(page * 8192))
        }
        try editor.synchronize()
    }

    /// Captures generations through the package's own service, in this process: one or two pages
    /// change before each.
    private func capture(
        _ path: String,
        count: Int,
        in repository: VarveRepository
    ) throws -> Captures {
        var logger = Logger(label: "varve-benchmark")
        logger.logLevel = .error
        let service = try OpenRepository(
            location: repository.path, environment: ["VARVE_CACHE_DIR": repository.cache],
            logger: logger)
        guard let volume = VolumeName("disk") else { throw BenchmarkError("not a volume name") }
        let workflow = BackupWorkflow(
            service, states: StateDirectory(path: repository.cache + "/states"))
        let source = BackupWorkflow.Source(
            file: path, volume: volume, options: BackupOptions())
        var generator = SeededGenerator(seed: options.seed ^ 0x82)
        let editor = try ImageEditor(path)
        var captures = Captures()
        for generation in 1...count {
            let start = SystemClock.monotonicNanoseconds()
            let summary = try workflow.run(source)
            captures.seconds.append(
                Double(SystemClock.monotonicNanoseconds() - start) / 1e9)
            if generation > 1 { captures.changedBlocks += summary.facts.blocksChanged }
            if generation % 500 == 0 {
                let recent = Statistics.median(Array(captures.seconds.suffix(100)))
                report.progress(
                    "history: \(generation) of \(count) generations, "
                        + "\(Format.seconds(recent)) each")
            }
            guard generation < count else { break }
            for _ in 0...generator.below(2) {
                let page = UInt64(generator.hot(below: Int(Self.volumeByteCount / 4096)))
                try editor.write(SyntheticText.record(&generator), at: page * 4096 + 512)
            }
            try editor.synchronize()
        }
        return captures
    }

    private func reportCaptures(_ captures: Captures) {
        let part = min(100, captures.seconds.count / 2)
        let first = Statistics.median(Array(captures.seconds.dropFirst().prefix(part)))
        let last = Statistics.median(Array(captures.seconds.suffix(part)))
        report.add(
            ResultRow(
                row: "history", work: "one capture, median of the last \(part)",
                varve: Format.seconds(last), reference: "of the first: \(Format.seconds(first))",
                ratio: last / first,
                note: "made in one process, through the package's own service"))
    }

    // MARK: Using it

    private func measureOpening(_ repository: VarveRepository, count: Int) throws {
        let pairs = try pairs(
            "history, open", count: max(5, options.pairCount),
            varve: { try self.open(repository, count) },
            reference: { try self.open(repository, 1) })
        report.add(
            ResultRow(
                row: "history", work: "open snapshot \(count) (diff with itself)",
                varve: Self.time(pairs.varve),
                reference: "snapshot 1: \(Self.time(pairs.reference))",
                ratio: 1 / pairs.speedRatio, note: "\(pairs.varve.count) pairs",
                samples: pairs.samples),
            atMost: Self.openTarget)
        let streams = try self.pairs(
            "history, restore", count: options.pairCount,
            varve: { try self.stream(repository, count) },
            reference: { try self.stream(repository, 1) })
        report.add(
            ResultRow(
                row: "history", work: "restore snapshot \(count) (64 MiB), with the index",
                varve: Self.time(streams.varve),
                reference: "snapshot 1: \(Self.time(streams.reference))",
                ratio: 1 / streams.speedRatio, note: "\(streams.varve.count) pairs",
                samples: streams.samples))
    }

    private func open(_ repository: VarveRepository, _ generation: Int) throws -> Measurement {
        let name = "disk@\(generation)"
        return try varve(repository.command("diff", name, name), "open of \(name)")
    }

    private func stream(_ repository: VarveRepository, _ generation: Int) throws -> Measurement {
        var command = repository.command("restore", "disk@\(generation)", "-")
        command.output = "/dev/null"
        return try varve(command, "restore of generation \(generation)")
    }

    private func repeated(
        _ name: String,
        _ body: () throws -> Measurement
    ) throws -> [Measurement] {
        report.progress(name)
        return try (0..<options.pairCount).map { _ in try body() }
    }

    private func addTime(_ series: [Measurement], _ work: String) {
        report.add(
            ResultRow(
                row: "history", work: work, varve: Self.time(series),
                note: "median of \(series.count)", samples: ["varve": series]))
    }

    private static func time(_ series: [Measurement]) -> String {
        Format.seconds(Statistics.median(series.map(\.wallSeconds))) + ", CPU "
            + Format.seconds(Statistics.median(series.map(\.cpuSeconds)))
    }
}
