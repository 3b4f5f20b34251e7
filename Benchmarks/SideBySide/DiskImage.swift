import Glibc
import LinuxIO

/// A disk image with an ext4 file system full of real files; the same seed on the same machine
/// gives the same one.
///
/// Besides files of the machine it has log files, written up to a quarter, whose other blocks hold
/// what was there before, and one database file. Every block is allocated, as on a disk: reading
/// it is real work for everybody.
struct DiskImage {
    static let logCount = 8
    static let databasePageByteCount = 8192
    private static let fixedID = "5eed0000-0000-4000-8000-000000000001"

    let path: String
    let byteCount: UInt64
    let map: FileSystemMap
    /// Bytes of regular files in it.
    let contentByteCount: UInt64
    let fileCount: Int
    /// Files of the machine that are not in it, if there are any: what later hours write.
    let spare: [MachineFile]

    /// Builds the image at `path`, with everything else below `scratch`.
    init(
        path: String,
        byteCount: UInt64,
        seed: UInt64,
        scratch: String,
        runner: ProcessRunner
    ) throws {
        self.path = path
        self.byteCount = byteCount
        let stage = scratch + "/stage"
        let raw = scratch + "/raw.img"
        var generator = SeededGenerator(seed: seed)
        let files = MachineFiles.list(seed: seed, largest: byteCount / 16)

        // Inode tables, the journal and directories take about a twentieth.
        let logByteCount = Self.roundedUp(byteCount / 1024)
        let databaseByteCount = byteCount / 64
        let ownByteCount = UInt64(Self.logCount) * logByteCount + databaseByteCount
        let wanted = byteCount * 15 / 20 - ownByteCount
        var content: UInt64 = 0
        var count = 0
        for file in files {
            let next = content + Self.roundedUp(file.byteCount)
            if next > wanted { break }
            content = next
            count += 1
        }
        contentByteCount = content + ownByteCount
        fileCount = count + Self.logCount + 1
        // A machine with few files has to use them twice.
        spare = count < files.count ? Array(files[count...]) : files

        try Directory.makeAll(stage)
        for file in files[..<count] { try Self.stage(file, below: stage) }
        let stale = files.prefix(count).map(\.path)
        for number in 0..<Self.logCount {
            try Self.writeLog(
                number, byteCount: Int(logByteCount), stage: stage, stale: stale, &generator)
        }
        try Self.writeDatabase(byteCount: Int(databaseByteCount), stage: stage, &generator)

        try Self.createEmpty(raw, byteCount: byteCount)
        let inodeCount = max(fileCount * 5 / 4, Int(byteCount / 16384))
        _ = try runner.run(
            Command(
                "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-N", "\(inodeCount)",
                "-U", Self.fixedID, "-E",
                "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,hash_seed=\(Self.fixedID)",
                "-d", stage, raw))
        try Storage.remove(stage)
        _ = try runner.run(Command("cp", "--sparse=never", raw, path), thenSync: [path])
        try Storage.remove(raw)
        map = try FileSystemMap(
            image: path, logs: (0..<Self.logCount).map { "/" + Self.logPath($0) },
            database: "/" + Self.databasePath, runner: runner)
    }

    /// Creates a file of nothing but a hole.
    static func createEmpty(_ path: String, byteCount: UInt64) throws {
        let handle = try FileHandle(path, .create)
        try FileOperation.truncate(handle.descriptor, to: byteCount, subject: path)
    }

    /// Blocks of 64 KiB that are not all zeros, in order; holes are not read.
    static func dataBlocks(of path: String) throws -> [UInt64] {
        let handle = try FileHandle(path, .read)
        let buffer = try AlignedBuffer(byteCount: 1 << 20)
        let block = ImageEditor.blockByteCount
        var blocks: [UInt64] = []
        var offset: UInt64 = 0
        while let data = try FileOperation.nextData(
            handle.descriptor, from: offset, subject: path)
        {
            offset = data / UInt64(block) * UInt64(block)
            let count = try PositionedIO.read(
                handle.descriptor, into: buffer, range: 0..<buffer.byteCount, at: offset,
                subject: path)
            if count == 0 { break }
            for start in stride(from: 0, to: count, by: block) {
                let bytes = buffer.bytes.extracting(start..<min(start + block, count))
                if !bytes.isAllZero { blocks.append((offset + UInt64(start)) / UInt64(block)) }
            }
            offset += UInt64(count)
        }
        return blocks
    }

    /// Bytes of those blocks.
    static func dataByteCount(of path: String) throws -> UInt64 {
        UInt64(try dataBlocks(of: path).count * ImageEditor.blockByteCount)
    }

    // MARK: Staging

    private static let databasePath = "var/lib/database/main.db"
    private static func logPath(_ number: Int) -> String { "var/log/service-\(number).log" }

    private static func roundedUp(_ byteCount: UInt64) -> UInt64 {
        (byteCount + 4095) / 4096 * 4096
    }

    /// Copies a file of the machine to its own path below `stage`.
    static func stage(_ file: MachineFile, below stage: String) throws {
        let path = file.path
        let source = try FileHandle(path, .read)
        let target = try create(stage + path)
        let buffer = try AlignedBuffer(byteCount: 1 << 18)
        var offset: UInt64 = 0
        while true {
            let count = try PositionedIO.read(
                source.descriptor, into: buffer, range: 0..<buffer.byteCount, at: offset,
                subject: path)
            if count == 0 { break }
            try PositionedIO.write(
                target.descriptor, buffer.bytes.extracting(0..<count), at: offset,
                subject: stage + path)
            offset += UInt64(count)
        }
        // Times are part of the image.
        let seconds = Int(try source.status(path).modifiedSeconds)
        let time = timespec(tv_sec: seconds, tv_nsec: 0)
        futimens(target.descriptor, [time, time])
    }

    private static func create(_ path: String) throws -> FileHandle {
        var missing: [String] = []
        var directory = Directory.parent(of: path)
        while mkdir(directory, 0o755) != 0, errno == ENOENT {
            missing.append(directory)
            directory = Directory.parent(of: directory)
        }
        for directory in missing.reversed() {
            guard mkdir(directory, 0o755) == 0 else { throw SystemError(.makeDirectory, directory) }
        }
        return try FileHandle(path, .create)
    }

    private static func write(_ bytes: [UInt8], to path: String) throws {
        let handle = try create(path)
        try PositionedIO.write(handle.descriptor, bytes.span.bytes, at: 0, subject: path)
    }

    private static func writeLog(
        _ number: Int,
        byteCount: Int,
        stage: String,
        stale: [String],
        _ generator: inout SeededGenerator
    ) throws {
        var bytes = SyntheticText.log(
            service: number, hour: 0, byteCount: byteCount / 4, &generator)
        while bytes.count < byteCount {
            guard !stale.isEmpty else { throw BenchmarkError("no file of this machine fits") }
            let path = stale[generator.below(stale.count)]
            bytes += try MachineFiles.content(of: path, limit: byteCount - bytes.count)
        }
        try write(Array(bytes.prefix(byteCount)), to: stage + "/" + logPath(number))
    }

    private static func writeDatabase(
        byteCount: Int,
        stage: String,
        _ generator: inout SeededGenerator
    ) throws {
        let path = stage + "/" + databasePath
        let handle = try create(path)
        for number in 0..<(byteCount / databasePageByteCount) {
            let page = SyntheticText.databasePage(
                number: number, byteCount: databasePageByteCount, &generator)
            try PositionedIO.write(
                handle.descriptor, page.span.bytes,
                at: UInt64(number * databasePageByteCount), subject: path)
        }
    }
}
