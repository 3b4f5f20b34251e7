import BlockModel
import Configuration
import JobService
import LinuxIO
import LiveVolumes
import Logging

extension JobRecords {
    static var standard: JobRecords {
        JobRecords(stateDirectory: StateDirectory.standard.path)
    }
}

/// Alarms and metrics, after a run and between runs.
struct JobWatch {
    let configuration: Configuration
    let output: OutputOptions

    /// Tells what is new of a job; gives what is wrong with it.
    @discardableResult
    func look(at job: Job) -> [Trouble] {
        let now = SystemClock.now().seconds
        let troubles = Self.known(of: job, now: now).troubles
        Alarms(records: .standard, logger: output.logger).tell(of: job, troubles, now: now)
        return troubles
    }

    /// What is known of a job, and what is wrong with it.
    static func known(of job: Job, now: Int64) -> Metrics.Known {
        let record = JobRecords.standard.read(job.name)
        let isRunning = JobRecords.standard.isRunning(job.name)
        // A run that is under way changes it at any moment.
        let tracking = isRunning ? [:] : TrackedVolume.all(of: job, states: .standard)
        return Metrics.Known(
            job, record, tracking: tracking,
            JobHealth.troubles(
                of: job, record, tracking: tracking, isRunning: isRunning, now: now))
    }

    /// Writes metrics, if they are wanted; false when that failed, which was said then.
    func writeMetrics() -> Bool {
        guard let path = configuration.metricsPath else { return true }
        let now = SystemClock.now().seconds
        let jobs = configuration.jobs.map { Self.known(of: $0, now: now) }
        do {
            let bytes = Array(Metrics(jobs).text.utf8)
            try FileOperation.replace(path, with: bytes.rawSpan, mode: 0o644)
            return true
        } catch {
            Exit.report(error, about: "metrics could not be written")
            return false
        }
    }
}

/// The last configuration in which nothing was wrong: it says who is to be told when that changes.
enum LastConfiguration {
    private static var path: String { StateDirectory.standard.path + "/configuration.toml" }

    /// Keeps it, where that is possible and it is another one than before.
    static func keep(_ text: String) {
        guard Directory.text(of: path) != text else { return }
        let bytes = Array(text.utf8)
        try? Directory.makeAll(StateDirectory.standard.path)
        try? FileOperation.replace(path, with: bytes.rawSpan)
    }

    /// Tells everybody whom it names that the one of now cannot be used.
    static func tell(_ error: any Error, _ output: OutputOptions) {
        guard (try? StateDirectory.standard.requireTrusted()) != nil,
            let text = Directory.text(of: path), let last = try? Configuration(parsing: text)
        else { return }
        let alarms = Alarms(records: .standard, logger: output.logger)
        for job in last.jobs {
            alarms.tell(
                of: job, [Trouble("configuration", "\(error)")], now: SystemClock.now().seconds)
        }
    }
}
