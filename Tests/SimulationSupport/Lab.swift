package import BlockModel
package import CaptureEngine
package import ChangeTracking
import Glibc
import LinuxIO
package import ObjectStore
package import Repository
import RepositoryFormat
package import RestoreEngine
import TestKit
import VolumeAccess

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

/// Everything that a capture or restore needs, over any store, with a clock that only tests turn.
package final class Lab {
    package let store: any ObjectStore
    package let scratch = ScratchDirectory()
    package let repository: Repository
    package var time = Timestamp(seconds: 1_700_000_000)
    package var volume: VolumeName
    package var workerCount = 2
    package var packByteTarget = Format.packByteTarget
    package var partByteLimit = Format.partByteLimit
    package var sampleByteTarget: UInt64 = 64 << 20
    /// Two labs over one store need different seeds, for ids are never used twice.
    package var seed: UInt64 = 0
    private var openIndex: Index?
    private var captureCount: UInt64 = 0
    /// What the last prune intended.
    package private(set) var lastPlan: PrunePlan?
    package private(set) var lastAccountReport = AccountReport()
    /// How often a prune waited.
    package private(set) var graceCount = 0

    /// Creates a repository in `store`, or opens the one that is there.
    package init(_ store: any ObjectStore, blockSize: Int = 4096) throws {
        self.store = store
        guard let volume = VolumeName("disk"), let size = BlockSize(byteCount: blockSize) else {
            preconditionFailure("no block size: \(blockSize)")
        }
        self.volume = volume
        if try !store.list("").isEmpty {
            repository = try Repository(openingIn: store)
        } else {
            var generator = SeededGenerator(seed: 1)
            repository = try Repository(
                creatingIn: store, blockSize: size, created: time,
                generator: &generator)
        }
    }

    package var indexDirectory: String { scratch.path + "/index" }

    /// The index, with the repository's packs.
    package func index() throws -> Index {
        let index: Index
        if let openIndex {
            index = openIndex
        } else {
            index = try Index(directory: indexDirectory, identity: repository.identity)
            openIndex = index
        }
        try index.synchronizePacks(with: repository)
        return index
    }

    /// Lets go of the index, as the end of a process does.
    package func closeIndex() { openIndex = nil }

    /// Deletes the index: nothing may depend on it.
    package func deleteIndex() {
        openIndex = nil
        ScratchDirectory.remove(indexDirectory)
    }

    package func timeline() throws -> Timeline {
        try repository.timeline(of: volume)
    }

    /// Captures `image` as the next snapshot.
    @discardableResult
    package func capture(
        _ image: [UInt8],
        evidence: ChangeEvidence? = nil
    ) throws -> CaptureResult {
        let path = scratch.path + "/source.img"
        unlink(path)
        let file = try FileHandle(path, .create)
        try PositionedIO.write(file.descriptor, image.span.bytes, at: 0, subject: path)
        return try capture(path: path, evidence: evidence)
    }

    /// Captures what is at `path` as the next snapshot.
    @discardableResult
    ///
    /// `sourceName` is what the snapshot says that it was captured from.
    package func capture(
        path: String,
        sourceName: String? = nil,
        evidence: ChangeEvidence? = nil
    ) throws -> CaptureResult {
        time = Timestamp(seconds: time.seconds + 3600)
        captureCount += 1
        let source = try VolumeSource(path: path, allowsUse: false)
        let hold = try repository.hold(
            .volume(volume), .exclusive, purpose: "test", owner: .current(), now: { self.time })
        let shared = try repository.hold(
            .repository, .shared, purpose: "test", owner: .current(), now: { self.time })
        var request = CaptureRequest(
            volume: volume,
            source: SourceIdentity(
                kind: .file, machine: "test", path: sourceName ?? path, serial: "",
                sectorByteCount: 512),
            time: time)
        request.workerCount = workerCount
        request.packByteTarget = packByteTarget
        request.partByteLimit = partByteLimit
        request.sampleByteTarget = sampleByteTarget
        request.evidence = evidence
        let capture = Capture(
            repository: repository, index: try index(), timeline: try timeline(), source: source,
            request: request, holds: [shared, hold])
        return try capture.run(
            identifiers: SeededIdentifiers(seed: seed << 32 | captureCount),
            elapsedNanoseconds: { 1 }, now: { self.time }, progress: CaptureProgress(),
            report: {})
    }

    /// The bytes of a snapshot, restored to a fresh file and proved.
    package func restore(_ snapshot: Timeline.Snapshot) throws -> [UInt8] {
        let path = scratch.path + "/target.img"
        unlink(path)
        let target = try TargetVolume(
            path: path, neededByteCount: snapshot.facts.byteCount, inPlace: false)
        try restore(snapshot, .fresh(target))
        return try contents(of: path)
    }

    /// The bytes of a snapshot, restored over `image` in place.
    package func restore(_ snapshot: Timeline.Snapshot, over image: [UInt8]) throws -> [UInt8] {
        let path = scratch.path + "/target.img"
        unlink(path)
        do {
            let file = try FileHandle(path, .create)
            try PositionedIO.write(file.descriptor, image.span.bytes, at: 0, subject: path)
        }
        let target = try TargetVolume(
            path: path, neededByteCount: snapshot.facts.byteCount, inPlace: true)
        try restore(snapshot, .inPlace(target), verification: .readBack)
        return try contents(of: path)
    }

    @discardableResult
    package func restore(
        _ snapshot: Timeline.Snapshot,
        _ target: RestoreTarget,
        verification: RestoreVerification = .blocks
    ) throws -> RestoreResult {
        let index = try index()
        let line = try index.locate(snapshot, in: try timeline(), with: repository)
        let restore = Restore(
            repository: repository, index: index, line: line, snapshot: snapshot, target: target,
            verification: verification, workerCount: workerCount)
        return try restore.run(progress: RestoreProgress(), report: {})
    }

    package func check(_ coverage: DataCoverage = .all) throws -> CheckReport {
        let directory = scratch.path + "/check"
        defer { ScratchDirectory.remove(directory) }
        var check = try RepositoryCheck(repository, scratchDirectory: directory)
        var generator = SeededGenerator(seed: 7)
        return try check.run(
            coverage, workerCount: workerCount, generator: &generator, progress: { _, _ in })
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
}

extension Lab {
    /// Puts other bytes in the place of the index's file.
    package func replaceIndex(with bytes: [UInt8]) throws {
        closeIndex()
        let path = indexDirectory + "/index.mdb"
        unlink(path)
        let file = try FileHandle(path, .create)
        try PositionedIO.write(file.descriptor, bytes.span.bytes, at: 0, subject: path)
    }

    /// The bytes of all snapshots, oldest first.
    package func restoreAll() throws -> [[UInt8]] {
        try timeline().snapshots.map { try restore($0) }
    }
}

extension Lab {
    /// Forgets snapshots, and does away with what that leaves.
    @discardableResult
    package func forget(
        _ snapshots: [SnapshotID],
        isThorough: Bool = false
    ) throws -> RemovalSummary {
        captureCount += 1
        let hold = try repository.hold(
            .volume(volume), .exclusive, purpose: "test", owner: .current(), now: { self.time })
        defer { withExtendedLifetime(hold) {} }
        let identifiers = SeededIdentifiers(seed: seed << 32 | 1 << 31 | captureCount)
        try repository.hide(
            snapshots, of: try timeline(), time: time, identifiers: identifiers)
        let index = try index()
        return try repository.removeHidden(
            of: volume, isThorough: isThorough, identifiers: identifiers,
            partByteLimit: partByteLimit,
            prove: { delta, timeline in
                try index.bringForward(timeline, with: repository)
                guard try index.confirms(delta, of: repository) != false else {
                    throw RepositoryError(
                        .failed, "\(delta.name.objectName) is not what it stands for")
                }
            },
            willDelete: { try index.takeOutOfAccount($0, of: repository) })
    }

    /// Gives back what nothing needs.
    @discardableResult
    package func prune(_ options: PruneOptions = PruneOptions()) throws -> PruneSummary {
        captureCount += 1
        let hold = try repository.hold(
            .repository, .exclusive, purpose: "test", owner: .current(), now: { self.time })
        let prune = Prune(
            repository: repository, index: try index(), options: options,
            identifiers: SeededIdentifiers(seed: seed << 32 | 1 << 30 | captureCount),
            now: { self.time })
        prune.packByteTarget = packByteTarget
        prune.batchByteCount = UInt64(packByteTarget)
        prune.waitForGrace = { self.graceCount += 1 }
        lastPlan = nil
        let plan = try prune.plan()
        lastPlan = plan
        lastAccountReport = prune.accountReport
        return try prune.run(plan, hold: hold, progress: { _ in })
    }
}

extension Lab {
    /// What each snapshot of the volume costs, oldest first.
    package func costs() throws -> [SnapshotCost] {
        let index = try index()
        let timeline = try timeline()
        _ = try index.bringAccountForward(
            timeline.deltas, of: repository, now: time, isRecount: false)
        let all = (timeline.snapshots + timeline.forgotten).sorted { $0.generation < $1.generation }
        let costs = try index.costs(
            of: all.map {
                (
                    try index.locate($0, in: timeline, with: repository), $0.generation,
                    $0.facts.byteCount
                )
            }, isInterrupted: { false })
        let shown = Set(timeline.snapshots.map(\.id))
        return zip(all, costs ?? []).filter { shown.contains($0.0.id) }.map(\.1)
    }

    /// Copies snapshots of the volume to another repository.
    @discardableResult
    package func copy(_ snapshots: [Timeline.Snapshot], to other: Lab) throws -> CopySummary {
        captureCount += 1
        let holds = [
            try other.repository.hold(
                .repository, .shared, purpose: "test", owner: .current(), now: { self.time }),
            try other.repository.hold(
                .volume(volume), .exclusive, purpose: "test", owner: .current(),
                now: { self.time }),
        ]
        let copy = try SnapshotCopy(
            from: repository, try index(), to: other.repository, try other.index(), holds: holds,
            identifiers: SeededIdentifiers(seed: seed << 32 | 1 << 29 | captureCount),
            now: { self.time })
        copy.packByteTarget = packByteTarget
        copy.partByteLimit = partByteLimit
        try copy.run(snapshots, of: try timeline(), progress: { _ in }, done: { _ in })
        return copy.summary
    }
}

extension Lab {
    /// Stores again what is lost, from another repository and from images; gives how many blocks were lost
    /// and how many are there again.
    package func repair(
        from other: Lab? = nil,
        images: [[UInt8]] = []
    ) throws -> (lost: Int, mended: Int) {
        captureCount += 1
        let report = try check()
        let index = try index()
        try index.learn(from: report.evidence)
        let repair = try BlockRepair(
            report.lostBlocks, of: repository, index,
            identifiers: SeededIdentifiers(seed: seed << 32 | 1 << 28 | captureCount))
        _ = try repair.salvage(
            Set(report.evidence.unreadable + report.evidence.rotten.map(\.pack)))
        _ = try repair.rescue(report.evidence.rotten)
        if let other { try repair.take(from: other.repository, try other.index()) }
        for image in images { try repair.offer(image.span.bytes) }
        try repair.finish()
        return (report.lostBlocks.count, repair.mendedCount)
    }
}

extension Lab {
    /// Writes short cuts where the way has more deltas than that; gives how many.
    @discardableResult
    package func consolidate(lengthLimit: Int? = nil) throws -> Int {
        captureCount += 1
        return try repository.consolidate(
            try timeline(), try index(),
            identifiers: SeededIdentifiers(seed: seed << 32 | 1 << 26 | captureCount),
            partByteLimit: partByteLimit, lengthLimit: lengthLimit)
    }
}

extension Lab {
    /// Brings back snapshots that no path leads to, from the index or another repository.
    @discardableResult
    package func repairPaths(
        from other: Lab? = nil,
        givesUp: Bool = false
    ) throws -> (mended: [PathRepair.Mended], left: Timeline) {
        captureCount += 1
        let identifiers = SeededIdentifiers(seed: seed << 32 | 1 << 27 | captureCount)
        let holds = [
            try repository.hold(
                .repository, .shared, purpose: "test", owner: .current(), now: { self.time }),
            try repository.hold(
                .volume(volume), .exclusive, purpose: "test", owner: .current(),
                now: { self.time }),
        ]
        let index = try index()
        let others = try other.map { other in
            let copy = try SnapshotCopy(
                from: other.repository, try other.index(), to: repository, index, holds: holds,
                identifiers: identifiers, now: { self.time })
            copy.packByteTarget = packByteTarget
            copy.partByteLimit = partByteLimit
            return [(copy, try other.timeline())]
        }
        let repair = PathRepair(
            repository, index, holds: holds, identifiers: identifiers, now: { self.time })
        repair.partByteLimit = partByteLimit
        let left = try repair.run(volume, others: others ?? [])
        if givesUp {
            _ = try repository.giveUpLost(of: left, holds: holds, now: { self.time })
        }
        return (repair.mended, left)
    }
}
