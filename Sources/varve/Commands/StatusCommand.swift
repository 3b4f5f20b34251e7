import ArgumentParser
import BlockModel
import Configuration
import JobService
import SnapshotService

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show whether all jobs are healthy, and why not.",
        discussion: """
            Uses the records of the last runs, without reading repositories. Exit status 0 means \
            that all jobs are healthy, 1 that one is not.
            """)

    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The jobs (default: all).")
    var jobs: [String] = []

    @Flag(help: "Send alerts about new problems, and write metrics.")
    var notify = false

    private struct VolumeMessage: Encodable {
        let volume: String
        let newestSnapshot: String?
        let generation: UInt64?
        let bytesStored: UInt64
        let tracking: String?
        let fullComparison: String?
    }

    private struct Message: Encodable {
        var messageType = "job"
        let job: String
        let healthy: Bool
        let troubles: [String]
        let lastStart: String?
        let lastSuccess: String?
        let seconds: Double
        let volumes: [VolumeMessage]
        let lastPrune: String?
        let lastCheck: String?
        let lastBootTest: String?
        let repositoryBytes: UInt64?
    }

    func run() throws {
        let found: Configuration
        do {
            found = try configuration.read(output, isFollowed: notify)
        } catch {
            if notify { configuration.file.tell(error, logger: output.logger) }
            throw error
        }
        let now = Moment.now().seconds
        let watch = JobWatch(states: Local.states, logger: output.logger)
        var unwell = 0
        for job in try configuration.file.jobs(jobs, of: found) {
            let known = watch.known(of: job, now: now)
            let troubles =
                notify ? watch.look(at: job) : known.troubles
            if !troubles.isEmpty { unwell += 1 }
            show(known, troubles, now: now)
        }
        let isMeasured = !notify || watch.writesMetrics(of: found)
        guard unwell == 0, isMeasured else { throw ExitCode(1) }
    }

    private func show(_ known: Metrics.Known, _ troubles: [Trouble], now: Int64) {
        let (job, record) = (known.job, known.record)
        let time = { (seconds: Int64?) in seconds.map { Timestamp(seconds: $0).rfc3339 } }
        guard !output.json else {
            return JSONLine.write(
                Message(
                    job: job.name, healthy: troubles.isEmpty, troubles: troubles.map(\.text),
                    lastStart: time(record.lastStart), lastSuccess: time(record.lastSuccess),
                    seconds: record.seconds,
                    volumes: job.volumes.map { volume in
                        let last = record.volumes[volume.name.rawValue]
                        return VolumeMessage(
                            volume: volume.name.rawValue,
                            newestSnapshot: time(last?.snapshotTime),
                            generation: last?.generation, bytesStored: last?.bytesStored ?? 0,
                            tracking: known.tracking[volume.name].map(Self.word),
                            fullComparison: last?.fullComparison)
                    },
                    lastPrune: time(record.prune.time), lastCheck: time(record.check.time),
                    lastBootTest: time(record.bootTest.time),
                    repositoryBytes: record.repositoryByteCount))
        }
        let ago = { (seconds: Int64?) in
            seconds.map { "\(JobHealth.duration(max(0, now - $0))) ago" } ?? "never"
        }
        output.say("\(troubles.isEmpty ? "green" : "RED  ")  \(job.name)")
        for trouble in troubles { output.say("       \(trouble.text)") }
        for volume in job.volumes {
            let last = record.volumes[volume.name.rawValue]
            let generation = last?.generation.map { "@\($0)" } ?? ""
            output.say(
                "       \(volume.name)\(generation): \(ago(last?.snapshotTime)), stored "
                    + Human.bytes(last?.bytesStored ?? 0))
            if let reason = last?.fullComparison, last?.isFullComparisonExpected == true {
                output.say("         everything was compared: \(Terminal.printable(reason))")
            }
        }
        var steps = ["last success \(ago(record.lastSuccess))"]
        if job.prune != nil { steps.append("pruned \(ago(record.prune.time))") }
        if job.check != nil { steps.append("checked \(ago(record.check.time))") }
        if job.bootTest != nil { steps.append("booted \(ago(record.bootTest.time))") }
        if let count = record.repositoryByteCount {
            steps.append("repository \(Human.bytes(count))")
        }
        output.say("       \(steps.joined(separator: ", "))")
    }

    private static func word(_ tracked: TrackedVolume) -> String {
        tracked.isActive ? "active" : tracked.isOverflowed ? "overflowed" : "inactive"
    }
}
