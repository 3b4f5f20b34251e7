internal import BlockModel
package import Configuration
internal import LinuxIO
package import LiveVolumes
package import Logging

/// Alarms and metrics, after a run and between runs.
package struct JobWatch {
    private let states: StateDirectory
    private let records: JobRecords
    private let logger: Logger

    package init(states: StateDirectory, logger: Logger) {
        self.states = states
        records = JobRecords(stateDirectory: states.path)
        self.logger = logger
    }

    /// Tells what is new of a job; gives what is wrong with it.
    @discardableResult
    package func look(at job: Job) -> [Trouble] {
        let now = SystemClock.now().seconds
        let troubles = known(of: job, now: now).troubles
        Alarms(records: records, logger: logger).tell(of: job, troubles, now: now)
        return troubles
    }

    /// What is known of a job, and what is wrong with it.
    ///
    /// - Parameters:
    ///   - job: the job.
    ///   - now: seconds since 1970.
    /// - Returns: what the last runs left.
    package func known(of job: Job, now: Int64) -> Metrics.Known {
        let record = records.read(job.name)
        let isRunning = records.isRunning(job.name)
        // A run that is under way changes it at any moment.
        let tracking = isRunning ? [:] : TrackedVolume.all(of: job, states: states)
        return Metrics.Known(
            job, record, tracking: tracking,
            JobHealth.troubles(
                of: job, record, tracking: tracking, isRunning: isRunning, now: now))
    }

    /// Writes metrics, if they are wanted.
    package func writeMetrics(of configuration: Configuration) throws {
        guard let path = configuration.metricsPath else { return }
        let now = SystemClock.now().seconds
        let jobs = configuration.jobs.map { known(of: $0, now: now) }
        let bytes = Array(Metrics(jobs).text.utf8)
        try FileOperation.replace(path, with: bytes.rawSpan, mode: 0o644)
    }
}
