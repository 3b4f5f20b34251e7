import ArgumentParser
import Repository
import RepositoryFormat
import SnapshotService

struct Unlock: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Remove the holds of commands that are gone.")

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Flag(name: .customLong("all"), help: "Remove live holds too; only when you know they are not.")
    var all = false

    private struct Message: Encodable {
        var messageType = "hold"
        let name: String
        let purpose: String?
        let host: String?
        let processId: UInt32?
        let removed: Bool
        let reason: String?
    }

    func run() throws {
        let service = try repository.open(output)
        let (removed, kept) = try service.unlock(all: all)
        for (holds, isRemoved) in [(removed, true), (kept, false)] {
            for hold in holds { report(hold, isRemoved) }
        }
        output.say("removed \(removed.count) holds, kept \(kept.count) that are in use")
    }

    private func report(_ hold: ForeignHold, _ isRemoved: Bool) {
        var reason: String?
        if case .stale(let why) = hold.state { reason = why }
        if output.json {
            JSONLine.write(
                Message(
                    name: hold.name, purpose: hold.record?.purpose, host: hold.record?.host,
                    processId: hold.record?.processID, removed: isRemoved, reason: reason))
        } else if output.verbose {
            output.say("\(isRemoved ? "removed" : "kept") \(hold.name): \(reason ?? "in use")")
        }
    }
}
