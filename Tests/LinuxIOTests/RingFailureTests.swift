import Glibc
import LinuxIO
import TestKit
import Testing

/// What the kernel lacks for a moment ends no transfer.
@Suite(.enabled(if: Ring(entryCount: 1) != nil, "the kernel or its policy does not allow io_uring"))
struct RingFailureTests {
    private static let count = 8

    @Test(
        "All bytes move whatever fails for a moment, or for long",
        arguments: [EAGAIN, EBUSY, EINTR, ENOMEM], [0, 1, 20, 1000])
    func passing(code: Int32, failures: Int) throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/file"
        let file = try FileHandle(path, .create)
        for kind in 0..<3 {
            let ring = try #require(Ring(entryCount: Self.count))
            let buffer = try AlignedBuffer(byteCount: 4096 * Self.count)
            func fail() {
                ring.failNext(
                    submissions: kind == 0 ? failures : 0, waits: kind == 1 ? min(failures, 20) : 0,
                    transfers: kind == 2 ? failures : 0, errno: code)
            }
            for part in 0..<Self.count {
                let bytes = [UInt8](repeating: UInt8(part + 1 + kind), count: 4096)
                buffer.copy(bytes.span.bytes, to: part * 4096)
            }
            fail()
            for part in 0..<Self.count {
                try ring.write(
                    file.descriptor, from: buffer, range: part * 4096..<(part + 1) * 4096,
                    at: UInt64(part) * 4096, tag: UInt64(part))
            }
            #expect(try results(ring) == Set(0..<Self.count))
            buffer.zero(0..<buffer.byteCount)
            fail()
            for part in 0..<Self.count {
                try ring.read(
                    file.descriptor, into: buffer, range: part * 4096..<(part + 1) * 4096,
                    at: UInt64(part) * 4096, tag: UInt64(part))
            }
            #expect(try results(ring) == Set(0..<Self.count))
            let found = buffer.bytes.withUnsafeBytes { bytes in
                (0..<Self.count).map { Set(bytes[$0 * 4096..<($0 + 1) * 4096]) }
            }
            #expect(found == (0..<Self.count).map { [UInt8($0 + 1 + kind)] })
        }
    }

    @Test("An error of the medium stays one")
    func lasting() throws {
        let directory = try TemporaryDirectory()
        let file = try FileHandle(directory.path + "/file", .create)
        let ring = try #require(Ring(entryCount: 2))
        let buffer = try AlignedBuffer(byteCount: 4096)
        ring.failNext(transfers: 1, errno: EIO)
        try ring.read(file.descriptor, into: buffer, range: 0..<4096, at: 0, tag: 1)
        let (tag, result) = try ring.wait()
        #expect(tag == 1)
        #expect(result == -Int(EIO))
    }

    /// The tags of transfers that moved all their bytes.
    private func results(_ ring: Ring) throws -> Set<Int> {
        var tags: Set<Int> = []
        while ring.inFlightCount > 0 {
            let (tag, result) = try ring.wait()
            if result == 4096 { tags.insert(Int(tag)) }
        }
        return tags
    }
}
