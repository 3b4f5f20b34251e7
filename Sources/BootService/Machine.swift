internal import BlockModel
internal import Glibc
package import LinuxIO

/// A machine without a window that runs, whose console and screen can be looked at.
final class Machine {
    private let directory: PrivateDirectory
    private let process: ChildProcess
    private let output: ByteStream
    private let monitor: Monitor
    private(set) var console = Console()

    /// Starts it.
    init(_ emulator: Emulator, _ machine: MachineDescription, diskURI: String) throws {
        let directory = try PrivateDirectory()
        let socket = directory.path + "/monitor"
        let (output, writer) = try Pipe.open()
        let process = try ChildProcess(
            emulator.arguments(machine, diskURI: diskURI, isWritable: false) + [
                "-display", "none", "-serial", "stdio", "-qmp", "unix:\(socket),server,nowait",
            ], output: writer.descriptor)
        withExtendedLifetime(writer) {}
        self.directory = directory
        self.process = process
        self.output = output
        var monitor: Monitor?
        while monitor == nil {
            guard process.poll() == nil else {
                throw MachineError(description: "QEMU did not start; see its output above")
            }
            guard !Interruption.isRequested else { throw Interrupted.ofBootTest }
            usleep(5_000)
            if UnixSocket.isServed(socket) { monitor = try Monitor(socket) }
        }
        guard let monitor else { throw MachineError(description: "QEMU has no monitor") }
        self.monitor = monitor
    }

    deinit {
        _ = try? monitor.execute("quit", Monitor.Nothing(), giving: Monitor.Nothing.self)
        process.end(seconds: 2)
    }

    /// The status that it ended with by itself; nil while it runs.
    var endStatus: Int32? { process.poll() }

    /// Waits for what the console gets, `milliseconds` at most, and takes no more of it than the console
    /// keeps: all of it can be looked at before it is dropped.
    func listen(milliseconds: Int32) throws {
        guard let bytes = try output.read(Console.lineLimit, milliseconds: milliseconds) else {
            // Nothing comes any more; the process ends in a moment.
            return SystemClock.sleep(milliseconds: UInt32(clamping: milliseconds))
        }
        console.append(bytes)
    }

    /// The screen as PNG.
    func picture() throws -> [UInt8] { try screen(format: "png") }

    /// The screen as an uncompressed picture.
    func pixels() throws -> [UInt8] { try screen(format: "ppm") }

    /// Larger than any screen that is emulated.
    private static let pictureByteLimit = 24 << 20

    private func screen(format: String) throws -> [UInt8] {
        let path = directory.path + "/screen"
        _ = try monitor.execute(
            "screendump", ["filename": path, "format": format], giving: Monitor.Nothing.self)
        defer { unsafe unlink(path.systemBytes) }
        let file = try FileHandle(path, .read)
        let count = try file.status(path).byteCount
        guard count <= Self.pictureByteLimit else {
            throw MachineError(description: "the screen is too large")
        }
        let buffer = try AlignedBuffer(byteCount: max(1, Int(count)))
        let read = try PositionedIO.read(
            file.descriptor, into: buffer, range: 0..<Int(count), at: 0, subject: path)
        return [UInt8](copying: buffer.bytes.extracting(0..<read))
    }

    /// The letters of the screen as long as it shows text by the oldest means: of the firmware and of
    /// boot loaders by BIOS.
    func screenText() throws -> String {
        var text = ""
        for line in try monitor.text(of: "xp /2000xh 0xb8000")
            .split(whereSeparator: \.isNewline)
        {
            for word in line.split(separator: " ").dropFirst() {
                guard let value = UInt16(word.dropFirst(2).filter(\.isHexDigit), radix: 16) else {
                    continue
                }
                let byte = UInt8(truncatingIfNeeded: value)
                text.unicodeScalars.append(
                    (0x20..<0x7F).contains(byte) ? Unicode.Scalar(byte) : " ")
            }
        }
        return text
    }

    private struct Statistics: Decodable {
        struct Counters: Decodable {
            let readBytes: UInt64

            enum CodingKeys: String, CodingKey {
                case readBytes = "rd_bytes"
            }
        }
        let device: String?
        let stats: Counters
    }

    /// Bytes of the disk that it has read.
    func readByteCount() throws -> UInt64 {
        try monitor.execute("query-blockstats", Monitor.Nothing(), giving: [Statistics].self)
            .first { $0.device == "disk" }?.stats.readBytes ?? 0
    }
}

extension Interrupted {
    package static let ofBootTest = Interrupted(consequence: "nothing was recorded")
}
