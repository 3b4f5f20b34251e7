import Serving
import TestKit
import Testing

struct OverlayHeaderTests {
    private static let name = Array("nbd+unix:///abc?socket=/run/x".utf8)

    private static func bigEndian(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - $0))) }
    }

    /// What qemu-img writes.
    private static func header(
        _ change: (inout [UInt8]) -> Void = { _ in },
        extensions: [(UInt64, [UInt8])] = [(0xE279_2ACA, Array("raw".utf8))]
    ) -> [UInt8] {
        var bytes: [UInt8] = [0x51, 0x46, 0x49, 0xFB] + bigEndian(3, 4)
        bytes += bigEndian(0x210, 8) + bigEndian(UInt64(name.count), 4) + bigEndian(16, 4)
        bytes += bigEndian(1 << 20, 8) + bigEndian(0, 4) + bigEndian(1, 4)
        bytes += [UInt8](repeating: 0, count: 100 - bytes.count) + bigEndian(104, 4)
        for (kind, value) in extensions {
            bytes += bigEndian(kind, 4) + bigEndian(UInt64(value.count), 4) + value
            bytes += [UInt8](repeating: 0, count: (8 - value.count % 8) % 8)
        }
        bytes += [UInt8](repeating: 0, count: 0x210 - bytes.count) + name
        bytes += [UInt8](repeating: 0, count: OverlayHeader.byteCount - bytes.count)
        change(&bytes)
        return bytes
    }

    @Test("What Varve writes is read")
    func own() throws {
        let header = try OverlayHeader(decoding: Self.header())
        #expect(header.backing == Self.name)
        #expect(header.diskByteCount == 1 << 20)
        #expect(throws: Never.self) { try OverlayHeader(decoding: Self.header { $0[79] = 1 }) }
    }

    @Test("Whatever leads to another file, or makes no sense, is refused")
    func refused() {
        func set(_ offset: Int, _ value: UInt64, _ count: Int) -> [UInt8] {
            Self.header {
                $0.replaceSubrange(offset..<offset + count, with: Self.bigEndian(value, count))
            }
        }
        let raw = (UInt64(0xE279_2ACA), Array("raw".utf8))
        for (what, bytes) in [
            ("empty", []), ("short", Array(Self.header()[..<103])), ("magic", set(0, 0, 4)),
            ("version", set(4, 2, 4)), ("data file", set(72, 4, 8)), ("corrupt", set(72, 2, 8)),
            ("unknown", set(72, 1 << 63, 8)), ("raw data", set(88, 2, 8)),
            ("far", set(8, .max, 8)), ("overflow", set(8, .max - 20, 8)),
            ("behind", set(8, 5000, 8)),
            ("in the header", set(8, 4, 8)), ("long", set(16, 0xFFFF_FFFF, 4)),
            ("longer", set(16, 3999, 4)), ("clusters", set(20, 8, 4)), ("more", set(20, 63, 4)),
            ("table", set(36, 0xFFFF_FFFF, 4)), ("encrypted", set(32, 2, 4)),
            ("header", set(100, 0xFFFF_FFF8, 4)), ("odd", set(100, 105, 4)),
            ("small", set(100, 8, 4)),
            ("snapshots", set(60, 1, 4)),
            ("other format", Self.header(extensions: [(0xE279_2ACA, Array("qcow2".utf8))])),
            ("data file's name", Self.header(extensions: [raw, (0x4441_5441, Array("/x".utf8))])),
            ("extension", Self.header(extensions: [raw, (0x0537_BE77, [])])),
            (
                "endless",
                Self.header({ $0.replaceSubrange(108..<112, with: [255, 255, 255, 255]) })
            ),
        ] as [(String, [UInt8])] {
            #expect(throws: ServingError.self, "\(what)") { try OverlayHeader(decoding: bytes) }
        }
    }

    @Test("Bytes changed at random give a header or an error", arguments: 1...4)
    func noise(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<2_000 {
            var bytes = Self.header()
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                bytes[Int.random(in: 0..<600, using: &generator)] = .random(
                    in: 0...255, using: &generator)
            }
            let count = Int.random(in: 0...bytes.count, using: &generator)
            _ = try? OverlayHeader(decoding: Array(bytes[..<count]))
        }
    }
}
