import BlockModel
import LinuxIO
import LiveVolumes
import Logging
import Repository
import RepositoryFormat
import RepositoryModel
import Retention
import SnapshotService
import Workflows

/// A year of hours under a policy: forgetting must cost as little at the end as at the start.
extension Workbench {
    private static let yearVolumeByteCount: UInt64 = 16 << 20
    static let forgetSecondsLimit = 1.0

    func measureYear() throws {
        let repository = try newRepository("year")
        let path = scratch + "/year.img"
        try makeDatabase(path, byteCount: Self.yearVolumeByteCount, seed: options.seed ^ 0x91)
        var year = try Year(repository, path, options)
        var digests: [UInt64: Digest] = [:]
        var early: [Use: [Measurement]] = [:]
        for hour in 1...options.generations {
            let generation = try year.capture()
            digests[generation] = try Self.digest(of: path)
            try year.forget()
            if hour % Self.hoursBetweenPrunes == 0 { try year.prune() }
            if hour == Self.earlyHour { early = try use(repository) }
            if hour % 500 == 0 {
                let recent = Statistics.median(Array(year.forgetSeconds.suffix(100)))
                report.progress(
                    "year: \(hour) of \(options.generations) hours, forgetting takes "
                        + Format.seconds(recent))
            }
        }
        report(year)
        if !early.isEmpty { report(early, try use(repository)) }
        var restored = 0
        for snapshot in try year.snapshots() {
            let target = scratch + "/year.out"
            try Storage.remove(target)
            _ = try varve(
                repository.command(
                    "restore", "--quiet", "disk@\(snapshot.generation)", target), "restore")
            guard try Self.digest(of: target) == digests[snapshot.generation] else {
                throw BenchmarkError("year: snapshot \(snapshot.generation) is not what it was")
            }
            restored += 1
            try Storage.remove(target)
        }
        report.add(
            ResultRow(
                row: "year", work: "kept snapshots, restored bit for bit", varve: "\(restored)"))
        let objects = try Storage.fileCount(of: repository.path)
        let packs = try Storage.fileCount(of: repository.path + "/packs")
        report.add(
            ResultRow(
                row: "year", work: "objects beside packs after \(options.generations) hours",
                varve: "\(objects - packs)", note: "\(packs) packs, pruned each week"))
        try Storage.remove(path)
        try repository.remove()
    }

    private static let hoursBetweenPrunes = 7 * 24
    /// When the repository is used for the first time: a month of days is kept by then.
    private static let earlyHour = 31 * 24

    /// What a repository is used for, whose time must not grow with the years.
    private enum Use: String, CaseIterable {
        case list = "list the snapshots"
        case open = "open the newest (diff with itself)"
        case rebuild = "build the index anew"
    }

    private func use(_ repository: VarveRepository) throws -> [Use: [Measurement]] {
        var measurements: [Use: [Measurement]] = [:]
        for use in Use.allCases {
            let arguments =
                switch use {
                case .list: ["snapshots"]
                case .open: ["diff", "disk@latest", "disk@latest"]
                case .rebuild: ["index", "rebuild"]
                }
            // An index of another machine: that of the benchmark is in use.
            let command = repository.command(
                words: arguments, cache: scratch + "/year.cache")
            measurements[use] = try (0..<max(5, options.pairCount)).map { _ in
                try varve(command, use.rawValue)
            }
        }
        return measurements
    }

    private func report(_ early: [Use: [Measurement]], _ late: [Use: [Measurement]]) {
        for use in Use.allCases {
            let (first, last) = (early[use] ?? [], late[use] ?? [])
            let ratio =
                Statistics.median(last.map(\.wallSeconds))
                / Statistics.median(first.map(\.wallSeconds))
            report.add(
                ResultRow(
                    row: "year", work: use.rawValue + ", after \(options.generations) hours",
                    varve: Format.seconds(Statistics.median(last.map(\.wallSeconds))),
                    reference: "after \(Self.earlyHour): "
                        + Format.seconds(Statistics.median(first.map(\.wallSeconds))),
                    ratio: ratio, note: "medians of \(last.count)",
                    samples: ["early": first, "late": last]))
        }
    }

    private static func digest(of path: String) throws -> Digest {
        let file = try FileHandle(path, .read)
        let buffer = try AlignedBuffer(byteCount: Int(yearVolumeByteCount))
        let count = try buffer.withMutableBytes {
            try PositionedIO.read(file.descriptor, into: &$0, at: 0, subject: path)
        }
        let hasher = BlockHasher()
        return hasher.digest(of: buffer.bytes.extracting(0..<count))
    }

