package import BlockModel
internal import Glibc
internal import LinuxIO
internal import Repository
package import RepositoryModel
internal import Serving
package import SnapshotService

/// Serves a snapshot as a block device, by NBD.
package struct ExportWorkflow {
    /// Where clients connect.
    package enum Endpoint: Hashable, Sendable {
        /// A socket; in a new directory that only this user reaches, when none is named.
        case socket(String?)
        case address(host: String, port: UInt16)

        /// Reads `HOST:PORT`; nil for anything else.
        package init?(address: String) {
            guard let colon = address.lastIndex(of: ":"),
                let port = UInt16(address[address.index(after: colon)...]), port > 0
            else { return nil }
            var host = address[..<colon]
            if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
            guard !host.isEmpty else { return nil }
            self = .address(host: String(host), port: port)
        }
    }

    package struct Options {
        package var endpoint = Endpoint.socket(nil)
        /// Whether what clients write is taken, and thrown away at the end.
        package var isWritable = false
        /// A file (qcow2) that keeps what clients write; nil for none.
        package var overlay: String?
        /// Whether each block is proved by its digest.
        package var isVerifying = true
        package var cacheByteCount: Int?
        /// More words for nbdkit.
        package var arguments: [String] = []
        /// What is run by the shell, until whose end is served; nil to serve until the user asks to stop.
        package var command: String?

        package init() {}
    }

    /// A snapshot that is served.
    package struct Served {
        package let volume: VolumeName
        package let snapshot: Snapshot
        package let uri: String
        /// Nil where clients connect by an address.
        package let socket: String?
        package let isWritable: Bool
    }

    private let repository: OpenRepository
    /// Where the server finds it.
    private let location: String
    private let options: Options

    package init(_ repository: OpenRepository, location: String, _ options: Options) {
        self.repository = repository
        self.location = location
        self.options = options
    }

    /// Serves a snapshot.
    ///
    /// - Parameters:
    ///   - selector: the snapshot.
    ///   - began: called when clients can connect.
    /// - Returns: the status with which the command ended; nil where there is none.
    /// - Throws: ``ServingError`` where the server does not start; ``ServiceError`` where it ended.
    package func run(_ selector: SnapshotSelector, began: (Served) -> Void) throws -> Int32? {
        let (timeline, found) = try repository.find(selector)
        // The server takes its own hold; this one is for the moment until then.
        return try repository.withReadingHold(purpose: "export") { hold in
            try PrivateDirectory.withNew { directory in
                let endpoint: NBDServer.Endpoint =
                    switch options.endpoint {
                    case .socket(let path): .socket(path ?? "\(directory.path)/nbd.sock")
                    case .address(let host, let port): .address(host: host, port: port)
                    }
                let server = try NBDServer(request(found, endpoint))
                defer { server.end() }
                var socket: String?
                if case .socket(let path) = endpoint { socket = path }
                began(
                    Served(
                        volume: timeline.volume, snapshot: found, uri: endpoint.uri,
                        socket: socket,
                        isWritable: options.isWritable || options.overlay != nil))
                let renew = { _ = try? hold?.renew(now: Moment.steady()) }
                guard let command = options.command else {
                    try wait(server, renew)
                    return nil
                }
                var variables = ["uri": endpoint.uri]
                variables["unixsocket"] = socket
                let process = try ChildProcess(
                    ["/bin/sh", "-c", command], environment: variables, input: STDIN_FILENO,
                    output: STDOUT_FILENO)
                return process.wait(idle: renew)
            }
        }
    }

    private func request(
        _ snapshot: Snapshot,
        _ endpoint: NBDServer.Endpoint
    ) -> NBDServer.Request {
        var request = NBDServer.Request(
            repository: location, snapshotID: snapshot.id.hexadecimal,
            byteCount: snapshot.facts.byteCount, endpoint: endpoint)
        request.writes =
            options.overlay.map { .kept($0) } ?? (options.isWritable ? .thrownAway : .refused)
        request.isVerifying = options.isVerifying
        request.cacheByteCount = options.cacheByteCount
        request.arguments = options.arguments
        return request
    }

    /// Serves until the user asks to stop.
    private func wait(_ server: NBDServer, _ renew: () -> Void) throws {
        while !Interruption.isRequested {
            if let status = server.poll() {
                throw ServiceError(.failed, "the server ended with status \(status)")
            }
            renew()
            SystemClock.sleep(milliseconds: 100)
        }
    }
}
