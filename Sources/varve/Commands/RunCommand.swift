import ArgumentParser
import BlockModel
import Configuration
import JobService
import LinuxIO
import LiveVolumes
import ProcessStart
import SnapshotService

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Do jobs of the configuration: back up, forget, and what else is due.",
        discussion: """
            Of each JOB: hooks, backup of its volumes at one moment, retention, and pruning, check \
            and boot test when they are due. A job that runs already is left out (status 11).
            """)

    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The jobs (default: all).")
    var jobs: [String] = []

    @Option(
        help: ArgumentHelp(
            "How long to wait for others that use the repository, such as 30m.",
            valueName: "duration"))
    var wait = ShortDuration(seconds: 3600)

    func run() throws {
        let found = try configuration.read(output, isFollowed: true)
        var failure: (any Error)?
        var failureCount = 0
        let chosen = try configuration.jobs(jobs, found)
        for job in chosen {
            let run = JobRun(
                job, records: .standard, states: .standard,
                environment: ProcessStart.environment, patienceSeconds: wait.seconds,
                logger: output.logger
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
            JobWatch(configuration: found, output: output).look(at: job)
            if Interruption.isRequested { break }
        }
        let isMeasured = JobWatch(configuration: found, output: output).writeMetrics()
        guard let failure else {
            if !isMeasured { throw ExitCode(Exit.partial) }
            return
        }
        throw ExitCode(failureCount < chosen.count ? Exit.partial : Exit.status(of: failure))
    }
}
