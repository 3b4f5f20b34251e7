internal import BlockModel
internal import Configuration
internal import LinuxIO
internal import LiveVolumes
internal import RepositoryFormat
internal import RepositoryModel
internal import SnapshotService
internal import Workflows

extension JobRun {
    /// Begins to track a volume that is not; a failure keeps neither it nor the others from being
    /// captured as they can be.
    func track(_ volume: Job.Volume) throws {
        do {
            let device = OpenRepository.device(of: volume.source, states: states)
            if try Tracking(states: states).trackedDevice(device) != nil { return }
            try step("track", volume: volume.name.rawValue) {
                let (state, _) = try Tracking(states: states).begin(
                    volume.source, store: volume.store, storeByteCount: volume.storeByteCount,
                    now: Self.now)
                return "tracking /dev/mapper/\(state.device) from now on"
            }
        } catch {
            captureFailures.append((volume.name, error))
            if Interruption.isRequested { throw error }
        }
    }

    /// Captures all volumes as they are at one moment.
    func backUp(_ service: OpenRepository) throws {
        let sources = try job.volumes.map { volume in
            var options = BackupOptions()
            options.workerCount = job.limits.threads
            options.tags = job.tags
            options.allowsUse = volume.allowsUse
            return try BackupWorkflow.Source(
                volume.source, volume: volume.name, options: options, states: states)
        }
        var events = BackupWorkflow.Events()
        var start: UInt64 = 0
        events.began = { _ in start = SystemClock.monotonicNanoseconds() }
        events.ended = { [self] source, result in
            let name = source.volume.rawValue
            switch result {
            case .success(let summary):
                captured.insert(source.volume)
                tell("backup", volume: name, since: start, note(summary))
            case .failure(let error):
                tell("backup", volume: name, since: start, isGood: false, "\(error)")
                // Why it is not tracked is why it cannot be captured.
                guard !captureFailures.contains(where: { $0.volume == source.volume }) else {
                    return
                }
                captureFailures.append((source.volume, error))
            }
        }
        _ = try BackupWorkflow(service, states: states, patience: patience)
            .run(sources, events: events)
    }

    /// Keeps what a backup did; gives words for it.
    private func note(_ summary: BackupSummary) -> String {
        let facts = summary.facts
        var last = JobRecord.Volume()
        last.snapshotTime = facts.time.seconds
        last.generation = summary.generation
        last.bytesRead = facts.bytesRead
        last.bytesChanged = facts.bytesChanged
        last.bytesStored = facts.bytesStored
        last.seconds = Double(facts.durationNanoseconds / 1_000_000) / 1000
        last.fullComparison = summary.fullComparison?.reason
        last.isFullComparisonExpected = summary.fullComparison?.isExpected
        record.volumes[summary.volume.rawValue] = last
        return "\(summary.volume)@\(summary.generation): \(facts.method.name), "
            + "\(Human.bytes(facts.bytesChanged)) changed, "
            + "\(Human.bytes(facts.bytesStored)) stored"
    }

    /// What is told when some volumes were captured and others were not; nil when all is well.
    func partialFailure() -> ServiceError? {
        let failed = captureFailures.filter { !captured.contains($0.volume) }
        let reasons = captureFailures.map { "\($0.volume): \($0.error)" }.joined(separator: "; ")
        guard !captureFailures.isEmpty else { return nil }
        return ServiceError(
            .partial,
            failed.isEmpty
                ? "all volumes were captured, but with problems: \(reasons)"
                : "\(failed.count) of \(job.volumes.count) volumes were not captured: \(reasons)")
    }
}
