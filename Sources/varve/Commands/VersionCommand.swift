import ArgumentParser
import Workflows

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Show the program's version.")

    @OptionGroup var output: OutputOptions

    private struct Message: Encodable {
        var messageType = "version"
        let version: String
        let formatVersion: UInt16
    }

    func run() throws {
        let format = ProgramVersion.repositoryFormat
        if output.json {
            JSONLine.write(Message(version: ProgramVersion.text, formatVersion: format))
        } else {
            Terminal.line("varve \(ProgramVersion.text), repository format \(format)")
        }
    }
}
