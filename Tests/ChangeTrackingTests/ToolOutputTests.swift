import BlockModel
import ChangeTracking
import TestKit
import Testing

/// What the tools of thin-provisioning-tools print, as they printed it.
@Suite struct ToolOutputTests {
    private static let delta = """
        <superblock uuid="" time="2" transaction="0" data_block_size="128" nr_data_blocks="0">
          <diff left="16777214" right="16777215">
            <same begin="0" length="10"/>
            <different begin="10" length="2"/>
            <same begin="12" length="8"/>
            <left_only begin="20" length="1"/>
            <same begin="21" length="19"/>
            <right_only begin="500" length="1"/>
          </diff>
        </superblock>

        """
    private static let era = """
        <blocks>
          <block block="0"/>
          <block block="312"/>
          <range begin="562" end = "567"/>
        </blocks>

        """

    private static func thin(
        _ text: String,
        volumeByteCount: UInt64 = 64 << 20
    ) throws -> [Range<UInt64>] {
        try ThinDelta.changes(
            Array(text.utf8), first: 16_777_214, second: 16_777_215,
            volumeByteCount: volumeByteCount, blockSize: .minimum
        ).ranges
    }

    private static func eraBlocks(
        _ text: String,
        blockByteCount: UInt64 = 65_536
    ) throws -> [Range<UInt64>] {
        try EraBlocks.changes(
            Array(text.utf8), blockByteCount: blockByteCount, volumeByteCount: 64 << 20,
            blockSize: .minimum
        ).ranges
    }

    @Test("Blocks that differ are read, and those that are the same are not")
    func read() throws {
        #expect(try Self.thin(Self.delta) == [160..<192, 320..<336, 8000..<8016])
        #expect(try Self.eraBlocks(Self.era) == [0..<16, 4992..<5008, 8992..<9072])
        // Sectors that are no whole blocks of ours.
        #expect(
            try Self.eraBlocks(
                "<blocks><block block=\"1\"/></blocks>", blockByteCount: 5120) == [1..<3])
    }

    @Test("What lies behind the end of the volume is left out")
    func clamped() throws {
        #expect(
            try Self.thin(Self.delta, volumeByteCount: 21 * 65_536 - 100) == [160..<192, 320..<336])
        #expect(try Self.thin(Self.delta, volumeByteCount: 500 * 65_536) == [160..<192, 320..<336])
        let huge = "<range begin=\"1000\" end=\"18446744073709551615\"/>"
        #expect(try Self.eraBlocks("<blocks>\(huge)</blocks>") == [16_000..<16_384])
    }

    @Test("A text that was cut short is refused wherever it ends")
    func cut() {
        for text in [Self.delta, Self.era] {
            for count in 0..<text.utf8.count - 1 {
                let part = String(text.prefix(count))
                #expect(throws: (any Error).self, "\(part)") {
                    if text == Self.delta {
                        _ = try Self.thin(part)
                    } else {
                        _ = try Self.eraBlocks(part)
                    }
                }
            }
        }
    }

    @Test(
        "Other texts are refused",
        arguments: [
            ("left=\"16777214\"", "left=\"1\""), ("right=\"16777215\"", ""),
            ("data_block_size=\"128\"", "data_block_size=\"100\""),
            ("data_block_size=\"128\"", "data_block_size=\"0\""),
            ("data_block_size=\"128\"", ""), ("begin=\"10\"", "begin=\"-1\""),
            ("begin=\"10\"", "begin=\"18446744073709551615\""), ("length=\"2\"", "length=\"2"),
            ("different", "other"), ("<same begin=\"0\"", "<same begin=\"0\" begin=\"0\""),
            ("<diff", "error <diff"),
        ])
    func refused(_ old: String, _ new: String) {
        let text = Self.delta.replacing(old, with: new)
        #expect(text != Self.delta)
        #expect(throws: ThinDelta.Refusal.self) { try Self.thin(text) }
        #expect(throws: EraBlocks.Refusal.self) {
            try Self.eraBlocks(Self.era.replacing("end = \"567\"", with: "end = \"562\""))
        }
    }

    @Test("Noise never traps", arguments: 0..<200 as Range<UInt64>)
    func noise(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for text in [Self.delta, Self.era] {
            var bytes = Array(text.utf8)
            for _ in 0..<1 + generator.next() % 8 {
                bytes[Int(generator.next() % UInt64(bytes.count))] =
                    generator.next() % 2 == 0
                    ? UInt8(truncatingIfNeeded: generator.next())
                    : Array("<>/\"= 0189".utf8)[Int(generator.next() % 10)]
            }
            _ = try? ThinDelta.changes(
                bytes, first: 16_777_214, second: 16_777_215, volumeByteCount: 1 << 30,
                blockSize: .minimum)
            _ = try? EraBlocks.changes(
                bytes, blockByteCount: 4096, volumeByteCount: 1 << 30, blockSize: .minimum)
        }
    }
}
