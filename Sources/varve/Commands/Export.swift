import ArgumentParser
import BlockModel
import Glibc
import LinuxIO
import Repository
import RepositoryFormat
import Serving
import SnapshotService

struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve a snapshot as a block device, by NBD.",
        discussion: """
            SNAPSHOT is \(SnapshotSelector.help). nbdkit serves it, read-only, until this is \
            interrupted or the command of --run has ended. What can open it: nbdinfo, nbdcopy, \
            qemu-img, qemu-nbd, nbd-client, fio, QEMU itself.

            ARGUMENTS go to nbdkit: '--filter=partition partition=1' serves one partition.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The snapshot.")
    var snapshot: String

    @Argument(parsing: .postTerminator, help: "More arguments for nbdkit, behind '--'.")
    var arguments: [String] = []

    @Option(help: "The socket to make (default: one in a new directory that only you reach).")
    var socket: String?

    @Option(
        help: """
            Serve at HOST:PORT instead. Whoever reaches it can read the disk; only this machine \
            reaches 127.0.0.1.
            """)
    var address: String?

    @Flag(help: "Take what clients write, and throw it away at the end.")
    var writable = false

    @Option(
        help: "Take what clients write, and keep it in this file (qcow2) for the next time.")
    var overlay: String?

    @Flag(inversion: .prefixedNo, help: "Prove each block by its digest.")
    var verify = true

    @Option(
        help: """
            Bytes of blocks that are kept in memory, such as 2G (default: a sixteenth of the \
            memory, 256M to 1G).
            """)
    var cache: ByteCount?

    @Option(
        name: .customLong("run"),
        help: """
            Run this by the shell, with 'uri' and 'unixsocket' set, and end with its exit status.
            """)
    var program: String?

    func validate() throws {
        guard socket == nil || address == nil else {
            throw ValidationError("--socket and --address exclude each other")
        }
        guard !writable || overlay == nil else {
            throw ValidationError("--writable and --overlay exclude each other")
        }
        if let address, Self.endpoint(address) == nil {
            throw ValidationError("--address is HOST:PORT, such as 127.0.0.1:10809")
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
        let service = try repository.open(output)
        let (timeline, found) = try service.find(SnapshotSelector(snapshot))
        // The server takes its own hold; this one is for the moment until then.
        try service.withReadingHold(purpose: "export") { hold in
            try PrivateDirectory.withNew { directory in
                let endpoint =
                    address.flatMap(Self.endpoint)
                    ?? .socket(socket ?? "\(directory.path)/nbd.sock")
                var request = NBDServer.Request(
                    repository: try repository.location(), snapshotID: found.id.hexadecimal,
                    byteCount: found.facts.byteCount, endpoint: endpoint)
                request.writes = overlay.map { .kept($0) } ?? (writable ? .thrownAway : .refused)
                request.isVerifying = verify
                request.cacheByteCount = cache.map { Int(clamping: $0.value) }
                request.arguments = arguments
                let server = try NBDServer(request)
                defer { server.end() }
                try announce(timeline, found, request)
                guard let program else { return try wait(server, hold) }
                var variables = ["uri": endpoint.uri]
                if case .socket(let path) = endpoint { variables["unixsocket"] = path }
                let command = try ChildProcess(
                    ["/bin/sh", "-c", program], environment: variables, input: STDIN_FILENO,
                    output: STDOUT_FILENO)
                let status = command.wait { try? hold?.renew(now: Moment.steady()) }
                guard status == 0 else { throw ExitCode(status) }
            }
        }
    }

    private func announce(
        _ timeline: Timeline,
        _ found: Timeline.Snapshot,
        _ request: NBDServer.Request
    ) throws {
        var path: String?
        if case .socket(let socket) = request.endpoint { path = socket }
        if output.json {
            JSONLine.write(
                Message(
                    volume: timeline.volume.rawValue, generation: found.generation,
                    snapshotId: found.id.hexadecimal, time: found.facts.time.rfc3339,
                    volumeBytes: found.facts.byteCount, uri: request.endpoint.uri, socket: path,
                    writable: request.writes != .refused))
        }
        guard program == nil else { return }
        output.say(
            "serving \(timeline.volume)@\(found.generation) of \(Moment.local(found.facts.time)) at "
                + request.endpoint.uri)
    }

    /// Serves until somebody asks to stop.
    private func wait(_ server: NBDServer, _ hold: Hold?) throws {
        while !Interruption.isRequested {
            if let status = server.poll() {
                throw ServiceError(.failed, "the server ended with status \(status)")
            }
            try? hold?.renew(now: Moment.steady())
            usleep(100_000)
        }
    }

    private static func endpoint(_ address: String) -> NBDServer.Endpoint? {
        guard let colon = address.lastIndex(of: ":"),
            let port = UInt16(address[address.index(after: colon)...]), port > 0
        else { return nil }
        var host = address[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty else { return nil }
        return .address(host: String(host), port: port)
    }
}
