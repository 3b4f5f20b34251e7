import Glibc
import LinuxIO
import TestKit
import Testing

@Suite(
    .enabled(if: Ring(entryCount: 1) != nil, "the kernel or its policy does not allow io_uring"),
    .timeLimit(.minutes(60)))
struct RingTests {
    private static let partByteCount = 4096
    private static let count = 16

    @Test("Many writes and reads in flight each move their own bytes", arguments: [false, true])
    func transfers(isRegistered: Bool) throws {
        let directory = try TemporaryDirectory()
        let file = try FileHandle(directory.path + "/file", .create)
        let ring = try #require(Ring(entryCount: Self.count))
        let buffer = try AlignedBuffer(byteCount: Self.partByteCount * Self.count)
        if isRegistered {
            ring.register(buffer, partByteCount: Self.partByteCount, count: Self.count)
        }
        for part in 0..<Self.count {
            let bytes = [UInt8](repeating: UInt8(part + 1), count: Self.partByteCount)
            buffer.copy(bytes.span.bytes, to: part * Self.partByteCount)
            try ring.write(
                file.descriptor, from: buffer, range: Self.range(part),
                at: Self.offset(Self.count - 1 - part), tag: UInt64(part) << 32)
        }
        #expect(ring.inFlightCount == Self.count)
        #expect(try Self.drain(ring) == Self.expected { UInt64($0) << 32 })
        buffer.zero(0..<buffer.byteCount)
        for part in 0..<Self.count {
            try ring.read(
                file.descriptor, into: buffer, range: Self.range(part), at: Self.offset(part),
                tag: UInt64(part))
        }
        #expect(try Self.drain(ring) == Self.expected { UInt64($0) })
        let found = buffer.bytes.withUnsafeBytes { bytes in
            (0..<Self.count).map { Set(bytes[Self.range($0)]) }
        }
        #expect(found == (0..<Self.count).map { [UInt8(Self.count - $0)] })
    }

    @Test("A read at the end is short, one behind it empty, one of nothing an error")
    func results() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/file"
        let file = try FileHandle(path, .create)
        let content = [UInt8](repeating: 1, count: 1000)
        try PositionedIO.write(file.descriptor, content.span.bytes, at: 0, subject: path)
        let ring = try #require(Ring(entryCount: 4))
        let buffer = try AlignedBuffer(byteCount: 4096)
        try ring.read(file.descriptor, into: buffer, range: 0..<4096, at: 0, tag: 1)
        try ring.read(file.descriptor, into: buffer, range: 0..<100, at: 1000, tag: 2)
        try ring.read(-1, into: buffer, range: 0..<100, at: 0, tag: 3)
        #expect(try Self.drain(ring) == [1: 1000, 2: 0, 3: -Int(EBADF)])
    }

    @Test("A ring is used for many more transfers than it has entries")
    func reuse() throws {
        let directory = try TemporaryDirectory()
        let file = try FileHandle(directory.path + "/file", .create)
        let ring = try #require(Ring(entryCount: 2))
        let buffer = try AlignedBuffer(byteCount: 8192)
        var sum: UInt64 = 0
        for tag in 0..<500 as Range<UInt64> {
            if ring.inFlightCount == 2 { sum += try ring.wait().tag }
            try ring.write(
                file.descriptor, from: buffer, range: 0..<4096, at: tag * 4096, tag: tag)
        }
        while ring.inFlightCount > 0 { sum += try ring.wait().tag }
        #expect(sum == 499 * 500 / 2)
        #expect(try file.status("file").byteCount == 500 * 4096)
    }

    private static func range(_ part: Int) -> Range<Int> {
        part * partByteCount..<(part + 1) * partByteCount
    }

    private static func offset(_ part: Int) -> UInt64 { UInt64(part * partByteCount) }

    private static func expected(_ tag: (Int) -> UInt64) -> [UInt64: Int] {
        Dictionary(uniqueKeysWithValues: (0..<count).map { (tag($0), partByteCount) })
    }

    /// Results by tag of all that is in flight.
    private static func drain(_ ring: Ring) throws -> [UInt64: Int] {
        var results: [UInt64: Int] = [:]
        while ring.inFlightCount > 0 {
            let (tag, result) = try ring.wait()
            results[tag] = result
        }
        return results
    }
}
