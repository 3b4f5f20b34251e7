/// Where an ext4 image keeps what changes on a running system, in file-system blocks of 4 KiB.
struct FileSystemMap {
    static let blockByteCount = 4096

    /// Consecutive blocks.
    struct Run {
        var first: UInt64
        var count: UInt64
    }

    /// The metadata of one block group.
    struct Group {
        let blockBitmap: UInt64
        let inodeTable: Run
    }

    let logs: [[Run]]
    let database: [Run]
    let journal: [Run]
    let groups: [Group]
    let free: [Run]

    /// Asks debugfs and dumpe2fs.
    init(image: String, logs: [String], database: String, runner: ProcessRunner) throws {
        func runs(_ file: String) throws -> [Run] {
            let text = try runner.text(of: Command("debugfs", "-R", "stat \(file)", image))
            let runs = Self.extents(in: text)
            guard !runs.isEmpty else { throw BenchmarkError("debugfs shows no extents of \(file)") }
            return runs
        }
        self.logs = try logs.map(runs)
        self.database = try runs(database)
        journal = try runs("<8>")
        let text = try runner.text(of: Command("dumpe2fs", image))
        (groups, free) = Self.groups(in: text)
        guard !groups.isEmpty, !free.isEmpty else {
            throw BenchmarkError("dumpe2fs shows no groups with free blocks in \(image)")
        }
    }

    /// Byte offset in the image of a place in a file that takes `runs`, and how many bytes follow
    /// there without a gap; nil behind its end.
    static func place(of offset: UInt64, in runs: [Run]) -> (offset: UInt64, byteCount: UInt64)? {
        var start: UInt64 = 0
        for run in runs {
            let byteCount = run.count * UInt64(blockByteCount)
            if offset < start + byteCount {
                let inside = offset - start
                return (run.first * UInt64(blockByteCount) + inside, byteCount - inside)
            }
            start += byteCount
        }
        return nil
    }

    static func byteCount(of runs: [Run]) -> UInt64 {
        runs.reduce(0) { $0 + $1.count } * UInt64(blockByteCount)
    }

    /// The list behind `EXTENTS:`, as in `(ETB0):33793, (0-2047):34816-36863, (2048):40960`.
    private static func extents(in text: String) -> [Run] {
        let lines = text.split(separator: "\n")
        guard let mark = lines.firstIndex(where: { $0.hasPrefix("EXTENTS:") }) else { return [] }
        var runs: [Run] = []
        for entry in lines[(mark + 1)...].joined(separator: ",").split(separator: ",") {
            let parts = entry.split(separator: ":")
            guard parts.count == 2, !parts[0].contains("ETB"), let run = run(parts[1]) else {
                continue
            }
            runs.append(run)
        }
        return runs
    }

    private static func groups(in text: String) -> (groups: [Group], free: [Run]) {
        var groups: [Group] = []
        var free: [Run] = []
        var bitmap: UInt64?
        for line in text.split(separator: "\n") {
            let line = line.drop { $0 == " " }
            if let rest = line.after("Block bitmap at ") {
                bitmap = run(rest)?.first
            } else if let rest = line.after("Inode table at ") {
                if let table = run(rest), let found = bitmap {
                    groups.append(Group(blockBitmap: found, inodeTable: table))
                }
                bitmap = nil
            } else if !groups.isEmpty, let rest = line.after("Free blocks: ") {
                free += rest.split(separator: ",").compactMap { run($0.drop { $0 == " " }) }
            }
        }
        return (groups, free)
    }

    /// `17` or `17-40` at the start of `text`.
    private static func run(_ text: Substring) -> Run? {
        let numbers = text.prefix { $0.isNumber || $0 == "-" }.split(separator: "-")
        guard let first = numbers.first.flatMap({ UInt64($0) }) else { return nil }
        let last = numbers.count > 1 ? UInt64(numbers[1]) ?? first : first
        return Run(first: first, count: last - first + 1)
    }
}

extension Substring {
    /// What follows `prefix`; nil when the text does not begin with it.
    func after(_ prefix: String) -> Substring? {
        hasPrefix(prefix) ? dropFirst(prefix.count) : nil
    }
}
