import ArgumentParser
import BlockModel
import RepositoryModel
import SnapshotService

struct UnlockCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unlock",
        abstract: "Remove the holds of commands that are gone.",
        discussion: """
            A hold is removed if its owner is known to be dead, or if it was not renewed for 30 \
            minutes by the clock of the store. Others may belong to a command on another machine; \
            --all removes them too.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Flag(name: .customLong("all"), help: "Also remove live holds; only if you know they are dead.")
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
        // A lock that is seen goes with its owner; of the others nobody can say more than how old they are.
        let unseen = kept.filter { $0.isLocked != true }
        if let hold = unseen.first {
            output.note(
                "\(Human.count(unseen.count, "hold")) may belong to commands that are gone, such as "
                    + "'\(hold.purpose ?? "?")' on \(hold.host ?? "?"): these end "
                    + "30 minutes after they were last renewed, or now with --all")
        }
    }

    private func report(_ hold: HoldReport, _ isRemoved: Bool) {
        let reason = hold.reason
        if output.json {
            JSONLine.write(
                Message(
                    name: hold.name, purpose: hold.purpose, host: hold.host,
                    processId: hold.processID, removed: isRemoved, reason: reason))
        } else if output.verbose {
            output.say("\(isRemoved ? "removed" : "kept") \(hold.name): \(reason ?? "in use")")
        }
    }
}
