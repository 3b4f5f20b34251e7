internal import FoundationEssentials
internal import LinuxIO

/// QEMU's monitor, by its protocol QMP: a JSON object a line.
final class Monitor {
    private static let replyByteLimit = 4 << 20
    private static let replyMilliseconds: Int32 = 30_000

    private let stream: ByteStream
    private var received: [UInt8] = []

    private struct Request<Arguments: Encodable>: Encodable {
        let execute: String
        let arguments: Arguments
    }
    private struct Reply<Value: Decodable>: Decodable {
        struct Failure: Decodable {
            let desc: String
        }
        let `return`: Value?
        let error: Failure?
        let event: String?
    }
    struct Nothing: Codable {}

    /// Connects to the monitor that listens at the socket `path`.
    init(_ path: String) throws {
        stream = try UnixSocket.connect(path)
        _ = try line()
        _ = try execute("qmp_capabilities", Nothing(), giving: Nothing.self)
    }

    /// Gives what the command gives; events on the way are passed over.
    func execute<Value: Decodable>(
        _ command: String,
        _ arguments: some Encodable,
        giving: Value.Type
    ) throws -> Value {
        let request = try JSONEncoder().encode(Request(execute: command, arguments: arguments))
        try stream.write([UInt8](request) + [0x0A])
        while true {
            let reply = try JSONDecoder().decode(Reply<Value>.self, from: Data(try line()))
            if let value = reply.return { return value }
            if let error = reply.error { throw MachineError(description: "QEMU: \(error.desc)") }
            guard reply.event != nil else { throw MachineError(description: "QEMU did not reply") }
        }
    }

    /// What a command of the monitor for people says.
    func text(of command: String) throws -> String {
        try execute(
            "human-monitor-command", ["command-line": command], giving: String.self)
    }

    private func line() throws -> [UInt8] {
        var searched = 0
        while true {
            if let end = received[searched...].firstIndex(of: 0x0A) {
                defer { received.removeFirst(end + 1) }
                return Array(received[..<end])
            }
            searched = received.count
            guard received.count < Self.replyByteLimit,
                let bytes = try stream.read(64 << 10, milliseconds: Self.replyMilliseconds),
                !bytes.isEmpty
            else { throw MachineError(description: "QEMU's monitor no longer answers") }
            received += bytes
        }
    }
}
