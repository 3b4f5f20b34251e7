import BlockModel
import RepositoryFormat
import RepositoryModel
import TestKit
import Testing

struct ObjectHeaderTests {
    @Test(
        "Each field of an object's header is refused for its own reason",
        arguments: [
            (0, [0], .badMagic), (7, [0], .badMagic),
            (8, [2, 0], .unsupportedVersion(2)), (8, [0, 0], .unsupportedVersion(0)),
            (10, [0], .wrongKind), (10, [99], .wrongKind),
            (11, [0], .badValue("digest kind")), (11, [2], .badValue("digest kind")),
            (12, [0, 0, 0, 0], .badValue("block size")),
            (12, [255, 255, 255, 255], .badValue("block size")),
            (12, [0, 24, 0, 0], .badValue("block size")),
            (32, [1, 0, 0, 0], .badValue("key epoch")),
            (36, [0, 1], .badValue("name length")),
            (36, [255, 255], .badValue("name length")),
            (36, [255, 0], .truncated(expectedByteCount: 255, actualByteCount: 94)),
            (38, [1], .reservedNotZero), (39, [128], .reservedNotZero),
            (16, [1], .badChecksum), (40, [65], .badChecksum), (46, [0], .badChecksum),
        ] as [(Int, [UInt8], FormatError)]
    )
    func fields(offset: Int, value: [UInt8], error: FormatError) throws {
        var bytes = try Sample.configuration.encoded()
        bytes.replaceSubrange(offset..<offset + value.count, with: value)
        #expect(throws: error) { try RepositoryConfiguration(decoding: bytes) }
    }

    @Test("An object of another kind, repository or name is refused for that")
    func verification() throws {
        let header = ObjectHeader(kind: .note, name: "notes/a", identity: Sample.identity)
        let other = RepositoryIdentity(id: Sample.objectID, blockSize: Sample.small)
        let larger = RepositoryIdentity(id: Sample.identity.id, blockSize: .standard)
        try header.verify(kind: .note, name: "notes/a", identity: Sample.identity)
        #expect(throws: FormatError.wrongKind) {
            try header.verify(kind: .hold, name: "notes/a", identity: Sample.identity)
        }
        #expect(throws: FormatError.wrongRepository) {
            try header.verify(kind: .note, name: "notes/a", identity: other)
        }
        #expect(throws: FormatError.wrongRepository) {
            try header.verify(kind: .note, name: "notes/a", identity: larger)
        }
        #expect(throws: FormatError.wrongName("notes/a")) {
            try header.verify(kind: .note, name: "notes/b", identity: Sample.identity)
        }
    }

    @Test("An object found under another name is refused, whatever its kind")
    func otherNames() throws {
        let bytes = try Sample.note.encoded(name: Sample.noteName, identity: Sample.identity)
        #expect(throws: FormatError.wrongName(Sample.noteName)) {
            try Note(decoding: bytes, name: Sample.noteName + "0", identity: Sample.identity)
        }
        let delta = try DeltaObject.encode(
            name: Sample.deltaName, identity: Sample.identity, head: Sample.head,
            inlineMap: Sample.map)
        let moved = DeltaName(
            volume: Sample.name("other"), from: 6, to: 7, id: Sample.objectID)
        #expect(throws: FormatError.wrongName(Sample.deltaName.objectName)) {
            try DeltaObject.decode(delta, name: moved, identity: Sample.identity)
        }
        #expect(throws: FormatError.wrongName(Sample.deltaName.objectName)) {
            try DeltaObject.decodeHead(
                fromPrefix: delta, byteCount: UInt64(delta.count), name: moved,
                identity: Sample.identity)
        }
    }

    @Test("A name of 255 bytes is stored, and a longer one is refused")
    func longNames() throws {
        let longest = String(repeating: "n", count: 255)
        let header = ObjectHeader(kind: .note, name: longest, identity: Sample.identity)
        #expect(try header.encoded().count == ObjectHeader.byteLimit)
        #expect(throws: FormatError.badValue("name length")) {
            try ObjectHeader(kind: .note, name: longest + "n", identity: Sample.identity).encoded()
        }
    }

    @Test(
        "A section that claims more than there is, or can be, is refused",
        arguments: [
            (UInt64(71), .truncated(expectedByteCount: 8, actualByteCount: 1)),
            (72, .truncated(expectedByteCount: 8, actualByteCount: 0)),
            (73, .truncated(expectedByteCount: 73, actualByteCount: 72)),
            (32 << 20, .truncated(expectedByteCount: 32 << 20, actualByteCount: 72)),
            (32 << 20 + 1, .badValue("section length")),
            (.max, .badValue("section length")), (1 << 63, .badValue("section length")),
        ] as [(UInt64, FormatError)]
    )
    func sectionLengths(length: UInt64, error: FormatError) throws {
        var bytes = try Sample.configuration.encoded()
        let start = bytes.count - 64 - 16
        var writer = ByteWriter()
        writer.append(length)
        bytes.replaceSubrange(start..<start + 8, with: writer.bytes)
        #expect(throws: error) { try RepositoryConfiguration(decoding: bytes) }
    }

    @Test("An object with a section too many or too few is refused")
    func sectionCounts() throws {
        let header = ObjectHeader(kind: .note, name: "notes/a", identity: Sample.identity)
        let two = try SectionedObject.encode(header, sections: [[1, 2], [3]])
        #expect(try SectionedObject.decode(two, sectionCount: 2).sections == [[1, 2], [3]])
        #expect(throws: FormatError.trailingBytes(17)) {
            try SectionedObject.decode(two, sectionCount: 1)
        }
        #expect(throws: FormatError.truncated(expectedByteCount: 8, actualByteCount: 0)) {
            try SectionedObject.decode(two, sectionCount: 3)
        }
    }
}

