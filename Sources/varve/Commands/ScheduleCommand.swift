import ArgumentParser
import Configuration
import JobService
import ProcessStart
import SnapshotService

struct ScheduleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedule",
        abstract: "Run jobs by systemd timers.",
        subcommands: [Install.self, ScheduleStatus.self, Remove.self])

    struct UnitOptions: ParsableArguments {
        @OptionGroup var configuration: ConfigurationOptions
        @OptionGroup var output: OutputOptions

        @Option(help: "Directory for the units (default: /etc/systemd/system).")
        var unitDirectory: String?

        @Flag(inversion: .prefixedNo, help: "Reload systemd, and start or stop the timers.")
        var start = true

        func units(_ found: Configuration) throws -> ScheduleUnits {
            try ScheduleUnits(
                found, at: configuration.path, states: Local.states,
                environment: ProcessStart.environment, unitDirectory: unitDirectory)
        }
    }

    private struct Summary: Encodable {
        var messageType = "summary"
        let action: String
        let units: [String]
    }

    struct Install: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write units for the jobs with a schedule, and start their timers.")

        @OptionGroup var options: UnitOptions

        func run() throws {
            let found = try options.configuration.read(options.output, asksSystemd: true)
            let names = try options.units(found).install(isStarting: options.start)
            if options.output.json { JSONLine.write(Summary(action: "install", units: names)) }
            for name in names { options.output.say("wrote \(name)") }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop the timers, and remove their units.")

        @OptionGroup var options: UnitOptions

        func run() throws {
            // What is to be removed is known by itself, whatever became of the configuration.
            let names = try options.units(Configuration()).remove(isStarting: options.start)
            if options.output.json { JSONLine.write(Summary(action: "remove", units: names)) }
            for name in names { options.output.say("removed \(name)") }
            if names.isEmpty { options.output.say("nothing was installed") }
        }
    }

    struct ScheduleStatus: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "status", abstract: "Show the units, and when the timers are next due.")

        @OptionGroup var options: UnitOptions

        private struct Status: Encodable {
            var messageType = "summary"
            var action = "status"
            let units: [String]
            let missing: [String]
            let ofNoJob: [String]
            let outdated: [String]
        }

        func run() throws {
            let found = try options.configuration.read(options.output)
            let units = try options.units(found)
            let installed = try units.installed()
            let wanted = units.units.map(\.name)
            let outdated = try units.outdated()
            if options.output.json {
                JSONLine.write(
                    Status(
                        units: installed, missing: wanted.filter { !installed.contains($0) },
                        ofNoJob: installed.filter { !wanted.contains($0) }, outdated: outdated))
            }
            for name in outdated {
                options.output.say(
                    "\(name) does not match the configuration; run 'varve schedule install'")
            }
            for name in wanted where !installed.contains(name) {
                options.output.say("\(name) is missing; run 'varve schedule install'")
            }
            for name in installed where !wanted.contains(name) {
                options.output.say(
                    "\(name) no longer belongs to a job; run 'varve schedule "
                        + "install'")
            }
            let timers = installed.filter { $0.hasSuffix(".timer") }
            if options.start, !options.output.json, !timers.isEmpty {
                try ScheduleUnits.showTimers(timers)
            }
            guard Set(installed) == Set(wanted), outdated.isEmpty else { throw ExitCode(1) }
        }
    }
}
