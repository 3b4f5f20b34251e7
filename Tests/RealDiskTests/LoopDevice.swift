import Foundation

/// A loop device: a block device of the kernel over a file of zeros.
struct LoopDevice {
    let path: String
    let file: String

    /// Makes a device of `byteCount` bytes, lends it, and takes it away again.
    ///
    /// It is detached at once, which takes effect when nothing has it open any more: it is kept by
    /// the handle here, and goes even if this process is killed.
    static func with<Value>(
        _ name: String,
        byteCount: Int,
        in scratch: Scratch,
        _ body: (LoopDevice) async throws -> Value
    ) async throws -> Value {
        let file = scratch.file(name)
        try await scratch.require("truncate", "-s", "\(byteCount)", file)
        let path = try await scratch.require("losetup", "--find", "--show", file)
        guard let handle = FileHandle(forReadingAtPath: path) else {
            throw UnexpectedEnding(description: "cannot open \(path)")
        }
        defer { try? handle.close() }
        try await scratch.require("losetup", "--detach", path)
        return try await body(LoopDevice(path: path, file: file))
    }
}