struct ConfigurationTests {
    /// The configuration with its section changed and sealed again.
    private func configuration(_ offset: Int, _ value: UInt8) throws -> [UInt8] {
        let (header, sections) = try SectionedObject.decode(
            Sample.configuration.encoded(), sectionCount: 1)
        var section = Array(sections[0])
        section[offset] = value
        return try SectionedObject.encode(header, sections: [section])
    }

    @Test("A required feature that nobody knows keeps the repository shut", arguments: 0..<64)
    func requiredFeatures(bit: Int) throws {
        let bytes = try configuration(bit / 8, 1 << UInt8(bit % 8))
        #expect(throws: FormatError.unknownFeatures(1 << UInt64(bit))) {
            try RepositoryConfiguration(decoding: bytes)
        }
    }

    @Test("An optional feature that nobody knows allows reading alone", arguments: 0..<64)
    func optionalFeatures(bit: Int) throws {
        let decoded = try RepositoryConfiguration(
            decoding: configuration(8 + bit / 8, 1 << UInt8(bit % 8)))
        #expect(decoded.features.unknown.optional != 0)
        #expect(decoded.features.optional == 1 << UInt64(bit))
        #expect(decoded.identity == Sample.identity)
    }

    @Test("Sealing and reserved bytes must be zero")
    func reserved() throws {
        let sealed = try configuration(16, 1)
        #expect(throws: FormatError.badValue("sealing")) {
            try RepositoryConfiguration(decoding: sealed)
        }
        for offset in Array(17..<24) + Array(32..<64) {
            let bytes = try configuration(offset, 1)
            #expect(throws: FormatError.reservedNotZero) {
                try RepositoryConfiguration(decoding: bytes)
            }
        }
    }
}

struct TextLimitTests {
    private static let longText = String(repeating: "x", count: Format.textByteLimit + 1)

    @Test("A text longer than the format allows is refused by the reader")
    func reading() {
        var writer = ByteWriter()
        writer.append(UInt16(Format.textByteLimit + 1))
        writer.append(Array(Self.longText.utf8))
        var reader = ByteReader(writer.bytes)
        #expect(throws: FormatError.badValue("text length")) { try reader.text() }
    }

    @Test(
        "Bytes that are no UTF-8 are refused as a text",
        arguments: [
            [0x80], [0xC3], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xFF], [0x61, 0xF0, 0x9F],
        ]
            as [[UInt8]])
    func notUTF8(bytes: [UInt8]) {
        var writer = ByteWriter()
        writer.append(UInt16(bytes.count))
        writer.append(bytes)
        var reader = ByteReader(writer.bytes)
        #expect(throws: FormatError.badValue("text")) { try reader.text() }
    }

    @Test("A tag that is too long is refused when a delta is written")
    func tags() {
        var head = Sample.head
        head.facts.tags = [Self.longText]
        #expect(throws: FormatError.notReproducible) { try head.encoded() }
    }

    @Test("A note with a text that is too long is refused when it is written")
    func notes() {
        #expect(throws: FormatError.notReproducible) {
            _ = try Note(kind: .tags, time: Timestamp(seconds: 0), texts: [Self.longText])
                .encoded(name: Sample.noteName, identity: Sample.identity)
        }
    }

    @Test("A hold with a purpose that is too long is refused when it is written")
    func holds() {
        var hold = Sample.hold
        hold.purpose = Self.longText
        #expect(throws: FormatError.notReproducible) {
            _ = try hold.encoded(name: Sample.holdName, identity: Sample.identity)
        }
    }
}
