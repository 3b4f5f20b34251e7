import BlockModel
import RepositoryFormat
import RepositoryModel
import TestKit
import Testing

/// Whatever is encoded is decoded to the same value.
struct RoundTripTests {
    @Test("A configuration comes back for every block size", arguments: 12...22)
    func configuration(shift: Int) throws {
        let configuration = RepositoryConfiguration(
            identity: RepositoryIdentity(
                id: Sample.objectID, blockSize: Sample.size(1 << shift)),
            created: Timestamp(seconds: -5, nanoseconds: 7))
        let decoded = try RepositoryConfiguration(decoding: configuration.encoded())
        #expect(decoded == configuration)
        #expect(decoded.created == Timestamp(seconds: -5))
        #expect(decoded.features.unknown.optional == 0)
    }

    @Test("Random delta maps come back", arguments: 1...40)
    func maps(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let map = DeltaMap.random(from: &generator, runs: 200, gap: 50)
        let encoded = map.encoded()
        #expect(encoded.count == map.byteCount)
        #expect(try DeltaMap(decoding: encoded[...], within: 0..<map.endBlock) == map)
    }

    @Test("A run longer than a word can say is split, and nothing of it is lost")
    func longRuns() throws {
        let limit: UInt64 = (1 << 22) - 1
        var map = DeltaMap()
        map.append(.free, firstBlock: 10, blockCount: 5)
        map.append(.free, firstBlock: 15, blockCount: 2 * limit)
        map.append(.zero, firstBlock: 2 * limit + 15, blockCount: 1)
        #expect(
            map.runs == [
                BlockRun(kind: .free, firstBlock: 10, blockCount: limit),
                BlockRun(kind: .free, firstBlock: 10 + limit, blockCount: limit),
                BlockRun(kind: .free, firstBlock: 10 + 2 * limit, blockCount: 5),
                BlockRun(kind: .zero, firstBlock: 15 + 2 * limit, blockCount: 1),
            ])
        #expect(try DeltaMap(decoding: map.encoded()[...], within: 10..<map.endBlock) == map)
    }

    @Test("The last blocks that a map can name come back")
    func lastBlocks() throws {
        var map = DeltaMap()
        map.append(dataBlock: Format.blockIndexLimit - 2, digest: Sample.digest(1))
        map.append(.zero, firstBlock: Format.blockIndexLimit - 1, blockCount: 1)
        #expect(
            try DeltaMap(decoding: map.encoded()[...], within: 0..<Format.blockIndexLimit) == map)
    }

    @Test("Blocks that follow one another share a run, and others do not")
    func joining() {
        #expect(
            Sample.map.runs == [
                BlockRun(kind: .data, firstBlock: 0, blockCount: 2),
                BlockRun(kind: .zero, firstBlock: 2, blockCount: 2),
                BlockRun(kind: .data, firstBlock: 5, blockCount: 1),
                BlockRun(kind: .free, firstBlock: 6, blockCount: 4),
            ])
        #expect(Sample.map.digests == [0x80, 0x90, 0xA0].map(Sample.digest))
        #expect(Sample.map.endBlock == 10)
    }

    @Test("A head read from the beginning of a delta is the whole one's")
    func headFromPrefix() throws {
        let bytes = try DeltaObject.encode(
            name: Sample.deltaName, identity: Sample.identity, head: Sample.head,
            inlineMap: Sample.map)
        // All but the map and its checksum: the length of the map is still there.
        let prefix = Array(bytes.dropLast(Sample.map.byteCount + 8))
        func head(_ prefix: [UInt8], _ byteCount: Int) throws(FormatError) -> DeltaHead {
            try DeltaObject.decodeHead(
                fromPrefix: prefix, byteCount: UInt64(byteCount), name: Sample.deltaName,
                identity: Sample.identity)
        }
        #expect(try head(prefix, bytes.count) == Sample.head)
        #expect(try head(bytes, bytes.count) == Sample.head)
        for count in 0..<prefix.count {
            #expect(throws: FormatError.self) { try head(Array(prefix[..<count]), bytes.count) }
        }
        for size in [0, bytes.count - 1, bytes.count + 1, .max] {
            #expect(
                throws: FormatError.truncated(
                    expectedByteCount: bytes.count, actualByteCount: size)
            ) {
                try head(prefix, size)
            }
        }
    }

    @Test("A head before a map of an impossible length is refused")
    func headBeforeHugeMap() throws {
        let bytes = try DeltaObject.encode(
            name: Sample.deltaName, identity: Sample.identity, head: Sample.head,
            inlineMap: Sample.map)
        let prefix =
            Array(bytes.dropLast(Sample.map.byteCount + 16))
            + [UInt8](repeating: 0xFF, count: 8)
        #expect(throws: FormatError.self) {
            try DeltaObject.decodeHead(
                fromPrefix: prefix, byteCount: .max, name: Sample.deltaName,
                identity: Sample.identity)
        }
    }

    @Test(
        "Facts come back for every method, consistency and kind of source",
        arguments: [DetectionMethod.base, .fullComparison, .changedExtents, .unknown],
        [SourceIdentity.Kind.file, .blockDevice, .stream, .unknown])
    func facts(method: DetectionMethod, kind: SourceIdentity.Kind) throws {
        for consistency in [Consistency.atRest, .liveInconsistent, .unknown] {
            var facts = SnapshotFacts(
                time: Timestamp(seconds: -1, nanoseconds: 999_999_999), byteCount: .max,
                source: SourceIdentity(
                    kind: kind, machine: "", path: String(repeating: "p", count: 4096), serial: "é",
                    sectorByteCount: .max),
                method: method, consistency: consistency, parent: .nothing, parentGeneration: 0,
                tags: ["", "a", "a"])
            facts.proof = .unknown
            let head = DeltaHead(
                from: .nothing, fromGeneration: 0, fromByteCount: 0, toGeneration: .max,
                facts: facts)
            #expect(try DeltaHead(decoding: head.encoded()[...]) == head)
        }
    }

    @Test(
        "Notes come back for every kind",
        arguments: [
            NoteKind.tags, .protection, .forgotten, .bootProof, .distrust, .damage, .unknown,
        ])
    func notes(kind: NoteKind) throws {
        let note = Note(kind: kind, time: Timestamp(seconds: -9), texts: ["", "two", "\u{1F9CA}"])
        let bytes = try note.encoded(name: Sample.noteName, identity: Sample.identity)
        #expect(try Note(decoding: bytes, name: Sample.noteName, identity: Sample.identity) == note)
    }

    @Test("A note of a later version is read without what lies behind its texts; zero is no kind")
    func laterNotes() throws {
        let note = Note(kind: .unknown, time: Timestamp(seconds: 9), texts: ["of a later version"])
        let bytes = try note.encoded(name: Sample.noteName, identity: Sample.identity)
        let (header, sections) = try SectionedObject.decode(bytes, sectionCount: 1)
        let longer = try SectionedObject.encode(header, sections: [Array(sections[0]), [1, 2, 3]])
        #expect(
            try Note(decoding: longer, name: Sample.noteName, identity: Sample.identity) == note)
        let zero = try SectionedObject.encode(header, sections: [[0] + sections[0].dropFirst()])
        #expect(throws: FormatError.self) {
            try Note(decoding: zero, name: Sample.noteName, identity: Sample.identity)
        }
    }

    @Test("A value of a later version has a name that tells its number")
    func names() {
        #expect(DetectionMethod.unknown.name == "unknown-77" && DetectionMethod.era.name == "era")
    }

    @Test("A boot proof comes back with its picture, and without it from its beginning")
    func bootProofs() throws {
        let proof = BootProof(
            result: .refused, means: .failure, evidence: "Kernel panic - not syncing",
            milliseconds: 24_470, firmware: .uefi, machine: "QEMU 7.2.22, kvm", program: "0.1.0")
        let picture = BootProof.pictureMagic + (0..<40_000).map { UInt8(truncatingIfNeeded: $0) }
        let note = proof.note(time: Timestamp(seconds: 1_795_000_000), picture: picture)
        let bytes = try note.encoded(name: Sample.noteName, identity: Sample.identity)
        let found = try Note(decoding: bytes, name: Sample.noteName, identity: Sample.identity)
        #expect(found == note)
        #expect(try BootProof(found) == proof)
        let beginning = try Note(
            decodingBeginning: Array(bytes.prefix(1000)), name: Sample.noteName,
            identity: Sample.identity)
        #expect(beginning.attachment.isEmpty)
        #expect(try BootProof(beginning) == proof)
        var cut = bytes
        cut.removeLast()
        #expect(throws: FormatError.self) {
            try Note(decoding: cut, name: Sample.noteName, identity: Sample.identity)
        }
        for (position, text) in [(0, "perhaps"), (1, "luck"), (3, "-1"), (4, "openfirmware")] {
            var texts = note.texts
            texts[position] = text
            let other = Note(kind: .bootProof, time: note.time, texts: texts)
            #expect(throws: FormatError.self) { try BootProof(other) }
        }
        #expect(throws: FormatError.self) {
            try BootProof(Note(kind: .tags, time: note.time, texts: note.texts))
        }
    }

    @Test("A frame of each kind comes back with a checksum over header and payload")
    func frames() throws {
        for (header, payload, _) in Sample.frames {
            var frame = try Sample.frame(header, payload)
            #expect(frame.count == header.byteCount + header.payloadByteCount)
            #expect(try FrameHeader(decoding: frame.rawSpan, blockSize: Sample.small) == header)
            let before = frame
            var span = frame.mutableSpan
            var raw = span.mutableBytes
            try FrameHeader.verifyChecksum(of: &raw, header: header)
            #expect(frame == before)
        }
    }

    @Test("Integers, digests and texts come back in the order in which they were written")
    func bytes() throws {
        var writer = ByteWriter()
        writer.append(UInt8(0xFE))
        writer.append(UInt16(0x0102))
        writer.append(UInt32(0x0304_0506))
        writer.append(UInt64(0x0708_090A_0B0C_0D0E))
        writer.append(Int64(-2))
        writer.append(Sample.digest(0x30))
        writer.append(Sample.objectID)
        writer.append("añ")
        writer.appendZeros(2)
        #expect(
            writer.bytes.hexadecimal == "fe0201060504030e0d0c0b0a090807" + "feffffffffffffff"
                + Sample.digest(0x30).hexadecimal + Sample.objectID.hexadecimal + "030061c3b1"
                + "0000")
        var reader = ByteReader(writer.bytes)
        #expect(try reader.integer(UInt8.self) == 0xFE)
        #expect(try reader.integer(UInt16.self) == 0x0102)
        #expect(try reader.integer(UInt32.self) == 0x0304_0506)
        #expect(try reader.integer(UInt64.self) == 0x0708_090A_0B0C_0D0E)
        #expect(try reader.signedInteger() == -2)
        #expect(try reader.digest() == Sample.digest(0x30))
        #expect(try reader.objectID() == Sample.objectID)
        #expect(try reader.text() == "añ")
        try reader.zeros(2)
        try reader.end()
    }
}

extension DeltaMap {
    /// Runs of every kind, in order, now and then one behind the other.
    static func random(
        from generator: inout SeededGenerator,
        runs: Int,
        gap: UInt64
    ) -> DeltaMap {
        var map = DeltaMap()
        for _ in 0..<runs {
            let first = map.endBlock + UInt64.random(in: 0...gap, using: &generator)
            switch UInt8.random(in: 0...2, using: &generator) {
            case 0:
                for block in first...first + UInt64.random(in: 0...3, using: &generator) {
                    let digest = Digest(
                        words: generator.next(), generator.next(), generator.next(),
                        generator.next())
                    map.append(dataBlock: block, digest: digest)
                }
            case 1:
                map.append(
                    .zero, firstBlock: first,
                    blockCount: UInt64.random(in: 1...5000, using: &generator))
            default: map.append(.free, firstBlock: first, blockCount: 1)
            }
        }
        return map
    }
}

extension StoredValue {
    /// A value that a later version may write.
    fileprivate static var unknown: Self { Self(rawValue: 77) }
}
