import ArgumentParser
import ProcessStart
import Workflows

/// The command line: one file a command; no rule of the system lives here.
@main
struct Varve: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "varve",
        abstract: "Keeps the history of a disk: a base image, then thin deltas of the changes.",
        discussion: """
            A repository holds volumes. A volume has snapshots, numbered 1, 2, 3 … Each one can \
            be restored as a bootable disk.

            Exit status: 0 done, 1 failed, 2 usage, 3 partly done, 10 no repository, 11 locked, \
            12 wrong password, 13 damaged, 130 interrupted.
            """,
        version: "varve \(ProgramVersion.text)",
        subcommands: [
            InitCommand.self, BackupCommand.self, SnapshotsCommand.self, RestoreCommand.self,
            DiffCommand.self, CheckCommand.self,
            ListCommand.self, CatCommand.self, ExtractCommand.self, FindCommand.self,
            HistoryCommand.self, MountCommand.self,
            ExportCommand.self, BootCommand.self, BootTestCommand.self,
            ForgetCommand.self, PruneCommand.self, CopyCommand.self, RepairCommand.self,
            ProtectCommand.self,
            UnprotectCommand.self,
            TagCommand.self,
            RunCommand.self, StatusCommand.self, ScheduleCommand.self, ConfigCommand.self,
            TrackCommand.self, TrialCommand.self, LayerCommand.self, StatsCommand.self,
            IndexCommand.self, UnlockCommand.self,
            VersionCommand.self,
            CompletionCommand.self,
        ]
    )

    static func main() {
        StopRequest.listen()
        do {
            var command = try parseAsRoot(Array(ProcessStart.arguments.dropFirst()))
            let kind = type(of: command)
            guard kind.configuration.subcommands.isEmpty else { Exit.withoutCommand(kind) }
            if command is any Listing { try Terminal.needOutput() }
            try command.run()
        } catch {
            Exit.withError(error)
        }
        Exit.end(0)
    }
}

/// A command whose work is its output: without standard output it is refused, and when nobody takes
/// what it writes, it ends.
protocol Listing: ParsableCommand {}

extension SnapshotsCommand: Listing {}
extension DiffCommand: Listing {}
extension ListCommand: Listing {}
extension CatCommand: Listing {}
extension FindCommand: Listing {}
extension HistoryCommand: Listing {}
extension StatsCommand: Listing {}
extension VersionCommand: Listing {}
extension CompletionCommand: Listing {}
extension ConfigCommand.Example: Listing {}
extension ScheduleCommand.ScheduleStatus: Listing {}
extension TrackCommand.Status: Listing {}
extension TrialCommand.Status: Listing {}
extension LayerCommand.Status: Listing {}
