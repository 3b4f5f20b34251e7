import BlockModel
import Hashing
import RepositoryFormat
import TestKit
import Testing

struct FrameTests {
    @Test("A frame with any bit flipped, in header or payload, is refused", arguments: 0..<3)
    func flips(kind: Int) throws {
        let (header, payload, _) = Sample.frames[kind]
        var frame = try Sample.frame(header, payload)
        var accepted: [Int] = []
        for bit in 0..<frame.count * 8 {
            frame[bit / 8] ^= 1 << UInt8(bit % 8)
            if Self.accepts(&frame) { accepted.append(bit) }
            frame[bit / 8] ^= 1 << UInt8(bit % 8)
        }
        #expect(accepted == [])
        #expect(Self.accepts(&frame))
    }

    @Test("A frame that is cut short is refused", arguments: 0..<3)
    func truncations(kind: Int) throws {
        let (header, payload, _) = Sample.frames[kind]
        let frame = try Sample.frame(header, payload)
        let accepted = (0..<frame.count).filter {
            var short = Array(frame[..<$0])
            return Self.accepts(&short)
        }
        #expect(accepted == [])
    }

    @Test("Random bytes, also behind the magic, are no frame", arguments: 1...5)
    func randomBytes(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var accepted: [Int] = []
        for round in 0..<2000 {
            var bytes = generator.bytes(Int.random(in: 0...200, using: &generator))
            var frame = Array("VFRM".utf8) + [UInt8(round % 3), 0, 1, 0] + bytes
            if Self.accepts(&bytes) || Self.accepts(&frame) { accepted.append(round) }
        }
        #expect(accepted == [])
    }

    @Test(
        "Each field of a frame's header is refused for its own reason",
        arguments: [
            (0, [0], .badMagic), (3, [0], .badMagic), (4, [4], .badValue("frame kind")),
            (4, [255], .badValue("frame kind")), (5, [1], .badValue("patch depth")),
            (6, [0, 0], .badValue("frame block count")),
            (6, [129, 0], .badValue("frame block count")),
            (6, [255, 255], .badValue("frame block count")),
            (8, [0, 0, 0, 0], .badValue("payload length")),
            (8, [1, 48, 0, 0], .badValue("payload length")),
            (8, [255, 255, 255, 255], .badValue("payload length")),
            (12, [1], .badValue("chain length")), (16, [1], .reservedNotZero),
            (23, [1], .reservedNotZero),
        ] as [(Int, [UInt8], FormatError)]
    )
    func compressedFields(offset: Int, value: [UInt8], error: FormatError) throws {
        try expect(error, frame: 1, offset, value)
    }

    @Test(
        "A patch has one block and a depth of one to eight, a stored frame exactly its blocks",
        arguments: [
            (2, 5, [0], .badValue("patch depth")), (2, 5, [9], .badValue("patch depth")),
            (2, 6, [2, 0], .badValue("frame block count")),
            (2, 8, [1, 16, 0, 0], .badValue("payload length")),
            (0, 8, [255, 15, 0, 0], .badValue("payload length")),
            (0, 6, [2, 0], .badValue("payload length")),
            (0, 5, [1], .badValue("patch depth")), (0, 12, [1], .badValue("chain length")),
        ] as [(Int, Int, [UInt8], FormatError)]
    )
    func otherFields(frame: Int, offset: Int, value: [UInt8], error: FormatError) throws {
        try expect(error, frame: frame, offset, value)
    }

