import BlockModel
import LinuxIO
import LiveVolumes
import Logging
import RepositoryFormat
import SnapshotService
import Workflows

/// Giving space back: what it costs must follow what is freed, not what is kept.
extension Workbench {
    static let pruneGrowthTarget = 1.3
    private static let smallByteCount: UInt64 = 64 << 20

    /// The same thousand snapshots of a volume and of one ten times as large; of both one snapshot is
    /// forgotten and pruned at a time, in turns.
    func measurePrune() throws {
        let count = min(1000, options.generations)
        var repositories: [VarveRepository] = []
        var paths: [String] = []
        for factor in [UInt64(1), 10] {
            let repository = try newRepository("prune-\(factor)")
            let path = scratch + "/prune-\(factor).img"
            try makeDatabase(
                path, byteCount: factor * Self.smallByteCount, seed: options.seed ^ 0xA1)
            try captureChurn(path, count: count, in: repository)
            repositories.append(repository)
            paths.append(path)
        }
        // The first prune takes everything into the account.
        let first = try repositories.map { try prune($0) }
        var series: [[Measurement]] = [[], []]
        var freed: Int64 = 0
        for round in 0..<options.pairCount {
            let victim = "disk@\(count / 4 + 50 * (round + 1))"
            for turn in 0..<2 {
                let index = (turn + round) % 2
                _ = try varve(
                    repositories[index].command("forget", "--quiet", "--now", victim), "forget")
                let before = try repositories[index].storedByteCount()
                series[index].append(try prune(repositories[index]))
                freed += Int64(before) - Int64(try repositories[index].storedByteCount())
            }
        }
        let times = series.map { Statistics.median($0.map(\.wallSeconds)) }
        let sizes = try repositories.map { Format.bytes(try $0.storedByteCount()) }
        report.add(
            ResultRow(
                row: "prune",
                work: "prune after forgetting one of \(count), repository ten times as large",
                varve: Format.seconds(times[1]), reference: "small: \(Format.seconds(times[0]))",
                ratio: times[1] / times[0],
                note:
                    "\(sizes[1]) and \(sizes[0]); \(Format.bytes(UInt64(max(0, freed)))) freed in "
                    + "all; the first prune, which counts everything, "
                    + "\(Format.seconds(first[1].wallSeconds)) and "
                    + Format.seconds(first[0].wallSeconds),
                samples: ["large": series[1], "small": series[0]]),
            atMost: Self.pruneGrowthTarget)
        for repository in repositories {
            _ = try varve(repository.command("check", "--read-data", "--quiet"), "check")
            try repository.remove()
        }
        for path in paths { try Storage.remove(path) }
    }

    private func prune(_ repository: VarveRepository) throws -> Measurement {
        try varve(repository.command("prune", "--quiet", "--max-unused", "0%"), "prune")
    }

    /// Snapshots of which each has a block that no other has.
    private func captureChurn(
        _ path: String,
        count: Int,
        in repository: VarveRepository
    ) throws {
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
        var generator = SeededGenerator(seed: options.seed ^ 0xA2)
        let editor = try ImageEditor(path)
        for generation in 1...count {
            let noise = (0..<65_536 / 8).flatMap { _ -> [UInt8] in
                withUnsafeBytes(of: generator.next()) { Array($0) }
            }
            try editor.write(noise, at: 1 << 20)
            let page = UInt64(generator.hot(below: Int(Self.smallByteCount / 4096)))
            try editor.write(SyntheticText.record(&generator), at: page * 4096 + 512)
            try editor.synchronize()
            _ = try workflow.run(source)
            if generation % 250 == 0 {
                report.progress("prune: \(generation) of \(count) snapshots")
            }
        }
    }

    // MARK: Beside others

    /// Lets every program forget all but the two newest of the hours and give the space back; each time
    /// from the same repositories.
    func reportThinning(_ contestants: [Contestant]) throws {
        var series: [Contestant.Kind: [Measurement]] = [:]
        var left: [Contestant.Kind: UInt64] = [:]
        let before = try contestants.map { try $0.storedByteCount() }
        for contestant in contestants {
            for directory in contestant.directories {
                _ = try runner.run(Command("cp", "-a", directory, directory + ".kept"))
            }
        }
        for round in 0..<options.pairCount {
            for turn in contestants.indices {
                let contestant = contestants[(turn + round) % contestants.count]
                PageCache.settle()
                var sum = Measurement()
                for command in contestant.thinning {
                    let measured =
                        contestant.kind == .varve
                        ? try varve(command, "forget --prune") : try runner.run(command)
                    sum.wallSeconds += measured.wallSeconds
                    sum.cpuSeconds += measured.cpuSeconds
                }
                series[contestant.kind, default: []].append(sum)
                left[contestant.kind] = try contestant.storedByteCount()
                for directory in contestant.directories {
                    try Storage.remove(directory)
                    _ = try runner.run(Command("cp", "-a", directory + ".kept", directory))
                }
            }
        }
        for contestant in contestants {
            for directory in contestant.directories { try Storage.remove(directory + ".kept") }
        }
        let wall = { (kind: Contestant.Kind) in
            Statistics.median((series[kind] ?? []).map(\.wallSeconds))
        }
        let cpu = { (kind: Contestant.Kind) in
            Statistics.median((series[kind] ?? []).map(\.cpuSeconds))
        }
        let text = { (kind: Contestant.Kind) in
            "\(Format.seconds(wall(kind))), CPU \(Format.seconds(cpu(kind)))"
        }
        report.add(
            ResultRow(
                row: "hours", work: "all but two forgotten, space given back",
                varve: text(.varve),
                reference: "restic \(text(.restic)); borg \(text(.borg))",
                ratio: wall(.varve) / min(wall(.restic), wall(.borg)),
                note: "median of \(options.pairCount); forget --prune, forget --prune, prune and "
                    + "compact",
                samples: [
                    "varve": series[.varve] ?? [], "restic": series[.restic] ?? [],
                    "borg": series[.borg] ?? [],
                ]))
        let freed = zip(contestants, before).map { contestant, before in
            "\(contestant.kind.rawValue) \(Format.bytes(before - min(before, left[contestant.kind] ?? 0)))"
        }
        report.add(
            ResultRow(
                row: "hours", work: "bytes of the repository then",
                varve: Format.bytes(left[.varve] ?? 0),
                reference: "restic \(Format.bytes(left[.restic] ?? 0)), "
                    + "borg \(Format.bytes(left[.borg] ?? 0))",
                ratio: Double(left[.varve] ?? 0)
                    / Double(max(1, min(left[.restic] ?? 0, left[.borg] ?? 0))),
                note: "freed: " + freed.joined(separator: ", ")))
    }
}
