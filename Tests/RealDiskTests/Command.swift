import Foundation

/// How a program ended, and what it said.
struct Ending: CustomStringConvertible {
    let command: String
    let status: Int32
    let output: String
    let errors: String

    var description: String { "\(command)\nended with \(status)\n\(output)\(errors)" }
}

/// A program that did not end as it has to.
struct UnexpectedEnding: Error, CustomStringConvertible {
    let description: String
}

/// A folder of its own for one test, in which programs run; removed with everything in it.
final class Scratch: Sendable {
    let path: String
    private let environment: [String: String]

    init() throws {
        let manager = FileManager.default
        let url = manager.temporaryDirectory.appendingPathComponent("varve-real-\(UUID())")
        try manager.createDirectory(at: url, withIntermediateDirectories: false)
        path = url.path
        var environment = ProcessInfo.processInfo.environment
        environment["PATH"] = Machine.searchPath
        environment["VARVE_REPOSITORY"] = path + "/repository"
        environment["VARVE_CACHE_DIR"] = path + "/cache"
        environment["LC_ALL"] = "C"
        environment["VARVE"] = Machine.program
        self.environment = environment
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }

    /// Runs a program to its end, whatever that is; ends it when the test is cancelled.
    ///
    /// What it says goes to files, so that it never waits for a reader. The calling thread is free
    /// meanwhile.
    func run(_ arguments: String...) async throws -> Ending { try await run(arguments) }

    func run(_ arguments: [String]) async throws -> Ending {
        let name = "\(path)/\(UUID())"
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.environment = environment
        process.currentDirectoryURL = URL(fileURLWithPath: path)
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try Self.newFile(name + ".output")
        process.standardError = try Self.newFile(name + ".errors")
        let running = Running(process)
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                process.terminationHandler = { _ in continuation.resume() }
                do { try process.run() } catch { continuation.resume(throwing: error) }
            }
        } onCancel: {
            running.end()
        }
        return Ending(
            command: arguments.joined(separator: " "), status: process.terminationStatus,
            output: try String(contentsOfFile: name + ".output", encoding: .utf8),
            errors: try String(contentsOfFile: name + ".errors", encoding: .utf8))
    }

    /// Runs a program that has to succeed, and gives what it printed, without the last line end.
    @discardableResult
    func require(_ arguments: String...) async throws -> String { try await require(arguments) }

    @discardableResult
    func require(_ arguments: [String]) async throws -> String {
        let ending = try await run(arguments)
        guard ending.status == 0 else { throw UnexpectedEnding(description: "\(ending)") }
        return ending.output.trimmingCharacters(in: .newlines)
    }

    @discardableResult
    func varve(_ arguments: String...) async throws -> String {
        let ending = try await run([Machine.program] + arguments)
        guard ending.status == 0 else { throw UnexpectedEnding(description: "\(ending)") }
        return ending.output
    }

    /// SHA-256 of a file or device, by a program that shares no code with what is tested.
    func checksum(_ path: String, byteCount: Int? = nil) async throws -> String {
        let range = byteCount.map { "head -c \($0)" } ?? "cat"
        let line = try await require(
            "bash", "-o", "pipefail", "-c", "\(range) \"$1\" | openssl dgst -sha256 -r", "bash",
            path)
        return String(line.prefix(64))
    }

    private static func newFile(_ path: String) throws -> FileHandle {
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let handle = FileHandle(forWritingAtPath: path)
        else { throw UnexpectedEnding(description: "cannot create \(path)") }
        return handle
    }
}

/// A process that may be told to end from any thread.
private final class Running: @unchecked Sendable {
    private let process: Process

    init(_ process: Process) { self.process = process }

    func end() { if process.isRunning { process.terminate() } }
}
