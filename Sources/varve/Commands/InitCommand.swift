import ArgumentParser
import BlockModel
import SnapshotService

struct InitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Create a repository.")

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "Block size: a power of two from 4K to 4M.")
    var blockSize = "64K"

    private struct Summary: Encodable {
        var messageType = "summary"
        let repository: String
        let repositoryId: String
        let blockSize: Int
    }

    func run() throws {
        guard let byteCount = Self.bytes(blockSize), let size = BlockSize(byteCount: byteCount)
        else {
            throw ServiceError(
                .usage, "'\(blockSize)' is not a block size; use a power of two from 4K to 4M")
        }
        let location = try repository.location()
        let id = try OpenRepository.create(location: location, blockSize: size).hexadecimal
        if output.json {
            JSONLine.write(
                Summary(repository: location, repositoryId: id, blockSize: size.byteCount))
        }
        output.say("created repository \(id.prefix(12)) at \(location)")
    }

    /// `65536`, `64K` or `1M` as bytes.
    private static func bytes(_ text: String) -> Int? {
        var digits = text.uppercased()
        if digits.hasSuffix("IB") { digits.removeLast(2) }
        var factor = 1
        if digits.hasSuffix("K") { factor = 1024 }
        if digits.hasSuffix("M") { factor = 1024 * 1024 }
        if factor > 1 { digits.removeLast() }
        guard let value = Int(digits), value > 0, value <= 1 << 30 else { return nil }
        return value * factor
    }
}
