import LinuxIO
import TestKit
import Testing

struct AlignedBufferTests {
    @Test(
        "A buffer has whole pages of zeros at an aligned address",
        arguments: [(0, 4096), (1, 4096), (4096, 4096), (4097, 8192), (3 << 20, 3 << 20)])
    func sizes(byteCount: Int, rounded: Int) throws {
        let buffer = try AlignedBuffer(byteCount: byteCount)
        #expect(buffer.byteCount == rounded)
        #expect(buffer.bytes.byteCount == rounded)
        let isAllZero = buffer.bytes.isAllZero
        #expect(isAllZero)
        let address = buffer.bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
        #expect(address % UInt(AlignedBuffer.alignment) == 0)
    }

    @Test("Bytes are copied, lent for writing and zeroed at their place alone")
    func contents() throws {
        let buffer = try AlignedBuffer(byteCount: 4096)
        buffer.copy([UInt8](repeating: 7, count: 4096).span.bytes, to: 0)
        let piece: [UInt8] = [1, 2, 3]
        buffer.copy(piece.span.bytes, to: 4093)
        buffer.copy([UInt8]().span.bytes, to: 4096)
        buffer.zero(10..<12)
        buffer.zero(20..<20)
        let old = buffer.withMutableBytes { bytes -> UInt8 in
            defer { bytes.storeBytes(of: 9, toByteOffset: 0, as: UInt8.self) }
            return bytes.unsafeLoad(fromByteOffset: 0, as: UInt8.self)
        }
        var expected = [UInt8](repeating: 7, count: 4096)
        expected.replaceSubrange(4093..., with: piece)
        expected.replaceSubrange(10..<12, with: [0, 0])
        expected[0] = 9
        #expect(old == 7)
        #expect(buffer.bytes.withUnsafeBytes { Array($0) } == expected)
    }

    @Test("A copy or a zeroing beyond the end stops the program")
    func beyondTheEnd() async {
        await #expect(processExitsWith: .failure) {
            let buffer = try AlignedBuffer(byteCount: 4096)
            buffer.copy([UInt8](repeating: 1, count: 2).span.bytes, to: 4095)
        }
        await #expect(processExitsWith: .failure) {
            try AlignedBuffer(byteCount: 4096).zero(4096..<4097)
        }
    }

    /// Sizes around every width that a vectorised comparison may use.
    private static let vectorSizes = Array(1...130) + [255, 256, 257, 4095, 4096, 4097, 65_536]

    @Test("Bytes are all zero when each of them is", arguments: vectorSizes)
    func allZero(byteCount: Int) {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        #expect(Self.isAllZero(bytes))
        var missed: [Int] = []
        for position in Self.positions(byteCount) {
            for value in [1, 0x80, 0xFF] as [UInt8] {
                bytes[position] = value
                if Self.isAllZero(bytes) { missed.append(position) }
            }
            bytes[position] = 0
        }
        #expect(missed == [])
        #expect(!Self.isAllZero([UInt8](repeating: 1, count: byteCount)))
    }

    @Test("Spans are equal when they have the same bytes and as many", arguments: vectorSizes)
    func equality(byteCount: Int) {
        var generator = SeededGenerator(seed: UInt64(byteCount))
        let bytes = generator.bytes(byteCount)
        var other = bytes
        #expect(Self.isEqual(bytes, other))
        #expect(!Self.isEqual(bytes, bytes.dropLast()))
        #expect(!Self.isEqual(bytes, bytes + [0]))
        var missed: [Int] = []
        for position in Self.positions(byteCount) {
            other[position] ^= 0x10
            if Self.isEqual(bytes, other) { missed.append(position) }
            other[position] ^= 0x10
        }
        #expect(missed == [])
    }

    @Test("No bytes are all zero, and equal to no bytes")
    func empty() {
        #expect(Self.isAllZero([]))
        #expect(Self.isEqual([], []))
    }

    private static func isAllZero(_ bytes: [UInt8]) -> Bool { bytes.span.bytes.isAllZero }

    private static func isEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.span.bytes.isEqual(to: right.span.bytes)
    }

    private static func positions(_ byteCount: Int) -> [Int] {
        byteCount <= 300
            ? Array(0..<byteCount)
            : [0, 1, 7, 8, 63, 64, 4000, byteCount / 2, byteCount - 2, byteCount - 1]
                .filter { $0 < byteCount }
    }
}
