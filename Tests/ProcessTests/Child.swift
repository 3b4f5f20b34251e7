import Foundation
import Glibc
import LinuxIO

/// The varve binary of this build, run as a child process with a repository of its own.
final class Child {
    let process = Process()
    private let output = Pipe()
    private let errors = Pipe()

    /// What a child said, and how it ended.
    struct Result {
        let status: Int32
        let output: String
        let errors: String
    }

    /// The binary stands beside the test bundle.
    static let binary: String = {
        let bundle = Directory.resolve("/proc/self/exe") ?? ""
        return Directory.parent(of: bundle) + "/varve"
    }()

    init(
        _ arguments: [String],
        in place: Place,
        program: String = binary,
        input: Foundation.FileHandle? = nil
    ) throws {
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.environment = [
            "VARVE_REPOSITORY": place.repository, "VARVE_CACHE_DIR": place.cache,
            "VARVE_STATE_DIR": place.cache + "/states", "VARVE": Self.binary, "PLACE": place.path,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        process.standardInput = input ?? Foundation.FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = errors
        try process.run()
    }

    func wait() -> Result {
        let said = output.fileHandleForReading.readDataToEndOfFile()
        let complained = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Result(
            status: process.terminationStatus, output: String(decoding: said, as: UTF8.self),
            errors: String(decoding: complained, as: UTF8.self))
    }

    /// Kills the process outright, unless it has ended.
    func kill() { Glibc.kill(process.processIdentifier, SIGKILL) }

    /// The text of a script below `Scripts`, for ``shell(_:in:)``.
    static func text(of script: String) throws -> String {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Scripts/\(script)")
        return try String(contentsOf: path, encoding: .utf8)
    }

    /// Runs lines of a shell, to which `$VARVE` is the binary and `$PLACE` the directory of the place.
    static func shell(_ script: String, in place: Place) throws -> Result {
        try Child(["-uc", script], in: place, program: "/bin/bash").wait()
    }

    @discardableResult
    static func run(_ arguments: [String], in place: Place) throws -> Result {
        try Child(arguments, in: place).wait()
    }
}

/// A repository, its cache and some images, in a scratch directory.
final class Place {
    let path: String
    var repository: String { path + "/repository" }
    var cache: String { path + "/cache" }
    private let scratch: any AnyObject & Sendable

    init(_ scratch: any AnyObject & Sendable, path: String) {
        self.scratch = scratch
        self.path = path
    }

    func write(_ bytes: Data, to name: String) throws -> String {
        let file = path + "/" + name
        try bytes.write(to: URL(fileURLWithPath: file))
        return file
    }

    func read(_ name: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: path + "/" + name), options: [])
    }
}
