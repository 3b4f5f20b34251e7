package import BlockModel
import CaptureEngine
package import ChangeTracking
import Glibc
import LinuxIO
import LiveVolumes
import Logging
package import ObjectStore
package import Repository
package import RepositoryFormat
package import RepositoryIndex
package import RepositoryModel
internal import RestoreEngine
package import SnapshotService
import Synchronization
import TestKit
package import VolumeAccess
package import Workflows

/// A directory that is removed with its owner; in memory where the system has such a place.
package final class ScratchDirectory: Sendable {
    package let path: String

    package init() {
        let base = (try? FileStatus(path: "/dev/shm")) != nil ? "/dev/shm" : "/tmp"
        var template = Array("\(base)/varve-test.XXXXXX".utf8CString)
        let made = mkdtemp(&template)
        precondition(made != nil, "cannot make a scratch directory")
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    deinit { Self.remove(path) }

    /// Removes a directory and what is below it; a symbolic link is removed, and never followed.
    package static func remove(_ path: String) {
        for name in ((try? Directory.names(in: path)) ?? nil) ?? [] {
            let child = path + "/" + name
            var status = stat()
            guard lstat(child, &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR { remove(child) } else { unlink(child) }
        }
        rmdir(path)
    }
}

/// Ids of a kind of work, the same each time that it is done as the same of its seed.
private final class StepIdentifiers: IdentifierSource {
    private let current = Mutex(SeededIdentifiers(seed: 0))

    func begin(seed: UInt64) { current.withLock { $0 = SeededIdentifiers(seed: seed) } }

    func next() -> ObjectID { current.withLock { $0 }.next() }
}

/// A repository over any store as it is worked on by the program, with a clock that only tests turn.
package final class Lab {
    package let store: any ObjectStore
    package let scratch = ScratchDirectory()
    package let open: OpenRepository
    private let clock = LabClock()
    private let identifiers = StepIdentifiers()
    private let log = LabLog()
    package var volume: VolumeName
    package var workerCount = 2
    /// Two labs over one store need different seeds, for ids are never used twice.
    package var seed: UInt64 = 0
    private var stepCount: UInt64 = 0
    /// What the last prune intended.
    package private(set) var lastPlan: PruneForecast?
    package private(set) var lastLiveCountReport = LiveCountReport()

    /// Creates a repository in `store`, or opens the one that is there.
    package init(_ store: any ObjectStore, blockSize: Int = 4096) throws {
        self.store = store
        guard let volume = VolumeName("disk"), let size = BlockSize(byteCount: blockSize) else {
            preconditionFailure("no block size: \(blockSize)")
        }
        self.volume = volume
        if try store.list("").isEmpty {
            var generator = SeededGenerator(seed: 1)
            _ = try Repository(
                creatingIn: store, blockSize: size, created: clock.time, generator: &generator)
        }
        let index = scratch.path + "/index"
        open = try OpenRepository(
            store, indexDirectory: { _ in index }, clock: clock.repositoryClock,
            identifiers: identifiers, holdKeeper: nil,
            logger: Logger(label: "test") { [log] _ in log })
    }

    package var repository: Repository { open.repository }
    package var time: Timestamp {
        get { clock.time }
        set { clock.time = newValue }
    }
    package var packByteTarget: Int {
        get { open.sizes.packByteTarget }
        set {
            open.sizes.packByteTarget = newValue
            open.sizes.repackByteTarget = UInt64(newValue)
        }
    }
    package var partByteLimit: Int {
        get { open.sizes.partByteLimit }
        set { open.sizes.partByteLimit = newValue }
    }
    package var sampleByteTarget: UInt64 {
        get { open.sizes.sampleByteTarget }
        set { open.sizes.sampleByteTarget = newValue }
    }
    /// How often a prune waited.
    package var graceCount: Int { Int(clock.sleptMilliseconds / 60_000) }
    /// What the work gave to be heard, from the first on.
    package var warnings: [String] { log.warnings.texts.withLock { $0 } }
    package var indexDirectory: String { scratch.path + "/index" }

    /// The index, with the repository's packs.
    package func index() throws -> Index { try open.currentIndex(isKept: true) }

    /// Lets go of the index, as the end of a process does.
    package func closeIndex() { open.closeIndex() }

    /// Deletes the index: nothing may depend on it.
    package func deleteIndex() {
        closeIndex()
        ScratchDirectory.remove(indexDirectory)
    }

    package func timeline() throws -> Timeline { try repository.timeline(of: volume) }

    /// A hold that is kept for as long as the test wants.
    package func hold(_ scope: HoldScope, _ kind: HoldKind, purpose: String) throws -> Hold {
        try repository.hold(
            scope, kind, purpose: purpose, owner: .current(), now: { [clock] in clock.time })
    }

    /// What a process has that forgets on a volume.
    package func forgettingHolds(_ volume: VolumeName) throws -> [Hold] {
        [
            try hold(.repository, .shared, purpose: "forget"),
            try hold(
                .volume(volume), .exclusive,
                purpose: "\(OpenRepository.forgettingPurpose) \(volume)"),
        ]
    }

    private func begin(_ kind: Step) {
        stepCount += 1
        identifiers.begin(seed: seed << 32 | kind.rawValue | stepCount)
    }

    private enum Step: UInt64 {
        case capture = 0
        case consolidate = 0x0400_0000
        case repairPaths = 0x0800_0000
        case repair = 0x1000_0000
        case copy = 0x2000_0000
        case prune = 0x4000_0000
        case forget = 0x8000_0000
    }
}

/// Keeps warnings.
private struct LabLog: LogHandler {
    final class Warnings: Sendable {
        let texts = Mutex<[String]>([])
    }

    let warnings = Warnings()
    var logLevel = Logger.Level.warning
    var metadata = Logger.Metadata()

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { warnings.texts.withLock { $0.append("\(event.message)") } }
}

/// Time that stands still unless it is set, or somebody sleeps.
private final class LabClock {
    var time = Timestamp(seconds: 1_700_000_000)
    private(set) var sleptMilliseconds: UInt64 = 0

    var repositoryClock: RepositoryClock {
        RepositoryClock(
            now: { self.time }, steady: { self.time }, monotonicNanoseconds: { 1 },
            sleep: { self.sleptMilliseconds += UInt64($0) })
    }
}

extension Lab {
    /// Captures `image` as the next snapshot.
    @discardableResult
    package func capture(
        _ image: [UInt8],
        evidence: ChangeEvidence? = nil,
        readFaults: (any ReadFaults)? = nil
    ) throws -> BackupSummary {
        let path = scratch.path + "/source.img"
        unlink(path)
        let file = try FileHandle(path, .create)
        try PositionedIO.write(file.descriptor, image.span.bytes, at: 0, subject: path)
        return try capture(path: path, evidence: evidence, readFaults: readFaults)
    }

    /// Captures what is at `path` as the next snapshot.
    ///
    /// `sourceName` is what the snapshot says that it was captured from.
    @discardableResult
    package func capture(
        path: String,
        sourceName: String? = nil,
        evidence: ChangeEvidence? = nil,
        readFaults: (any ReadFaults)? = nil
    ) throws -> BackupSummary {
        time = Timestamp(seconds: time.seconds + 3600)
        begin(.capture)
        var options = BackupOptions()
        options.workerCount = workerCount
        options.evidence = evidence
        options.readFaults = readFaults
        options.allowsOtherSource = true
        // Ids of snapshots are made of it, too.
        options.identity = SourceIdentity(
            kind: .file, machine: "test", path: sourceName ?? path, serial: "",
            sectorByteCount: 512)
        // Of disks in use nothing is known here.
        let states = StateDirectory(path: scratch.path + "/states")
        return try BackupWorkflow(open, states: states).run(
            BackupWorkflow.Source(path, volume: volume, options: options, states: states))
    }

    /// The bytes of a snapshot, restored to a fresh file and proved.
    package func restore(_ snapshot: Snapshot) throws -> [UInt8] {
        let path = scratch.path + "/target.img"
        unlink(path)
        try restore(snapshot, to: path, RestoreOptions())
        return try contents(of: path)
    }

    /// The bytes of a snapshot, restored over `image` in place.
    package func restore(_ snapshot: Snapshot, over image: [UInt8]) throws -> [UInt8] {
        let path = scratch.path + "/target.img"
        unlink(path)
        do {
            let file = try FileHandle(path, .create)
            try PositionedIO.write(file.descriptor, image.span.bytes, at: 0, subject: path)
        }
        var options = RestoreOptions()
        options.isInPlace = true
        options.verification = .readBack
        try restore(snapshot, to: path, options)
        return try contents(of: path)
    }

    @discardableResult
    package func restore(
        _ snapshot: Snapshot,
        to path: String,
        _ options: RestoreOptions
    ) throws -> RestoreResult {
        var options = options
        options.workerCount = workerCount
        return try open.restore(
            .prefix(snapshot.id.hexadecimal), to: path, options: options,
            progress: RestoreProgress(), report: { _ in }
        ).result
    }

    package func check(_ coverage: DataCoverage = .all) throws -> CheckReport {
        try open.check(coverage, workerCount: workerCount, progress: { _, _ in })
    }

    package func contents(of path: String) throws -> [UInt8] {
        let file = try FileHandle(path, .read)
        let status = try file.status(path)
        var bytes = [UInt8](repeating: 0, count: Int(status.byteCount))
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        _ = try PositionedIO.read(file.descriptor, into: &raw, at: 0, subject: path)
        return bytes
    }

    /// The bytes of all snapshots, oldest first.
    package func restoreAll() throws -> [[UInt8]] {
        try timeline().snapshots.map { try restore($0) }
    }

    /// Puts other bytes in the place of the index's file.
    package func replaceIndex(with bytes: [UInt8]) throws {
        closeIndex()
        let path = indexDirectory + "/index.mdb"
        unlink(path)
        let file = try FileHandle(path, .create)
        try PositionedIO.write(file.descriptor, bytes.span.bytes, at: 0, subject: path)
    }
}

extension Lab {
    /// Forgets snapshots, and does away with what that leaves.
    @discardableResult
    package func forget(
        _ snapshots: [SnapshotID],
        isThorough: Bool = false
    ) throws -> RemovalSummary {
        begin(.forget)
        var options = ForgetWorkflow.Options()
        options.isThorough = isThorough
        return try ForgetWorkflow(open, options).run(snapshots, of: volume)?.removal
            ?? RemovalSummary()
    }

    /// Gives back what nothing needs.
    @discardableResult
    package func prune(_ options: PruneOptions = PruneOptions()) throws -> PruneSummary {
        begin(.prune)
        lastPlan = nil
        let summary = try open.prune(
            options, isDryRun: false,
            planned: { plan, report in
                lastPlan = plan
                lastLiveCountReport = report
            }, progress: { _, _ in })
        return summary ?? PruneSummary()
    }

    /// What each snapshot of the volume costs, oldest first.
    package func costs() throws -> [SnapshotCost] {
        try open.costs().filter { $0.volume == volume }.map(\.cost)
    }

    /// Copies snapshots of the volume to another repository.
    @discardableResult
    package func copy(_ snapshots: [Snapshot], to other: Lab) throws -> CopySummary {
        // Its own steps count, so that a copy that is made once more makes other ids.
        begin(.copy)
        other.identifiers.begin(seed: seed << 32 | Step.copy.rawValue | stepCount)
        return try open.copy(
            volume, Set(snapshots.map(\.id)), to: other.open, progress: { _ in }, done: { _ in })
    }

    /// Writes short cuts where the way has more deltas than that; gives how many.
    @discardableResult
    package func consolidate(lengthLimit: Int? = nil) throws -> Int {
        begin(.consolidate)
        return try open.consolidate(try timeline(), lengthLimit: lengthLimit)
    }

    /// Stores again what is lost, from another repository and from images; gives how many blocks were lost
    /// and how many are there again.
    package func repair(
        from other: Lab? = nil,
        images: [[UInt8]] = []
    ) throws -> (lost: Int, mended: Int) {
        begin(.repair)
        var options = RepairOptions()
        for (number, image) in images.enumerated() {
            let path = scratch.path + "/disk\(number).img"
            unlink(path)
            let file = try FileHandle(path, .create)
            try PositionedIO.write(file.descriptor, image.span.bytes, at: 0, subject: path)
            options.sources.append(path)
        }
        let summary = try open.repair(
            from: other.map { [$0.open] } ?? [], options, progress: { _, _ in })
        return (summary.lostBlockCount, summary.mendedBlockCount)
    }

    /// Brings back snapshots that no path leads to, from the index or another repository.
    @discardableResult
    package func repairPaths(
        from other: Lab? = nil,
        givesUp: Bool = false
    ) throws -> (mended: [MendedSnapshot], left: Timeline) {
        begin(.repairPaths)
        var options = RepairOptions()
        options.givesUp = givesUp
        let summary = try open.repair(
            from: other.map { [$0.open] } ?? [], options, progress: { _, _ in })
        return (
            summary.mended.filter { $0.volume == volume }.map(\.snapshot),
            try open.timelines(volume).first ?? timeline()
        )
    }
}
