internal import BlockModel
internal import LinuxIO
package import Repository
internal import RepositoryFormat
package import RepositoryIndex
package import RepositoryModel
internal import Synchronization
package import VolumeAccess

/// Where a restore writes.
package enum RestoreTarget: Sendable {
    /// A new file or a device: everything is written.
    case fresh(TargetVolume)
    /// Only blocks that differ are written.
    case inPlace(TargetVolume)
    /// Standard output: everything, in order.
    case stream
}

/// How far a restore has come; read from another thread at any time.
package final class RestoreProgress: Sendable {
    private let done = Atomic<UInt64>(0)
    private let written = Atomic<UInt64>(0)

    package init() {}

    package var doneByteCount: UInt64 { done.load(ordering: .relaxed) }
    package var writtenByteCount: UInt64 { written.load(ordering: .relaxed) }

    /// Begins at nothing, for a target that is gone through once more; what was written stays written.
    package func restart() { done.store(0, ordering: .relaxed) }

    func add(doneByteCount count: UInt64) { done.wrappingAdd(count, ordering: .relaxed) }
    func add(writtenByteCount count: UInt64) { written.wrappingAdd(count, ordering: .relaxed) }
}

extension Interrupted {
    static let ofRestore = Interrupted(
        consequence: "the target is incomplete; restore to it again with --in-place to finish")
}

/// One restore: plan → write → prove.
package struct Restore {
    let repository: Repository
    let map: SnapshotMap
    let facts: SnapshotFacts
    let target: RestoreTarget
    let verification: RestoreVerification
    let workerCount: Int

    package init(
        _ snapshot: Snapshot,
        _ map: SnapshotMap,
        repository: Repository,
        target: RestoreTarget,
        verification: RestoreVerification,
        workerCount: Int = Workers.standardCount
    ) {
        self.repository = repository
        self.map = map
        facts = snapshot.facts
        self.target = target
        self.verification = verification
        self.workerCount = workerCount
    }

    package func run(progress: RestoreProgress, report: () -> Void) throws -> RestoreResult {
        let plan = RestorePlan(self)
        try pass(plan, target, progress, report)
        try verifyImage(plan)
        switch target {
        case .stream: break
        case .fresh(let volume), .inPlace(let volume):
            try volume.synchronize()
            if verification == .readBack { try readBack(volume, report) }
        }
        return RestoreResult(
            writtenByteCount: progress.writtenByteCount,
            skippedByteCount: facts.byteCount - min(facts.byteCount, progress.writtenByteCount))
    }

    private func pass(
        _ plan: RestorePlan,
        _ target: RestoreTarget,
        _ progress: RestoreProgress,
        _ report: () -> Void,
        isProof: Bool = false
    ) throws {
        let failure = SharedFailure()
        let turnstile = Turnstile()
        let verifies = verification != .none
        try Workers.run(count: workerCount, failure: failure, idle: report) { _ in
            do {
                let worker = try RestoreWorker(
                    plan: plan, target: target, isProof: isProof, isVerifying: verifies,
                    turnstile: turnstile, progress: progress)
                try worker.run(failure)
            } catch {
                // Before the others are sent away, who say nothing of their own.
                failure.record(error)
                turnstile.shut()
                throw error
            }
        }
    }

    /// Compares the image digest of what was written with that of the capture.
    private func verifyImage(_ plan: RestorePlan) throws {
        guard verification != .none else { return }
        let root = ImageDigestTree(blockSize: repository.blockSize).root(
            leaves: plan.leaves(), byteCount: facts.byteCount, blockSize: repository.blockSize)
        guard root == facts.imageDigest else {
            // Without its own proof the index is to blame first: it may have lost a write.
            guard map.index.isNew else {
                throw map.index.wrong("it does not match the image digest of the snapshot")
            }
            throw RepositoryError(
                .damaged,
                "the image digest of the target differs from that of the capture: the target "
                    + "must not be used; run 'varve index rebuild' and 'varve check --read-data'")
        }
    }

    private func readBack(_ volume: TargetVolume, _ report: () -> Void) throws {
        volume.dropCache()
        try pass(
            RestorePlan(self), .inPlace(volume), RestoreProgress(), report, isProof: true)
    }
}
