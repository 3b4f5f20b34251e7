import ArgumentParser
import BlockModel
import Configuration
import JobService
import ProcessStart
import SnapshotService
import Workflows

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run jobs of the configuration: back up, forget, and what else is due.",
        discussion: """
            Each JOB runs hooks, a backup of its volumes at one moment, retention, and prune, \
            check and boot test when they are due. A job already running is skipped (status 11).
            """)

    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The jobs (default: all).")
    var jobs: [String] = []

    @Option(
        help: ArgumentHelp(
            "How long to wait for other users of the repository, such as 30m.",
            valueName: "duration"))
    var wait = ShortDuration(seconds: 3600)

    func run() throws {
        let found = try configuration.read(output, isFollowed: true)
        var failure: (any Error)?
        var failureCount = 0
        let chosen = try configuration.file.jobs(jobs, of: found)
        let watch = JobWatch(states: Local.states, logger: output.logger)
        for job in chosen {
            let run = JobRun(
                job, states: Local.states, environment: ProcessStart.environment,
                patienceSeconds: wait.seconds, logger: output.logger
            ) { step in
                if output.json { return JSONLine.write(step) }
                let name = [job.name, step.step, step.volume].compactMap { $0 }
                    .joined(separator: " ")
                output.say(
                    "\(name): \(step.text)\(step.good ? "" : " (failed)"), "
                        + Human.duration(step.seconds))
            }
            do {
                try run.run()
            } catch {
                failure = error
                failureCount += 1
                Exit.report(error, about: "job '\(job.name)'")
            }
            watch.look(at: job)
            if StopRequest.isMade { break }
        }
        let isMeasured = watch.writesMetrics(of: found)
        guard let failure else {
            if !isMeasured { throw ExitCode(Exit.partial) }
            return
        }
        throw ExitCode(failureCount < chosen.count ? Exit.partial : Exit.status(of: failure))
    }
}

extension JobWatch {
    /// Writes metrics, if they are wanted; false when that failed, which was said then.
    func writesMetrics(of configuration: Configuration) -> Bool {
        do {
            try writeMetrics(of: configuration)
            return true
        } catch {
            Exit.report(error, about: "metrics could not be written")
            return false
        }
    }
}
