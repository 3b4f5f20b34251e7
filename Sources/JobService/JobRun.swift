internal import BlockModel
internal import CaptureEngine
package import Configuration
internal import FoundationEssentials
internal import LinuxIO
package import LiveVolumes
package import Logging
internal import ObjectStore
internal import Repository
internal import RepositoryFormat
internal import RepositoryModel
internal import Retention
internal import SnapshotService
internal import Workflows

/// One run of a job: hooks, backup, retention, and what is due of pruning, checks and boot tests.
///
/// A step that fails ends the run, but what looks after the repository: a prune, check or boot test that
/// fails lets the others be done. What became of the run is recorded in any case.
package final class JobRun {
    /// What a step did, for people and scripts.
    package struct StepReport: Encodable, Sendable {
        package var messageType = "step"
        package let job: String
        package let step: String
        package let volume: String?
        package let good: Bool
        package let seconds: Double
        package let text: String
    }

    let job: Job
    private let records: JobRecords
    let states: StateDirectory
    private let environment: [String: String]
    private let logger: Logger
    private let report: (StepReport) -> Void
    var record: JobRecord
    /// What is not to be done now for others' sake is tried again for so long.
    let patience: Patience
    private var maintenanceFailure: (any Error)?
    /// Volumes that this run captured.
    var captured: Set<VolumeName> = []
    /// Volumes that could not be tracked or captured, and why; the others are not kept from it.
    var captureFailures: [(volume: VolumeName, error: any Error)] = []

    /// - Parameters:
    ///   - job: what is to be done.
    ///   - states: where volumes' states are kept, and what was done.
    ///   - environment: that of the process.
    ///   - patienceSeconds: how long it is waited for others that use the repository.
    ///   - logger: gets what is of note.
    ///   - report: gets each step at its end.
    package init(
        _ job: Job,
        states: StateDirectory,
        environment: [String: String],
        patienceSeconds: Int64,
        logger: Logger,
        report: @escaping (StepReport) -> Void
    ) {
        self.job = job
        records = JobRecords(stateDirectory: states.path)
        self.states = states
        self.environment = environment
        patience = Patience(seconds: patienceSeconds)
        self.logger = logger
        self.report = report
        record = records.read(job.name)
    }

    /// Does the job.
    ///
    /// - Returns: what is known of it now.
    /// - Throws: what made a step fail; ``ServiceError`` of kind `locked` when the job runs already.
    @discardableResult
    package func run() throws -> JobRecord {
        guard let record = try records.withLock(job.name, runAlone) else {
            throw ServiceError(
                .locked, "job '\(job.name)' is already running; this run was skipped")
        }
        return record
    }

    private func runAlone() throws -> JobRecord {
        record = records.read(job.name)
        let start = SystemClock.monotonicNanoseconds()
        record.problem = nil
        record.lastStart = Self.now
        record.isUnderWay = true
        try records.write(record, of: job.name)
        var failure: (any Error)?
        do {
            try doAll()
            failure = maintenanceFailure
        } catch {
            failure = error
        }
        record.isUnderWay = false
        record.lastEnd = Self.now
        record.seconds = Self.seconds(since: start)
        record.error = failure.map { "\($0)" }
        if failure == nil { record.lastSuccess = record.lastEnd }
        if let reason = record.error { runFailureHooks(reason) }
        try records.write(record, of: job.name)
        if let failure { throw failure }
        return record
    }

    static var now: Int64 { SystemClock.now().seconds }

    private static func seconds(since start: UInt64) -> Double {
        (Double(SystemClock.monotonicNanoseconds() - start) / 1e7).rounded() / 100
    }

    private func doAll() throws {
        // Another job may follow in this process.
        let (priority, zone) = (Priority.current, SystemClock.zoneSetting)
        defer {
            priority.restore()
            SystemClock.restoreZone(zone)
        }
        Priority.lower(nice: job.limits.nice, isIdle: job.limits.isIdle)
        if let zone = job.retention?.timeZone, !SystemClock.useZone(zone) {
            throw ServiceError(.usage, "this system has no time zone '\(zone)'")
        }
        try step("before") { try runHooks(job.hooks.before, event: "before") }
        for volume in job.volumes where volume.isTracked { try track(volume) }
        let service = try OpenRepository(
            location: job.repository.path, environment: environment, logger: logger,
            bytesPerSecond: job.limits.bandwidth)
        try backUp(service)
        if captured.isEmpty, let failure = captureFailures.first { throw failure.error }
        if let retention = job.retention { try forget(retention, service) }
        if let prune = job.prune {
            maintain("prune", \.prune, every: prune.everySeconds) {
                try self.prune(prune, service)
            }
        }
        if let check = job.check {
            maintain("check", \.check, every: check.everySeconds) {
                try self.check(check, service)
            }
        }
        if let test = job.bootTest {
            maintain("boot-test", \.bootTest, every: test.everySeconds) {
                try bootTest(test, service)
            }
        }
        record.repositoryByteCount = try service.repository.storedByteCounts().values.saturatingSum
        record.repositorySnapshotCount = try service.timelines().reduce(0) {
            $0 + $1.snapshots.count
        }
        if let partial = partialFailure() { throw partial }
        try step("after") { try runHooks(job.hooks.after, event: "after") }
    }

    // MARK: Steps

    /// Does something, and reports it; says nothing of what gives no text.
    func step(
        _ name: String,
        volume: String? = nil,
        patience: Patience? = nil,
        _ body: () throws -> String?
    ) throws {
        let start = SystemClock.monotonicNanoseconds()
        do {
            let text = try (patience ?? self.patience).run(logger: logger, body)
            if let text { tell(name, volume: volume, since: start, text) }
        } catch {
            tell(name, volume: volume, since: start, isGood: false, "\(error)")
            throw error
        }
    }

    /// Reports a step that ended; should this be killed, what is done is known.
    func tell(
        _ step: String,
        volume: String?,
        since start: UInt64,
        isGood: Bool = true,
        _ text: String
    ) {
        report(
            StepReport(
                job: job.name, step: step, volume: volume, good: isGood,
                seconds: Self.seconds(since: start), text: text))
        if isGood { try? records.write(record, of: job.name) }
    }

    /// Does what is due from time to time; a failure does not keep the rest from being done.
    private func maintain(
        _ name: String,
        _ path: WritableKeyPath<JobRecord, JobRecord.Step>,
        every seconds: Int64,
        _ body: () throws -> (isGood: Bool, text: String)
    ) {
        guard !Interruption.isRequested,
            JobHealth.isDue(record[keyPath: path], every: seconds, now: Self.now)
        else { return }
        let start = SystemClock.monotonicNanoseconds()
        var done = JobRecord.Step()
        do {
            // It is tried again within the hour; backups are not kept waiting for it.
            try step(name, patience: Patience(seconds: min(patience.seconds, 60))) {
                let (isGood, text) = try body()
                done.isGood = isGood
                done.text = text
                guard isGood else { throw ServiceError(.failed, text) }
                return text
            }
        } catch {
            maintenanceFailure = maintenanceFailure ?? error
            done.isGood = false
            done.text = "\(error)"
            if Interruption.isRequested { return }
        }
        done.time = Self.now
        done.seconds = Self.seconds(since: start)
        record[keyPath: path] = done
    }

    private func forget(_ retention: Job.Retention, _ service: OpenRepository) throws {
        // Of one that was not captured nothing is taken away.
        for volume in job.volumes where captured.contains(volume.name) {
            try step("forget", volume: volume.name.rawValue) {
                let done = try ForgetWorkflow(service).run(volume.name, policy: retention.policy)
                return done.map {
                    "kept \($0.keptCount), forgot \($0.forgottenCount), removed the deltas of "
                        + "\($0.removal.removedCount)"
                }
            }
        }
    }

    private func prune(
        _ prune: Job.Prune,
        _ service: OpenRepository
    ) throws -> (isGood: Bool, text: String) {
        var options = PruneOptions()
        options.maxRepackByteCount = prune.maxRepackByteCount
        options.repacksSmallPacks = prune.repacksSmallPacks
        switch UnusedShare(prune.maxUnused) {
        case .percent(let percent): options.maxUnused = .percent(percent)
        case .bytes(let count): options.maxUnused = .bytes(count)
        case .unlimited: options.maxUnused = .unlimited
        case nil: break
        }
        let summary = try service.prune(
            options, isDryRun: false, planned: { _, _ in }, progress: { _, _ in })
        guard let summary else { return (true, "nothing to do") }
        let damaged = summary.damagedPacks.count
        let freed = Human.bytes(summary.freedByteCount.magnitude)
        return (
            damaged == 0,
            damaged > 0
                ? "\(Human.count(damaged, "pack")) with blocks that cannot be read; "
                    + "run 'varve check --read-data'"
                : freed + (summary.freedByteCount < 0 ? " more are used" : " freed")
                    + (summary.isOutOfSpace ? "; no space to repack the rest" : "")
        )
    }

    private func check(
        _ check: Job.Check,
        _ service: OpenRepository
    ) throws -> (isGood: Bool, text: String) {
        let coverage: DataCoverage = check.percent > 0 ? .percent(check.percent) : .none
        let report = try service.check(coverage, workerCount: job.limits.threads) { _, _ in }
        let scope =
            "\(Human.count(report.snapshotCount, "snapshot")), "
            + "\(Human.count(report.packsRead, "pack")) read"
        guard report.harmCount == 0 else {
            let first = report.findings.first { !$0.isHarmless }
            return (
                false,
                "\(Human.count(report.harmCount, "finding")) in \(scope), such as "
                    + "\(first?.subject ?? ""): \(first?.reason ?? "")"
            )
        }
        return (true, "no damage in \(scope)")
    }

    private func bootTest(
        _ test: Job.BootTest,
        _ service: OpenRepository
    ) throws -> (isGood: Bool, text: String) {
        var options = BootTestWorkflow.Options()
        options.timeoutSeconds = Int(test.timeoutSeconds)
        options.acceptsStableScreen = test.acceptsStableScreen
        if let expect = test.expect {
            options.pattern = try BootTestWorkflow.pattern(expect)
        }
        if let memory = test.memoryByteCount { options.machine.memoryByteCount = memory }
        var text = "\(test.volume)@latest boots"
        var events = BootTestWorkflow.Events()
        events.ended = { if $0.proof.result == .refused { text = $0.text } }
        let refusedCount = try BootTestWorkflow(
            service, location: job.repository.path, options
        ).run([try SnapshotSelector("\(test.volume)@latest")], events: events)
        return (refusedCount == 0, text)
    }

    // MARK: Hooks

    private func runHooks(_ hooks: [[String]], event: String, reason: String = "") throws -> String?
    {
        guard !hooks.isEmpty else { return nil }
        // What was begun for a backup is taken back also when that is interrupted; whoever did that waits
        // a minute for it.
        let isFailure = event == "failure"
        let limit = job.hooks.timeLimitSeconds
        for hook in hooks {
            let command = UserCommand(
                arguments: hook,
                timeLimitSeconds: Interruption.isRequested ? min(limit, 60) : limit,
                isInterruptible: !isFailure)
            try command.run(environment: [
                "VARVE_JOB": job.name, "VARVE_EVENT": event, "VARVE_REASON": reason,
                "VARVE_REPOSITORY": job.repository.path,
            ])
        }
        return hooks.map { $0.joined(separator: " ") }.joined(separator: "; ")
    }

    private func runFailureHooks(_ reason: String) {
        try? step("on-failure") {
            try runHooks(job.hooks.onFailure, event: "failure", reason: reason)
        }
    }
}
