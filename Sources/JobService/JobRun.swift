internal import BackupService
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
internal import Retention
internal import SnapshotService

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

    private let job: Job
    private let records: JobRecords
    private let states: StateDirectory
    private let environment: [String: String]
    private let logger: Logger
    private let report: (StepReport) -> Void
    private var record: JobRecord
    /// What is not to be done now for others' sake is tried again for so long.
    private let patienceSeconds: Int64
    private var maintenanceFailure: (any Error)?

    /// - Parameters:
    ///   - job: what is to be done.
    ///   - records: where is known what was done.
    ///   - states: where volumes' states are kept.
    ///   - environment: that of the process.
    ///   - patienceSeconds: how long it is waited for others that use the repository.
    ///   - logger: gets what is of note.
    ///   - report: gets each step at its end.
    package init(
        _ job: Job,
        records: JobRecords,
        states: StateDirectory,
        environment: [String: String],
        patienceSeconds: Int64,
        logger: Logger,
        report: @escaping (StepReport) -> Void
    ) {
        self.job = job
        self.records = records
        self.states = states
        self.environment = environment
        self.patienceSeconds = patienceSeconds
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
        guard let lock = try records.lock(job.name) else {
            throw ServiceError(
                .locked, "job '\(job.name)' is running already; this run was left out")
        }
        defer { withExtendedLifetime(lock) {} }
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

    private static var now: Int64 { SystemClock.now().seconds }

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
        let service = try SnapshotService(
            location: job.repository.path, environment: environment, logger: logger,
            bytesPerSecond: job.limits.bandwidth)
        try backUp(service)
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
                try bootTest(test)
            }
        }
        record.repositoryByteCount = try service.repository.storedByteCounts().values.reduce(0, +)
        record.repositorySnapshotCount = try service.timelines().reduce(0) {
            $0 + $1.snapshots.count
        }
        try step("after") { try runHooks(job.hooks.after, event: "after") }
    }

    // MARK: Steps

    /// Does something, and reports it; says nothing of what gives no text.
    private func step(
        _ name: String,
        volume: String? = nil,
        patienceSeconds: Int64? = nil,
        _ body: () throws -> String?
    ) throws {
        let start = SystemClock.monotonicNanoseconds()
        func tell(_ isGood: Bool, _ text: String) {
            report(
                StepReport(
                    job: job.name, step: name, volume: volume, good: isGood,
                    seconds: Self.seconds(since: start), text: text))
        }
        do {
            let patience = patienceSeconds ?? self.patienceSeconds
            if let text = try patiently(patience, body) { tell(true, text) }
            // Should this be killed, what is done is known.
            try? records.write(record, of: job.name)
        } catch {
            tell(false, "\(error)")
            throw error
        }
    }

    /// Tries again for a while what others have locked.
    private func patiently<Result>(
        _ seconds: Int64,
        _ body: () throws -> Result
    ) throws -> Result {
        let end = SystemClock.monotonicNanoseconds() + UInt64(seconds) * 1_000_000_000
        while true {
            do {
                return try body()
            } catch let error as RepositoryError
                where error.kind == .locked && SystemClock.monotonicNanoseconds() < end
                && !Interruption.isRequested
            {
                logger.info("\(error)")
                SystemClock.sleep(milliseconds: 1000)
            }
        }
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
            try step(name, patienceSeconds: min(patienceSeconds, 60)) {
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

    private func track(_ volume: Job.Volume) throws {
        let device = try SnapshotService.device(of: volume.source, states: states)
        if try Tracking(states: states).trackedDevice(device) != nil { return }
        try step("track", volume: volume.name.rawValue) {
            let (state, _) = try Tracking(states: states).begin(
                volume.source, store: volume.store, storeByteCount: volume.storeByteCount,
                now: Self.now)
            return "tracking /dev/mapper/\(state.device) from now on"
        }
    }

    /// Captures all volumes as they are at one moment.
    private func backUp(_ service: SnapshotService) throws {
        let sources = try job.volumes.map {
            try SnapshotService.device(of: $0.source, states: states)
        }
        let frozen = try SnapshotService.freeze(sources, states: states)
        var failure: (any Error)?
        for (volume, source) in zip(job.volumes, sources) {
            var options = BackupOptions()
            options.workerCount = job.limits.threads
            options.tags = job.tags
            options.allowsUse = volume.allowsUse
            do {
                try step("backup", volume: volume.name.rawValue) {
                    let summary = try service.mendingIndex {
                        try service.backUp(
                            source, volume: volume.name, options: options, frozen: frozen,
                            progress: CaptureProgress()
                        ) { _ in }
                    }
                    let facts = summary.facts
                    var last = JobRecord.Volume()
                    last.snapshotTime = facts.time.seconds
                    last.generation = summary.generation
                    last.bytesRead = facts.bytesRead
                    last.bytesChanged = facts.bytesChanged
                    last.bytesStored = facts.bytesStored
                    last.seconds = Double(facts.durationNanoseconds / 1_000_000) / 1000
                    record.volumes[volume.name.rawValue] = last
                    return "\(volume.name)@\(summary.generation): \(facts.method.name), "
                        + "\(Human.bytes(facts.bytesChanged)) changed, "
                        + "\(Human.bytes(facts.bytesStored)) stored"
                }
            } catch {
                // The others are backed up all the same.
                failure = failure ?? error
                if Interruption.isRequested { break }
            }
        }
        if let failure { throw failure }
    }

    private func forget(_ retention: Job.Retention, _ service: SnapshotService) throws {
        for volume in job.volumes {
            try step("forget", volume: volume.name.rawValue) {
                let holds = try service.holdForForgetting(volume.name)
                defer { withExtendedLifetime(holds) {} }
                guard let timeline = try service.timelines(volume.name).first else { return nil }
                let victims = try service.retention(retention.policy, of: timeline)
                    .filter { !$0.isKept }.map(\.snapshot.id)
                let summary = try service.forget(victims, of: timeline, isThorough: false)
                return "kept \(timeline.snapshots.count - victims.count), forgot "
                    + "\(victims.count), removed the deltas of \(summary.removedCount)"
            }
        }
    }

    private func prune(
        _ prune: Job.Prune,
        _ service: SnapshotService
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
                    + (summary.isOutOfSpace ? "; no space to write the rest again" : "")
        )
    }

    private func check(
        _ check: Job.Check,
        _ service: SnapshotService
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

    /// Runs the command, which has what it takes to run machines.
    private func bootTest(_ test: Job.BootTest) throws -> (isGood: Bool, text: String) {
        var arguments = [
            Directory.resolve("/proc/self/exe") ?? "varve", "boot-test", "\(test.volume)@latest",
            "--repo", job.repository.path, "--timeout", "\(test.timeoutSeconds)",
        ]
        if let expect = test.expect { arguments += ["--expect", expect] }
        if test.acceptsStableScreen { arguments.append("--accept-screen") }
        if let memory = test.memoryByteCount { arguments += ["--memory", "\(memory)"] }
        let command = UserCommand(
            arguments: arguments, timeLimitSeconds: test.timeoutSeconds + 120)
        let folder = try PrivateDirectory()
        let log = try FileHandle(folder.path + "/log", .create)
        do {
            try command.run(environment: [:], log: log.descriptor)
        } catch let error as ServiceError where error.kind == .failed {
            // What it says at its end is why.
            let said = Directory.text(of: folder.path + "/log") ?? ""
            let reason = said.split(separator: "\n").last.map(String.init) ?? "\(error)"
            return (false, reason)
        }
        return (true, "\(test.volume)@latest boots")
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
