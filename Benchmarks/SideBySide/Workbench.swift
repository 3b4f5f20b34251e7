import Glibc
import LinuxIO

/// How much is to be measured.
struct BenchmarkOptions {
    var imageByteCount: UInt64
    var hours: Int
    var generations: Int
    var pairCount: Int
    var seed: UInt64
    var varve: String
}

/// What all rows share: the scratch directory, the programs, and the disk image at hour 0.
final class Workbench {
    let options: BenchmarkOptions
    let scratch: String
    let runner: ProcessRunner
    let report: Report
    /// What the workload consists of, for the report.
    private(set) var workload: [String] = []
    /// Most memory that any run of varve used.
    private(set) var peak: (byteCount: UInt64, run: String)?
    private(set) var memorySampleCount = 0

    private var builtImage: DiskImage?
    private var baseRepository: VarveRepository?
    private var compressedImage: String?

    init(options: BenchmarkOptions, scratch: String, report: Report) throws {
        self.options = options
        self.scratch = scratch
        self.report = report
        try Directory.makeAll(scratch + "/home")
        let path = String(cString: getenv("PATH") ?? strdup("/usr/bin:/bin"))
        runner = ProcessRunner(
            environment: [
                "PATH": path + ":/usr/sbin:/sbin",
                "HOME": scratch + "/home",
                "LC_ALL": "C.UTF-8",
                "TMPDIR": scratch,
                "RESTIC_PASSWORD": "benchmark",
                "RESTIC_CACHE_DIR": scratch + "/restic-cache",
                "BORG_BASE_DIR": scratch + "/borg-base",
                "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            ],
            log: scratch + "/programs.log")
    }

    // MARK: Shared inputs, made when first needed

    /// The image at hour 0; only the hours change it, and they come after all that read it.
    func image() throws -> DiskImage {
        if let builtImage { return builtImage }
        let needed = 5 * options.imageByteCount + (2 << 30)
        let free = try Storage.freeByteCount(at: scratch)
        guard free >= needed else {
            throw BenchmarkError(
                "\(scratch) has \(free >> 20) MiB free, \(needed >> 20) are needed; "
                    + "set VARVE_BENCH_DIR to a larger disk or use a smaller --size-gib")
        }
        report.progress("building a disk image of \(options.imageByteCount >> 20) MiB")
        let image = try DiskImage(
            path: scratch + "/disk.img", byteCount: options.imageByteCount, seed: options.seed,
            scratch: scratch, runner: runner)
        builtImage = image
        let data = try DiskImage.dataByteCount(of: image.path)
        workload.append(
            "image: \(image.byteCount >> 20) MiB, ext4, \(image.fileCount) files of "
                + "\(image.contentByteCount >> 20) MiB from \(MachineFiles.roots), "
                + "\(data >> 20) MiB in blocks of 64 KiB that are not zero, no holes, seed "
                + "\(options.seed)")
        return image
    }

    func describe(_ line: String) { workload.append(line) }

    /// A repository with the image at hour 0 as generation 1 of the volume `disk`.
    func repositoryWithBase() throws -> VarveRepository {
        if let baseRepository { return baseRepository }
        let repository = try newRepository("base")
        _ = try backUp(try image().path, in: repository)
        baseRepository = repository
        return repository
    }

    func keepAsBase(_ repository: VarveRepository) { baseRepository = repository }

    /// The image at hour 0, compressed by zstd 3.
    func compressed() throws -> String {
        if let compressedImage { return compressedImage }
        let path = scratch + "/disk.zst"
        _ = try compress(to: path)
        compressedImage = path
        return path
    }

    /// Compresses the image on all cores and makes the result durable.
    func compress(to path: String) throws -> Measurement {
        try Storage.remove(path)
        // zstd counts physical cores unless told otherwise; varve counts all.
        let measured = try runner.run(
            Command(
                "zstd", "-q", "-T0", "--auto-threads=logical", "-3", try image().path, "-o", path),
            thenSync: [path])
        compressedImage = path
        return measured
    }

    func discardCompressed() throws {
        if let compressedImage { try Storage.remove(compressedImage) }
        compressedImage = nil
    }

    func discardBase() throws {
        try baseRepository?.remove()
        baseRepository = nil
    }

    // MARK: Runs of varve

    func newRepository(_ name: String) throws -> VarveRepository {
        let repository = VarveRepository(
            path: scratch + "/varve-" + name, program: options.varve)
        try repository.remove()
        _ = try runner.run(repository.command("init", "--quiet"))
        return repository
    }

    func backUp(
        _ path: String,
        in repository: VarveRepository,
        volume: String = "disk"
    ) throws -> Measurement {
        try varve(
            repository.command("backup", "--quiet", "--volume", volume, path), "backup of \(path)")
    }

    /// Runs varve, and keeps account of its memory.
    func varve(_ command: Command, _ what: String) throws -> Measurement {
        let measured = try runner.run(command)
        memorySampleCount += measured.memorySampleCount
        if let byteCount = measured.peakMemoryByteCount, byteCount > peak?.byteCount ?? 0 {
            peak = (byteCount, what)
        }
        return measured
    }

    // MARK: Fair conditions

    /// Measures `body` with `path` in the page cache before and after.
    ///
    /// The machine drops pages by itself, so a run that lost them is done again, five times at
    /// most. A run that writes to the file past the cache leaves less of it there.
    func warm(
        _ path: String,
        leaving least: Double = 0.999,
        _ body: () throws -> Measurement
    ) throws -> Measurement {
        var attempt = 1
        while true {
            PageCache.settle()
            let before = try PageCache.warm(path)
            var measured = try body()
            let after = try PageCache.residentShare(of: path)
            measured.residentShareBefore = before
            measured.residentShareAfter = after
            if before >= 0.999, after >= least { return measured }
            if attempt == 5 { return measured }
            report.progress(
                "only \(Format.number(100 * min(before, after), 1)) % of \(path) stayed in the "
                    + "page cache; measured again")
            attempt += 1
        }
    }

    /// Runs both sides of a pair `count` times, one after the other, the first one in turns.
    func pairs(
        _ name: String,
        count: Int,
        varve: () throws -> Measurement,
        reference: () throws -> Measurement
    ) throws -> Pairs {
        var pairs = Pairs()
        for number in 0..<count {
            let isVarveFirst = number % 2 == 0
            if isVarveFirst { pairs.varve.append(try varve()) }
            pairs.reference.append(try reference())
            if !isVarveFirst { pairs.varve.append(try varve()) }
            report.progress(
                "\(name): pair \(number + 1) of \(count): varve "
                    + "\(Format.seconds(pairs.varve[number].wallSeconds)), reference "
                    + Format.seconds(pairs.reference[number].wallSeconds))
        }
        return pairs
    }
}

/// A repository of varve, with its index beside it.
struct VarveRepository {
    let path: String
    let program: String