    private func expect(
        _ error: FormatError,
        frame: Int,
        _ offset: Int,
        _ value: [UInt8]
    ) throws {
        let (header, payload, _) = Sample.frames[frame]
        var bytes = try Sample.frame(header, payload)
        bytes.replaceSubrange(offset..<offset + value.count, with: value)
        #expect(throws: error) {
            try FrameHeader(decoding: bytes.rawSpan, blockSize: Sample.small)
        }
    }

    @Test("Patches of every depth from one to eight are allowed", arguments: 1...8)
    func depths(depth: UInt8) throws {
        let header = FrameHeader(
            kind: .patch, depth: depth, blockCount: 1, payloadByteCount: 1, chainByteCount: 9,
            prefixes: [Sample.digest(1)])
        let frame = try Sample.frame(header, [7])
        #expect(try FrameHeader(decoding: frame.rawSpan, blockSize: Sample.small) == header)
    }

    @Test("A patch of two names both blocks, directly behind the header of all frames")
    func patchOfTwo() throws {
        let prefixes = [Sample.digest(0x20), Sample.digest(0x50)]
        let header = FrameHeader(
            kind: .patchOfTwo, depth: 1, blockCount: 1, payloadByteCount: 2, chainByteCount: 2,
            prefixes: prefixes)
        var frame = try Sample.frame(header, [7, 8])
        #expect(frame.count == 98)
        #expect(frame[4] == 3)
        #expect(frame[32..<64].elementsEqual((0..<32).map { 0x20 + UInt8($0) }))
        #expect(frame[64..<96].elementsEqual((0..<32).map { 0x50 + UInt8($0) }))
        #expect(try FrameHeader(decoding: frame.rawSpan, blockSize: Sample.small) == header)
        for count in 0..<96 {
            #expect(throws: FormatError.self) {
                try FrameHeader(
                    decoding: Array(frame[..<count]).rawSpan, blockSize: Sample.small)
            }
        }
        for position in frame.indices {
            frame[position] ^= 4
            #expect(!Self.accepts(&frame), "byte \(position)")
            frame[position] ^= 4
        }
    }

    /// Whether the bytes are a frame with a right checksum; fails for errors of another kind.
    private static func accepts(_ bytes: inout [UInt8]) -> Bool {
        do throws(FormatError) {
            let header = try FrameHeader(decoding: bytes.rawSpan, blockSize: Sample.small)
            var span = bytes.mutableSpan
            var raw = span.mutableBytes
            try FrameHeader.verifyChecksum(of: &raw, header: header)
            return true
        } catch {
            return false
        }
    }
}

