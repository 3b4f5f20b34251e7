import ArgumentParser
import Glibc
import LinuxIO
import ProcessStart

/// The pieces that can be asked for alone.
enum RowName: String, CaseIterable, ExpressibleByArgument {
    case base, unchanged, restore
    case inPlace = "in-place"
    case hours, sparse, history, year, prune
}

/// Measures varve side by side with the programs that it is held against.
@main
struct VarveBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "varve-benchmark",
        abstract: "Measure varve against cat, zstd, openssl, restic and Borg.",
        discussion: """
            Every figure is measured in this run, one row after the other, on data that depends \
            on the seed and on the files of this machine. A missed target is not an error.
            """)

    @Flag(help: "Small and short: 1 GiB, 6 hours, 500 generations, 3 pairs.")
    var quick = false

    @Option(help: "Size of the disk image in GiB (default 4).")
    var sizeGib: Int?

    @Option(help: "Hours of change (default 24).")
    var hours: Int?

    @Option(help: "Generations of the long history, and hours of the year (default 8760).")
    var generations: Int?

    @Option(help: "Pairs that a median is taken of (default 5).")
    var pairs: Int?

    @Option(help: "Seed of everything that is random.")
    var seed: UInt64 = 8760

    @Option(
        name: .customLong("only"),
        help:
            "Only this row; can be repeated: \(RowName.allValueStrings.joined(separator: ", "))."
    )
    var only: [RowName] = []

    @Flag(help: "Print JSON, one object per line.")
    var json = false

    @Option(help: "An empty or new directory for everything that is written.")
    var scratch: String

    @Option(help: "The varve to measure.")
    var varve: String

    func validate() throws {
        let numbers = [sizeGib, hours, generations, pairs].compactMap(\.self)
        guard numbers.allSatisfy({ $0 > 0 }) else { throw ValidationError("numbers begin at 1") }
        guard sizeGib ?? 1 <= 1024 else { throw ValidationError("--size-gib ends at 1024") }
        guard generations ?? 10 >= 10 else { throw ValidationError("--generations begins at 10") }
    }

    static func main() { main(Array(ProcessStart.arguments.dropFirst())) }

    func run() throws {
        let report = Report(isJSON: json)
        guard let program = Directory.resolve(varve) else {
            throw ValidationError("there is no \(varve)")
        }
        let options = BenchmarkOptions(
            imageByteCount: UInt64(sizeGib ?? (quick ? 1 : 4)) << 30,
            hours: hours ?? (quick ? 6 : 24), generations: generations ?? (quick ? 500 : 8760),
            pairCount: pairs ?? (quick ? 3 : 5), seed: seed, varve: program)
        let bench = try Workbench(options: options, scratch: scratch, report: report)
        let machine = try MachineFacts(varve: program, scratch: scratch, runner: bench.runner)
        if json { report.write(machine) }
        for row in RowName.allCases where only.isEmpty || only.contains(row) {
            switch row {
            case .base: try bench.measureBase()
            case .unchanged: try bench.measureUnchanged()
            case .restore: try bench.measureRestore()
            case .inPlace: try bench.measureRestoreInPlace()
            case .hours: try bench.measureHours()
            case .sparse: try bench.measureSparse()
            case .history: try bench.measureHistory()
            case .year: try bench.measureYear()
            case .prune: try bench.measurePrune()
            }
        }
        bench.reportMemory()
        report.finish(machine, bench.workload)
    }
}

extension Workbench {
    static let memoryLimit: UInt64 = 256 << 20

    /// The most memory that any run of varve used.
    func reportMemory() {
        guard let peak else { return }
        report.add(
            ResultRow(
                row: "memory", work: "anonymous and shared memory of any run, at most",
                varve: Format.bytes(peak.byteCount),
                note: "RssAnon + RssShmem every 10 ms, \(memorySampleCount) samples; most in: "
                    + peak.run),
            byteCount: peak.byteCount, limit: Self.memoryLimit)
    }
}