    private func report(_ year: Year) {
        let part = min(200, year.forgetSeconds.count / 2)
        let first = Statistics.median(Array(year.forgetSeconds.dropFirst(50).prefix(part)))
        let last = Statistics.median(Array(year.forgetSeconds.suffix(part)))
        report.add(
            ResultRow(
                row: "year", work: "one forget, median of the last \(part)",
                varve: Format.seconds(last), reference: "of the first: \(Format.seconds(first))",
                ratio: last / first, note: "48 hours, 30 days, 12 months; made in one process"))
        let longest = year.forgetSeconds.max() ?? 0
        report.add(
            ResultRow(
                row: "year", work: "the longest forget, merging included",
                varve: Format.seconds(longest),
                reference: "\(Format.seconds(Self.forgetSecondsLimit))",
                ratio: longest / Self.forgetSecondsLimit,
                note: "\(year.mergedCount) merges in all"),
            atMost: 1)
        report.add(
            ResultRow(
                row: "year", work: "one prune, median of the last 10",
                varve: Format.seconds(Statistics.median(Array(year.pruneSeconds.suffix(10)))),
                reference: "of the first 10: "
                    + Format.seconds(Statistics.median(Array(year.pruneSeconds.prefix(10))))))
        let captures = year.captureSeconds
        report.add(
            ResultRow(
                row: "year", work: "one capture, median of the last \(part)",
                varve: Format.seconds(Statistics.median(Array(captures.suffix(part)))),
                reference: "of the first: "
                    + Format.seconds(
                        Statistics.median(Array(captures.dropFirst(50).prefix(part))))))
    }
}

/// A repository in which an hour passes with every capture.
private struct Year {
    private let service: OpenRepository
    private let workflow: BackupWorkflow
    private let volume: VolumeName
    private let path: String
    private let editor: ImageEditor
    private var generator: SeededGenerator
    private let time: Time
    private let policy: RetentionPolicy
    private(set) var forgetSeconds: [Double] = []
    private(set) var captureSeconds: [Double] = []
    private(set) var pruneSeconds: [Double] = []
    private(set) var mergedCount = 0

    /// The clock that only the benchmark turns.
    private final class Time {
        // 1 January 2020: no snapshot of the year is dated after it is stored.
        var seconds: Int64 = 1_577_836_800
    }

    init(_ repository: VarveRepository, _ path: String, _ options: BenchmarkOptions) throws {
        var logger = Logger(label: "varve-benchmark")
        logger.logLevel = .error
        service = try OpenRepository(
            location: repository.path, environment: ["VARVE_CACHE_DIR": repository.cache],
            logger: logger)
        guard let volume = VolumeName("disk") else { throw BenchmarkError("not a volume name") }
        self.volume = volume
        workflow = BackupWorkflow(
            service, states: StateDirectory(path: repository.cache + "/states"))
        self.path = path
        editor = try ImageEditor(path)
        generator = SeededGenerator(seed: options.seed ^ 0x92)
        let time = Time()
        self.time = time
        service.clock.now = { Timestamp(seconds: time.seconds) }
        var policy = RetentionPolicy()
        policy.counts = [.hour: 48, .day: 30, .month: 12]
        self.policy = policy
    }

    func snapshots() throws -> [Snapshot] {
        try service.timelines(volume).first?.snapshots ?? []
    }

    /// Changes a page or two, and captures; gives the generation.
    mutating func capture() throws -> UInt64 {
        for _ in 0...generator.below(2) {
            let page = UInt64(generator.hot(below: 4096))
            try editor.write(SyntheticText.record(&generator), at: page * 4096 + 512)
        }
        try editor.synchronize()
        time.seconds += 3600
        let start = SystemClock.monotonicNanoseconds()
        let summary = try workflow.run(
            BackupWorkflow.Source(file: path, volume: volume, options: BackupOptions()))
        captureSeconds.append(Double(SystemClock.monotonicNanoseconds() - start) / 1e9)
        return summary.generation
    }

    mutating func prune() throws {
        let start = SystemClock.monotonicNanoseconds()
        var options = PruneOptions()
        options.repacksSmallPacks = true
        _ = try service.prune(
            options, isDryRun: false, planned: { _, _ in }, progress: { _, _ in })
        pruneSeconds.append(Double(SystemClock.monotonicNanoseconds() - start) / 1e9)
    }

    mutating func forget() throws {
        let start = SystemClock.monotonicNanoseconds()
        let summary = try ForgetWorkflow(service).run(volume, policy: policy)
        mergedCount += summary?.removal.mergedCount ?? 0
        forgetSeconds.append(Double(SystemClock.monotonicNanoseconds() - start) / 1e9)
    }
}
