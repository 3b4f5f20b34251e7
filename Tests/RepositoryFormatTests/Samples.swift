import BlockModel
import RepositoryFormat
import RepositoryModel
import TestKit

/// Fixed values, the same in every test and in the golden files.
enum Sample {
    static let identity = RepositoryIdentity(
        id: ObjectID(high: 0x0011_2233_4455_6677, low: 0x8899_AABB_CCDD_EEFF),
        blockSize: small)
    static let small = size(4096)
    static let volume = name("web-1.img")
    static let objectID = ObjectID(high: 0xA0A1_A2A3_A4A5_A6A7, low: 0xA8A9_AAAB_ACAD_AEAF)

    static func size(_ byteCount: Int) -> BlockSize {
        guard let size = BlockSize(byteCount: byteCount) else { preconditionFailure() }
        return size
    }

    static func name(_ text: String) -> VolumeName {
        guard let name = VolumeName(text) else { preconditionFailure() }
        return name
    }

    /// The digest whose 32 bytes count upwards from `byte`.
    static func digest(_ byte: UInt8) -> Digest {
        let words = (0..<4).map { word in
            (0..<8).reduce(UInt64(0)) { $0 << 8 | UInt64(byte &+ UInt8(word * 8 + $1)) }
        }
        return Digest(words: words[0], words[1], words[2], words[3])
    }

    static let configuration = RepositoryConfiguration(
        identity: identity, created: Timestamp(seconds: 1_795_356_000))

    static var facts: SnapshotFacts {
        var facts = SnapshotFacts(
            time: Timestamp(seconds: 1_795_359_600, nanoseconds: 123_456_789),
            byteCount: 40_961,
            source: SourceIdentity(
                kind: .blockDevice, machine: "0123456789abcdef", path: "/dev/vda",
                serial: "WD-42", sectorByteCount: 512),
            method: .fullComparison, consistency: .liveInconsistent,
            parent: SnapshotID(digest(0x10)), parentGeneration: 6, tags: ["nightly", "größe"])
        facts.imageDigest = digest(0x40)
        facts.setID = ObjectID(high: 1, low: 2)
        facts.origin = SnapshotID(digest(0x60))
        facts.durationNanoseconds = 1_000_000_001
        facts.bytesRead = 40_961
        facts.blocksChanged = 4
        facts.bytesChanged = 16_384
        facts.bytesStored = 9_000
        return facts
    }

    static var head: DeltaHead {
        var head = DeltaHead(
            from: SnapshotID(digest(0x10)), fromGeneration: 6, fromByteCount: 36_864,
            toGeneration: 7, facts: facts)
        head.dataBlockCount = 3
        head.zeroBlockCount = 2
        head.freeBlockCount = 4
        return head
    }

    static var map: DeltaMap {
        var map = DeltaMap()
        map.append(dataBlock: 0, digest: digest(0x80))
        map.append(dataBlock: 1, digest: digest(0x90))
        map.append(.zero, firstBlock: 2, blockCount: 2)
        map.append(dataBlock: 5, digest: digest(0xA0))
        map.append(.free, firstBlock: 6, blockCount: 4)
        return map
    }

    static let deltaName = DeltaName(volume: volume, from: 6, to: 7, id: objectID)

    /// A head whose map is in two parts, and the maps of those.
    static var headWithParts: (head: DeltaHead, maps: [DeltaMap]) {
        var maps = [DeltaMap(), DeltaMap()]
        maps[0].append(dataBlock: 0, digest: digest(0x80))
        maps[0].append(.zero, firstBlock: 1, blockCount: 3)
        maps[1].append(.free, firstBlock: 4, blockCount: 1)
        maps[1].append(dataBlock: 9, digest: digest(0x81))
        var head = head
        head.parts = maps.enumerated().map { number, map in
            let encoded = map.encoded()
            return PartReference(
                id: ObjectID(high: 7, low: UInt64(number)), firstBlock: number == 0 ? 0 : 4,
                endBlock: map.endBlock, mapByteCount: UInt64(encoded.count),
                mapChecksum: DeltaMap.checksum(encoded))
        }
        return (head, maps)
    }

    static let marker = NewestMarker(
        volume: volume, generation: 7, snapshot: SnapshotID(digest(0x20)), delta: objectID)

    static let note = Note(
        kind: .tags, time: Timestamp(seconds: 1_795_363_200), texts: ["before upgrade", "ß"])
    static let noteName = ObjectNames.note(
        on: SnapshotID(digest(0x20)), of: volume, number: 3, id: objectID)

    static let hold = HoldRecord(
        purpose: "backup", host: "db7", bootID: "5f0c2c36-7b5d-4c54-9d2e-0d7c1c0a9f11",
        processID: 4242, processStart: 123_456_789, created: Timestamp(seconds: 1_795_356_000),
        expires: Timestamp(seconds: 1_795_357_800))
    static let holdName = ObjectNames.hold(
        scope: .volume(volume), kind: .exclusive, id: objectID)

    static let pruneList = PruneList(
        time: Timestamp(seconds: 1_795_356_000),
        packs: [objectID, ObjectID(high: 1, low: 0xFEDC_BA98_7654_3210)])
    static let pruneListName = ObjectNames.pruneList(objectID)

    static let features = FeatureSet(required: 0, optional: 1 << 63 | 1)
    static let featuresName = ObjectNames.featureSet(features, id: objectID)

    /// A whole pack: a stored frame of one block, a compressed one of three, a patch.
    static var pack: (bytes: [UInt8], table: PackTable, footer: PackFooter) {
        get throws {
            var bytes = try ObjectHeader(
                kind: .pack, name: ObjectNames.pack(objectID), identity: identity
            ).encoded()
            var table = PackTable()
            for (header, payload, digests) in frames {
                let frame = try frame(header, payload)
                let listed = FrameHeader(
                    kind: header.kind, depth: header.depth, blockCount: header.blockCount,
                    payloadByteCount: header.payloadByteCount,
                    chainByteCount: header.chainByteCount)
                table.append(
                    FrameEntry(byteOffset: UInt32(bytes.count), header: listed),
                    digests: digests[...])
                bytes += frame
            }
            let encoded = table.encoded()
            let footer = PackFooter(table: table, encodedTable: encoded, at: bytes.count)
            return (bytes + encoded + footer.encoded(), table, footer)
        }
    }

    static var frames: [(header: FrameHeader, payload: [UInt8], digests: [Digest])] {
        [
            (
                FrameHeader(kind: .stored, blockCount: 1, payloadByteCount: 4096),
                (0..<4096).map { UInt8($0 % 251) }, [digest(0xB0)]
            ),
            (
                FrameHeader(kind: .zstd, blockCount: 3, payloadByteCount: 10),
                Array("compressed".utf8), [digest(0xB1), digest(0xB2), digest(0xB3)]
            ),
            (
                FrameHeader(
                    kind: .patch, depth: 3, blockCount: 1, payloadByteCount: 5,
                    chainByteCount: 77, prefixes: [digest(0xB0)]),
                Array("patch".utf8), [digest(0xB4)]
            ),
        ]
    }

    /// A sealed frame: its header and its payload.
    static func frame(_ header: FrameHeader, _ payload: [UInt8]) throws -> [UInt8] {
        var frame = [UInt8](repeating: 0, count: header.byteCount) + payload
        var span = frame.mutableSpan
        var raw = span.mutableBytes
        try header.encode(into: &raw)
        return frame
    }
}
