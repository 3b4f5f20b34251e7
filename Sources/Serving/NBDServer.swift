internal import BlockModel
internal import Glibc
internal import LinuxIO

/// Why nothing can be served.
package struct ServingError: Error, CustomStringConvertible {
    package let description: String
}

/// nbdkit with our plugin, and qemu-nbd before it where what is written lasts: a snapshot as a block
/// device for other programs.
package final class NBDServer {
    /// Where clients connect.
    package enum Endpoint: Hashable, Sendable {
        case socket(String)
        case address(host: String, port: UInt16)

        /// As NBD's own addresses are written.
        package var uri: String {
            switch self {
            case .socket(let path): "nbd+unix:///?socket=\(Self.escaped(path))"
            case .address(let host, let port):
                "nbd://\(host.contains(":") ? "[\(host)]" : host):\(port)"
            }
        }

        fileprivate static func escaped(_ path: String) -> String {
            let plain = Set("/-._~".utf8)
            return ByteString(carrying: path).bytes.map { byte in
                let character = Character(UnicodeScalar(byte))
                let isPlain =
                    plain.contains(byte)
                    || character.isASCII && (character.isLetter || character.isNumber)
                guard !isPlain else { return String(character) }
                let digits = String(byte, radix: 16, uppercase: true)
                return "%" + (digits.count < 2 ? "0" : "") + digits
            }.joined()
        }
    }

    /// What becomes of what clients write.
    package enum Writes: Hashable, Sendable {
        case refused
        /// Kept until the server ends.
        case thrownAway
        /// Kept in this file, of format qcow2, which belongs to the snapshot.
        case kept(String)
    }

    /// What is served, and how.
    package struct Request: Sendable {
        package var repository: String
        /// All digits of its id.
        package var snapshotID: String
        package var byteCount: UInt64
        package var endpoint: Endpoint
        package var writes = Writes.refused
        package var cacheByteCount: Int?
        package var isVerifying = true
        /// More words for nbdkit.
        package var arguments: [String] = []

        package init(
            repository: String,
            snapshotID: String,
            byteCount: UInt64,
            endpoint: Endpoint
        ) {
            self.repository = repository
            self.snapshotID = snapshotID
            self.byteCount = byteCount
            self.endpoint = endpoint
        }
    }

    private var processes: [ChildProcess] = []
    private let directory: PrivateDirectory
    private let endpoint: Endpoint
    /// The socket that is ours to take away.
    private var socket: String?

    /// Starts to serve; clients can connect when this returns.
    ///
    /// - Throws: ``ServingError`` when a program is missing, or does not start.
    package init(_ request: Request) throws {
        endpoint = request.endpoint
        directory = try PrivateDirectory()
        if case .socket(let path) = endpoint {
            try Self.makeRoom(for: path)
            socket = path
        }
        do {
            if case .kept(let file) = request.writes {
                let base = directory.path + "/base.sock"
                try startKit(request, at: .socket(base))
                try startOverlay(file, over: base, request)
            } else {
                try startKit(request, at: endpoint)
            }
        } catch {
            end()
            throw error
        }
    }

    deinit { end() }

    /// The exit status of a server that ended by itself; nil while all serve.
    package func poll() -> Int32? { processes.lazy.compactMap { $0.poll() }.first }

    /// Ends the servers, the one that clients speak to first, and takes the socket away.
    package func end() {
        while let process = processes.popLast() { process.end() }
        // What others put there meanwhile is theirs.
        if let socket, let directory = try? OpenDirectory(Directory.parent(of: socket)) {
            let name = Directory.baseName(of: socket)
            let status = (try? directory.status(name)) ?? nil
            if status?.kind == .socket { _ = try? directory.remove(name) }
        }
        socket = nil
    }

    // MARK: Starting

    private func startKit(_ request: Request, at endpoint: Endpoint) throws {
        let program = try Self.program("nbdkit", package: "nbdkit")
        var arguments = [
            program, "--foreground", "--exit-with-parent", "--pidfile", pidFile("nbdkit"),
        ]
        switch endpoint {
        case .socket(let path): arguments += ["--unix", path]
        case .address(let host, let port): arguments += ["--ipaddr", host, "--port", "\(port)"]
        }
        arguments.append(request.writes == .thrownAway ? "--filter=cow" : "--readonly")
        arguments += request.arguments.filter { $0.hasPrefix("-") }
        arguments += [
            try Self.plugin(), "repository=\(Self.absolute(request.repository))",
            "snapshot=\(request.snapshotID)", "verify=\(request.isVerifying)",
        ]
        if let count = request.cacheByteCount { arguments.append("cache=\(count)") }
        arguments += request.arguments.filter { !$0.hasPrefix("-") }
        try start(arguments, "nbdkit")
    }

    /// Puts a file of what is written before a server on a socket.
    ///
    /// The file is opened once; the programs get it open, and never see its path. It may be another one
    /// under its name meanwhile.
    private func startOverlay(_ path: String, over base: String, _ request: Request) throws {
        let image = try Self.program("qemu-img", package: "qemu-utils")
        let server = try Self.program("qemu-nbd", package: "qemu-utils")
        let guardian = try Self.program("setpriv", package: "util-linux")
        // The file says what it lies over: the snapshot, and where that is served, which changes.
        let name = "nbd+unix:///\(request.snapshotID)?socket="
        let backing = name + Self.escaped(base)
        let file = try OverlayFile(path)
        var arguments = [image]
        if file.isNew {
            arguments += ["create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", backing]
            arguments += [ChildProcess.filePath, "\(request.byteCount)"]
        } else {
            try file.require(name, diskByteCount: request.byteCount)
            arguments += ["rebase", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", backing]
            arguments.append(ChildProcess.filePath)
        }
        let status = try Program.run(
            arguments, errors: STDERR_FILENO, file: file.descriptor)
        guard status == 0 else {
            file.discardIfNew()
            throw ServingError(
                description: "\(path) could not be written; see the output of qemu-img above")
        }
        try file.require(backing, diskByteCount: request.byteCount)
        arguments = [
            guardian, "--pdeathsig", "TERM", server,
            "--persistent", "--shared=0", "--pid-file=\(pidFile("qemu-nbd"))", "--image-opts",
            "driver=qcow2,file.driver=file,file.filename=\(ChildProcess.filePath)",
        ]
        switch endpoint {
        case .socket(let path): arguments.insert("--socket=\(Self.absolute(path))", at: 4)
        case .address(let host, let port):
            arguments.insert(contentsOf: ["--bind=\(host)", "--port=\(port)"], at: 4)
        }
        try start(arguments, "qemu-nbd", file: file.descriptor)
    }

    private static func escaped(_ path: String) -> String { Endpoint.escaped(path) }

    private func pidFile(_ name: String) -> String { "\(directory.path)/\(name).pid" }

    /// Starts a program, and waits until it takes connections.
    private func start(_ arguments: [String], _ name: String, file: Int32? = nil) throws {
        // Who can connect can read the disk.
        let mask = umask(0o077)
        defer { umask(mask) }
        let process = try ChildProcess(arguments, file: file)
        processes.append(process)
        // Both programs write that file when they listen.
        while try FileStatus(path: pidFile(name)) == nil {
            if process.poll() != nil {
                throw ServingError(description: "\(name) did not start; see its output above")
            }
            if Interruption.isRequested { throw Interrupted() }
            usleep(2_000)
        }
    }

    private static func program(_ name: String, package: String) throws -> String {
        guard let path = Program.path(of: name) else {
            throw ServingError(
                description: "\(name) is not installed; run 'apt install \(package)'")
        }
        return path
    }

    /// The library that nbdkit loads: beside the program, or where installations have it.
    private static func plugin() throws -> String {
        let name = "libvarve-nbdkit.so"
        guard let found = Program.companion(name) else {
            throw ServingError(
                description:
                    "\(name) is not beside the program, nor in ../lib/varve; build it with "
                    + "'swift build -c release --static-swift-stdlib' and put it there")
        }
        return found
    }

    private static func absolute(_ path: String) -> String {
        let folder = Directory.resolve(Directory.parent(of: path)) ?? Directory.parent(of: path)
        return Directory.resolve(path) ?? "\(folder)/\(Directory.baseName(of: path))"
    }

    // MARK: Sockets

    /// Takes away the socket of a server that is gone.
    ///
    /// - Throws: ``ServingError`` when somebody serves there, or it is no socket.
    private static func makeRoom(for path: String) throws {
        guard ByteString(carrying: path).bytes.count < 108 else {
            throw ServingError(
                description: "\(path) is too long for a socket; name a path of at most 107 bytes")
        }
        let directory = try OpenDirectory(Directory.parent(of: path))
        let name = Directory.baseName(of: path)
        guard let status = try directory.status(name) else { return }
        guard status.kind == .socket, !UnixSocket.isServed(path) else {
            throw ServingError(
                description: "\(path) is in use or is not a socket; name another path with "
                    + "--socket")
        }
        try directory.remove(name)
    }
}
