import ArgumentParser
import BlockModel
import RepositoryModel
import SnapshotService
import Workflows

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Serve a snapshot as a block device over NBD.",
        discussion: """
            SNAPSHOT is \(SnapshotSelector.help). nbdkit serves it read-only until this command is \
            interrupted or the command of --run ends. These can open it: nbdinfo, nbdcopy, \
            qemu-img, qemu-nbd, nbd-client, fio, QEMU itself.

            ARGUMENTS are passed to nbdkit: '--filter=partition partition=1' serves one partition.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The snapshot.")
    var snapshot: String

    @Argument(parsing: .postTerminator, help: "More arguments for nbdkit, after '--'.")
    var arguments: [String] = []

    @Option(help: "The socket to create (default: one in a new private directory).")
    var socket: String?

    @Option(
        help: """
            Serve at HOST:PORT instead. Anyone who connects can read the disk; only this machine \
            can connect to 127.0.0.1.
            """)
    var address: String?

    @Flag(help: "Let clients write, and discard their writes at the end.")
    var writable = false

    @Option(
        help: "Let clients write, and keep their writes in this file (qcow2) for next time.")
    var overlay: String?

    @Flag(inversion: .prefixedNo, help: "Verify each block by its digest.")
    var verify = true

    @Option(
        help: """
            Bytes of blocks to keep in memory, such as 2G (default: a sixteenth of the \
            memory, 256M to 1G).
            """)
    var cache: ByteCount?

    @Option(
        name: .customLong("run"),
        help: """
            Run this in a shell, with 'uri' and 'unixsocket' set, and exit with its status.
            """)
    var program: String?

    func validate() throws {
        guard socket == nil || address == nil else {
            throw ValidationError("--socket and --address cannot be combined")
        }
        guard !writable || overlay == nil else {
            throw ValidationError("--writable and --overlay cannot be combined")
        }
        if let address, ExportWorkflow.Endpoint(address: address) == nil {
            throw ValidationError("--address must be HOST:PORT, such as 127.0.0.1:10809")
        }
    }

    private struct Message: Encodable {
        var messageType = "export"
        let volume: String
        let generation: UInt64
        let snapshotId: String
        let time: String
        let volumeBytes: UInt64
        let uri: String
        let socket: String?
        let writable: Bool
    }

    func run() throws {
        // Only there it says where the socket is.
        if program == nil, socket == nil, address == nil { try Terminal.needOutput() }
        var options = ExportWorkflow.Options()
        options.endpoint = address.flatMap { .init(address: $0) } ?? .socket(socket)
        options.isWritable = writable
        options.overlay = overlay
        options.isVerifying = verify
        options.cacheByteCount = cache.map { Int(clamping: $0.value) }
        options.arguments = arguments
        options.command = program
        let status = try ExportWorkflow(
            repository.open(output), location: repository.location(), options
        ).run(SnapshotSelector(snapshot), began: announce)
        if let status, status != 0 { throw ExitCode(status) }
    }

    private func announce(_ served: ExportWorkflow.Served) {
        let (volume, found) = (served.volume, served.snapshot)
        if output.json {
            JSONLine.write(
                Message(
                    volume: volume.rawValue, generation: found.generation,
                    snapshotId: found.id.hexadecimal, time: found.facts.time.rfc3339,
                    volumeBytes: found.facts.byteCount, uri: served.uri, socket: served.socket,
                    writable: served.isWritable))
        }
        guard program == nil else { return }
        output.say(
            "serving \(volume)@\(found.generation) of \(Moment.local(found.facts.time)) at "
                + served.uri)
    }
}
