import Foundation

/// A loop device: a block device of the kernel over a file of zeros, or of what is in the file.
struct LoopDevice {
    let path: String
    let file: String

    /// Makes a device of `byteCount` bytes, lends it, and takes it away again.
    static func with<Value>(
        _ name: String,
        byteCount: Int,
        in scratch: Scratch,
        _ body: (LoopDevice) async throws -> Value
    ) async throws -> Value {
        let file = scratch.file(name)
        try await scratch.require("truncate", "-s", "\(byteCount)", file)
        let path = try await scratch.require("losetup", "--find", "--show", "--partscan", file)
        let result: Result<Value, any Error>
        do {
            result = .success(try await body(LoopDevice(path: path, file: file)))
        } catch {
            result = .failure(error)
        }
        try await scratch.require("losetup", "--detach", path)
        return try result.get()
    }
}