struct PackTableTests {
    @Test("A footer with any bit flipped, or cut short, is refused")
    func footerFlips() throws {
        let (pack, _, footer) = try Sample.pack
        var bytes = footer.encoded()
        for bit in 0..<bytes.count * 8 {
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: FormatError.self, "bit \(bit)") {
                try PackFooter(decoding: bytes[...], packByteCount: pack.count)
            }
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        }
        for count in 0..<bytes.count {
            #expect(throws: FormatError.truncated(expectedByteCount: 64, actualByteCount: count)) {
                try PackFooter(decoding: bytes[..<count], packByteCount: pack.count)
            }
        }
        #expect(try PackFooter(decoding: bytes[...], packByteCount: pack.count) == footer)
    }

    @Test("A footer that does not fit the size of its pack is refused")
    func footerOfAnotherPack() throws {
        let (pack, _, footer) = try Sample.pack
        for size in [0, 63, pack.count - 1, pack.count + 1, Format.packByteLimit + 1, .max] {
            #expect(throws: FormatError.badValue("pack footer"), "\(size)") {
                try PackFooter(decoding: footer.encoded()[...], packByteCount: size)
            }
        }
    }

    @Test(
        "A footer whose numbers are huge or do not agree is refused",
        arguments: [
            [8: .max], [8: 1 << 63], [16: .max], [16: 1 << 63], [16: 0], [24: .max],
            [24: 0xFFFF_FFFF], [24: 6 << 32 | 3], [24: 5 << 32 | 6], [8: .max - 300, 16: .max],
            [16: 131_073 * 48, 24: 131_073 << 32 | 131_073],
        ] as [[Int: UInt64]]
    )
    func hugeNumbers(fields: [Int: UInt64]) throws {
        let (pack, _, footer) = try Sample.pack
        var bytes = footer.encoded()
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        for (offset, value) in fields { raw.store(value, at: offset) }
        raw.store(XXH3.hash64(raw.bytes.extracting(0..<56)), at: 56)
        #expect(throws: FormatError.badValue("pack footer")) {
            try PackFooter(decoding: bytes[...], packByteCount: pack.count)
        }
    }

    @Test("A table with any bit flipped, or of another length, is refused")
    func tableFlips() throws {
        let (_, table, footer) = try Sample.pack
        var bytes = table.encoded()
        for bit in 0..<bytes.count * 8 {
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: FormatError.badChecksum, "bit \(bit)") {
                try Self.decode(bytes, footer)
            }
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        }
        #expect(throws: FormatError.self) { try Self.decode(bytes.dropLast(), footer) }
        #expect(throws: FormatError.self) { try Self.decode(bytes + [0], footer) }
        #expect(try Self.decode(bytes, footer) == table)
    }

    @Test("A table whose frames do not lie one behind the other is refused")
    func frameOffsets() throws {
        let (_, table, _) = try Sample.pack
        for (position, moved) in [(0, 1), (1, -1), (2, 1), (2, -4096)] {
            var entries = table.frames
            let old = entries[position]
            entries[position] = FrameEntry(
                byteOffset: UInt32(Int(old.byteOffset) + moved), header: old.header)
            #expect(throws: FormatError.badValue("frame offset")) {
                try Self.decode(entries, table.digests)
            }
        }
    }

    @Test("A table whose frames end before or behind its own beginning is refused")
    func frameEnds() throws {
        let (_, table, footer) = try Sample.pack
        #expect(throws: FormatError.badValue("frames' length")) {
            try Self.decode(table.frames, table.digests, at: footer.tableByteOffset + 1)
        }
        #expect(throws: FormatError.badValue("frame length")) {
            try Self.decode(table.frames, table.digests, at: footer.tableByteOffset - 1)
        }
        #expect(throws: FormatError.badValue("frames' length")) {
            try Self.decode(table.frames.dropLast(), Array(table.digests.dropLast()))
        }
    }

    @Test("A table with more or fewer digests than blocks is refused")
    func digestCounts() throws {
        let (_, table, _) = try Sample.pack
        #expect(throws: FormatError.badValue("block count")) {
            try Self.decode(table.frames, table.digests.dropLast())
        }
        #expect(throws: FormatError.badValue("block count")) {
            try Self.decode(table.frames, table.digests + [.zero])
        }
    }

    @Test(
        "An entry that no frame can have is refused",
        arguments: [
            (FrameHeader(kind: .zstd, blockCount: 0, payloadByteCount: 1), "frame block count"),
            (FrameHeader(kind: .zstd, blockCount: 129, payloadByteCount: 1), "frame block count"),
            (
                FrameHeader(kind: .patch, depth: 1, blockCount: 2, payloadByteCount: 1),
                "frame block count"
            ),
            (
                FrameHeader(kind: .patchOfTwo, depth: 1, blockCount: 2, payloadByteCount: 1),
                "frame block count"
            ),
            (FrameHeader(kind: .patchOfTwo, blockCount: 1, payloadByteCount: 1), "patch depth"),
            (
                FrameHeader(kind: .patchOfTwo, depth: 2, blockCount: 1, payloadByteCount: 1),
                "patch depth"
            ),
            (FrameHeader(kind: .zstd, blockCount: 1, payloadByteCount: 0), "payload length"),
            (FrameHeader(kind: .zstd, blockCount: 1, payloadByteCount: 4097), "payload length"),
            (
                FrameHeader(kind: .zstd, depth: 1, blockCount: 1, payloadByteCount: 1),
                "patch depth"
            ),
            (FrameHeader(kind: .patch, blockCount: 1, payloadByteCount: 1), "patch depth"),
            (
                FrameHeader(kind: .patch, depth: 9, blockCount: 1, payloadByteCount: 1),
                "patch depth"
            ),
        ]
    )
    func entries(header: FrameHeader, field: String) {
        let digests = [Digest](repeating: .zero, count: max(1, header.blockCount))
        #expect(throws: FormatError.badValue(field)) {
            try Self.decode([FrameEntry(byteOffset: 96, header: header)], digests, at: 200)
        }
    }

    private static func decode(
        _ frames: [FrameEntry],
        _ digests: [Digest],
        at offset: Int? = nil
    ) throws -> PackTable {
        var table = PackTable()
        for frame in frames { table.append(frame, digests: []) }
        table.digests = digests
        let encoded = table.encoded()
        let footer = PackFooter(
            table: table, encodedTable: encoded,
            at: try offset ?? Sample.pack.footer.tableByteOffset)
        return try decode(encoded, footer)
    }

    private static func decode(_ bytes: [UInt8], _ footer: PackFooter) throws -> PackTable {
        try PackTable(
            decoding: bytes.rawSpan, footer: footer,
            framesStart: Int(Sample.pack.table.frames[0].byteOffset), blockSize: Sample.small)
    }
}