    var cache: String { path + ".cache" }

    func command(_ arguments: String...) -> Command {
        var command = Command([program, arguments[0], "--repo", path] + arguments.dropFirst())
        command.environment["VARVE_CACHE_DIR"] = cache
        return command
    }

    /// The same of a command of several words, with an index of its own.
    func command(words: [String], cache: String) -> Command {
        var command = Command([program] + words + ["--repo", path])
        command.environment["VARVE_CACHE_DIR"] = cache
        return command
    }

    /// Bytes of all objects, holds aside.
    func storedByteCount() throws -> UInt64 {
        try Storage.byteCount(of: path, excluding: ["locks", "reserve"])
    }

    /// Bytes that the index takes on its disk.
    func indexByteCount() throws -> UInt64 { try Storage.allocatedByteCount(of: cache) }

    func removeIndex() throws { try Storage.remove(cache) }

    func remove() throws {
        try Storage.remove(path)
        try removeIndex()
    }
}

/// Two series that were measured in turns.
struct Pairs {
    var varve: [Measurement] = []
    var reference: [Measurement] = []

    /// How many times as fast as the reference varve was: the median of the pairs.
    var speedRatio: Double {
        Statistics.median(zip(varve, reference).map { $1.wallSeconds / $0.wallSeconds })
    }

    /// The same for processor time.
    var cpuRatio: Double {
        Statistics.median(
            zip(varve, reference).map { $1.cpuSeconds / max($0.cpuSeconds, 1e-6) })
    }

    var samples: [String: [Measurement]] { ["varve": varve, "reference": reference] }

    /// Medians of one series over `byteCount` bytes: `1.23 GB/s, 0.45 s/GB`.
    static func rate(_ series: [Measurement], byteCount: UInt64) -> String {
        let gigabytes = Double(byteCount) / 1e9
        let wall = Statistics.median(series.map(\.wallSeconds))
        let cpu = Statistics.median(series.map(\.cpuSeconds))
        return "\(Format.number(gigabytes / wall, 2)) GB/s, "
            + "\(Format.number(cpu / gigabytes, 3)) CPU s/GB"
    }

    /// What to know about the series: processor time, and pages that would not stay cached.
    var note: String {
        var note =
            "\(varve.count) pairs; CPU time: reference / varve "
            + Format.number(cpuRatio, 2)
        let shares = (varve + reference).flatMap {
            [$0.residentShareBefore, $0.residentShareAfter].compactMap(\.self)
        }
        if let least = shares.min() {
            note +=
                "; at least \(Format.number(100 * least, 1)) % of the input in the page cache "
                + "before and after each run"
        }
        return note
    }
}
