import ArgumentParser
import SnapshotService

struct CompletionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completion",
        abstract: "Print a script that completes commands in a shell.",
        discussion: "For bash: varve completion bash > /etc/bash_completion.d/varve")

    @Argument(help: "bash, zsh or fish.")
    var shell: String

    func run() throws {
        guard let known = CompletionShell(rawValue: shell) else {
            throw ServiceError(.usage, "'\(shell)' is not a supported shell; use bash, zsh or fish")
        }
        Terminal.write(ProgramText(Varve.completionScript(for: known)))
    }
}
