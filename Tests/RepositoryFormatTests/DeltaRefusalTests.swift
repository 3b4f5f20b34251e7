import BlockModel
import RepositoryFormat
import RepositoryModel
import TestKit
import Testing

struct DeltaMapRefusalTests {
    private static let limits: Range<UInt64> = 10..<1000

    /// A map with the given run count, runs (kind, first block, count) and bytes of digests.
    private static func map(
        count: UInt64? = nil,
        _ runs: [(kind: UInt64, first: UInt64, count: UInt64)],
        digestByteCount: Int = 0
    ) -> [UInt8] {
        var writer = ByteWriter()
        writer.append(count ?? UInt64(runs.count))
        for run in runs { writer.append(run.first | run.count << 40 | run.kind << 62) }
        writer.appendZeros(digestByteCount)
        return writer.bytes
    }

    @Test(
        "A map that breaks a rule is refused for that rule",
        arguments: [
            ("no bytes", [], .truncated(expectedByteCount: 8, actualByteCount: 0)),
            ("a count alone", map(count: 1, []), .badValue("run count")),
            ("2^61 runs", map(count: 1 << 61, [(2, 10, 1)]), .badValue("run count")),
            ("2^64 - 1 runs", map(count: .max, [(2, 10, 1)]), .badValue("run count")),
            ("more runs than there are", map(count: 2, [(2, 10, 1)]), .badValue("run count")),
            ("fewer runs", map(count: 0, [(2, 10, 1)]), .badValue("digest count")),
            ("kind 0", map([(0, 10, 1)]), .badValue("run kind")),
            ("an empty run", map([(2, 10, 0)]), .badValue("run")),
            ("before the first block", map([(2, 9, 1)]), .badValue("run")),
            ("beyond the last block", map([(2, 999, 2)]), .badValue("run")),
            ("the last nameable block", map([(3, (1 << 40) - 1, 1)]), .badValue("run")),
            ("the longest run", map([(3, 10, (1 << 22) - 1)]), .badValue("run")),
            ("two that overlap", map([(2, 10, 5), (3, 14, 1)]), .badValue("run")),
            ("the same twice", map([(2, 10, 5), (2, 10, 5)]), .badValue("run")),
            ("out of order", map([(2, 50, 5), (2, 10, 5)]), .badValue("run")),
            (
                "digests of no run", map([(2, 10, 1)], digestByteCount: 32),
                .badValue("digest count")
            ),
            (
                "a digest too few", map([(1, 10, 2)], digestByteCount: 32),
                .badValue("digest count")
            ),
            (
                "a digest too many", map([(1, 10, 2)], digestByteCount: 96),
                .badValue("digest count")
            ),
            (
                "half a digest", map([(1, 10, 2)], digestByteCount: 80),
                .badValue("digest count")
            ),
        ] as [(String, [UInt8], FormatError)]
    )
    func refusals(what: String, bytes: [UInt8], error: FormatError) {
        #expect(throws: error) { try DeltaMap(decoding: bytes[...], within: Self.limits) }
    }

    @Test("A map may use the first and the last block that it is allowed")
    func limits() throws {
        let bytes = Self.map([(2, 10, 1), (3, 11, 988), (1, 999, 1)], digestByteCount: 32)
        let map = try DeltaMap(decoding: bytes[...], within: Self.limits)
        #expect(
            map.runs == [
                BlockRun(kind: .zero, firstBlock: 10, blockCount: 1),
                BlockRun(kind: .free, firstBlock: 11, blockCount: 988),
                BlockRun(kind: .data, firstBlock: 999, blockCount: 1),
            ])
        #expect(map.digests == [.zero])
    }
}

struct DeltaRefusalTests {
    private func expect(_ error: FormatError, _ change: (inout DeltaHead) -> Void) {
        var head = Sample.headWithParts.head
        change(&head)
        #expect(throws: error) { try head.encoded() }
    }

    @Test("A head whose ends cannot be is refused")
    func ends() {
        expect(.badValue("generation")) { $0.toGeneration = 6 }
        expect(.badValue("generation")) { $0.fromGeneration = .max }
        expect(.badValue("start")) { $0.from = .nothing }
        expect(.badValue("start")) {
            $0.fromGeneration = 0
            $0.fromByteCount = 0
        }
        expect(.badValue("start size")) {
            $0.from = .nothing
            $0.fromGeneration = 0
        }
    }

    @Test("A head whose id is not that of its facts is refused")
    func identity() {
        expect(.badValue("snapshot id")) { $0.to = $0.from }
        expect(.badValue("snapshot id")) { $0.facts.byteCount += 1 }
        expect(.badValue("snapshot id")) { $0.facts.imageDigest = .zero }
    }

    @Test("Parts that overlap, are empty, turned round or too large are refused")
    func parts() {
        func part(_ first: UInt64, _ end: UInt64, _ byteCount: UInt64 = 8) -> PartReference {
            PartReference(
                id: .zero, firstBlock: first, endBlock: end, mapByteCount: byteCount,
                mapChecksum: 0)
        }
        expect(.badValue("part")) { $0.parts = [part(0, 5), part(4, 8)] }
        expect(.badValue("part")) { $0.parts = [part(5, 8), part(0, 5)] }
        expect(.badValue("part")) { $0.parts = [part(5, 5)] }
        expect(.badValue("part")) { $0.parts = [part(6, 5)] }
        expect(.badValue("part")) { $0.parts = [part(0, 5, (16 << 20) + 1)] }
        expect(.badValue("part")) { $0.parts = [part(0, 5, .max)] }
    }

    @Test(
        "A number of parts, or of tags, that the bytes do not bear out is refused",
        arguments: [0, 1, 3, 65_536, .max] as [UInt32])
    func partCounts(count: UInt32) throws {
        var bytes = try Sample.headWithParts.head.encoded()
        let start = bytes.count - 2 * PartReference.byteCount - 4
        var writer = ByteWriter()
        writer.append(count)
        bytes.replaceSubrange(start..<start + 4, with: writer.bytes)
        #expect(throws: FormatError.badValue("part count")) {
            try DeltaHead(decoding: bytes[...])
        }
    }

    @Test("A delta whose name gives other generations than its head is refused")
    func names() {
        let name = DeltaName(volume: Sample.volume, from: 5, to: 7, id: Sample.objectID)
        #expect(throws: FormatError.badValue("generations")) {
            try DeltaObject.encode(
                name: name, identity: Sample.identity, head: Sample.head, inlineMap: Sample.map)
        }
    }

    @Test("A map beside parts, or beyond the volume's end, is refused")
    func inlineMaps() {
        #expect(throws: FormatError.badValue("inline map beside parts")) {
            try DeltaObject.encode(
                name: Sample.deltaName, identity: Sample.identity,
                head: Sample.headWithParts.head, inlineMap: Sample.map)
        }
        // 40,961 bytes are eleven blocks of 4 KiB.
        var map = Sample.map
        map.append(.zero, firstBlock: 10, blockCount: 2)
        #expect(throws: FormatError.badValue("run")) {
            try DeltaObject.encode(
                name: Sample.deltaName, identity: Sample.identity, head: Sample.head,
                inlineMap: map)
        }
    }

    @Test("A part in the place of another is refused, and one with another map too")
    func swappedParts() throws {
        let (head, maps) = Sample.headWithParts
        let first = try PartObject.encode(
            id: head.parts[0].id, identity: Sample.identity, encodedMap: maps[0].encoded())
        #expect(throws: FormatError.wrongName(ObjectNames.part(head.parts[0].id))) {
            try PartObject.decode(first, reference: head.parts[1], identity: Sample.identity)
        }
        var other = DeltaMap()
        other.append(dataBlock: 0, digest: Sample.digest(0x99))
        other.append(.zero, firstBlock: 1, blockCount: 3)
        let forged = try PartObject.encode(
            id: head.parts[0].id, identity: Sample.identity, encodedMap: other.encoded())
        #expect(forged.count == first.count)
        #expect(throws: FormatError.badChecksum) {
            try PartObject.decode(forged, reference: head.parts[0], identity: Sample.identity)
        }
    }
}

struct SnapshotIDTests {
    @Test("A snapshot's id depends on everything that says what was captured")
    func covered() {
        let changes: [(inout SnapshotFacts) -> Void] = [
            { $0.time = Timestamp(seconds: $0.time.seconds + 1, nanoseconds: 123_456_789) },
            { $0.time = Timestamp(seconds: $0.time.seconds, nanoseconds: 0) },
            { $0.byteCount += 1 }, { $0.source.kind = .file }, { $0.source.machine += "0" },
            { $0.source.path = "/dev/vdb" }, { $0.source.serial = "" },
            { $0.source.sectorByteCount = 4096 }, { $0.method = .base },
            { $0.consistency = .atRest }, { $0.imageDigest = .zero }, { $0.parent = .nothing },
        ]
        var ids: Set = [Sample.facts.snapshotID]
        for change in changes {
            var facts = Sample.facts
            change(&facts)
            ids.insert(facts.snapshotID)
        }
        #expect(ids.count == changes.count + 1)
    }

    @Test("A snapshot's id does not depend on counts, duration or tags")
    func notCovered() {
        var facts = Sample.facts
        facts.tags = []
        facts.durationNanoseconds = 0
        facts.bytesRead = 0
        facts.blocksChanged = 0
        facts.bytesChanged = 0
        facts.bytesStored = 0
        #expect(facts.snapshotID == Sample.facts.snapshotID)
    }

    @Test("Bytes cannot move from one text of the source to the next")
    func boundaries() {
        var facts = Sample.facts
        facts.source.machine = "a"
        facts.source.path = "bc"
        var other = facts
        other.source.machine = "ab"
        other.source.path = "c"
        #expect(facts.snapshotID != other.snapshotID)
    }

    @Test("The serial decides what is the same source, where there is one")
    func sameSource() {
        let source = Sample.facts.source
        var moved = source
        moved.machine = "other"
        moved.path = "/dev/sdb"
        #expect(source.isSameSource(as: moved))
        var other = source
        other.serial = "WD-43"
        #expect(!source.isSameSource(as: other))
        other.serial = ""
        #expect(!source.isSameSource(as: other))
        #expect(!other.isSameSource(as: source))
        var same = other
        #expect(other.isSameSource(as: same))
        same.path = "/dev/sdb"
        #expect(!other.isSameSource(as: same))
        same = other
        same.sectorByteCount = 4096
        #expect(!other.isSameSource(as: same))
    }
}

struct ImageDigestTests {
    private let tree = ImageDigestTree(blockSize: Sample.small)

    @Test("A page of zeros has the leaf of its digests", arguments: [1, 2, 256, 257, 4095, 4096])
    func zeroLeaves(blockCount: Int) {
        let digests = [Digest](repeating: tree.zeroBlock, count: blockCount)
        #expect(
            tree.zeroLeaf(page: 5, blockCount: blockCount)
                == tree.leaf(page: 5, digests: digests.span))
    }

    @Test("The digest of zeros is SHA-256 of a block of zeros")
    func zeroBlock() {
        #expect(
            tree.zeroBlock.hexadecimal
                == "ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7")
    }

    @Test("Size, block size, order, page number and every block take part in the image digest")
    func everythingCounts() {
        let one = [Sample.digest(1), Sample.digest(2)]
        let leaf = tree.leaf(page: 0, digests: one.span)
        let other = tree.leaf(page: 1, digests: one.span)
        let swapped = [one[1], one[0]]
        let digests: Set = [
            tree.root(leaves: [leaf, other], byteCount: 1, blockSize: Sample.small),
            tree.root(leaves: [other, leaf], byteCount: 1, blockSize: Sample.small),
            tree.root(leaves: [leaf, other], byteCount: 2, blockSize: Sample.small),
            tree.root(leaves: [leaf, other], byteCount: 1, blockSize: .standard),
            tree.root(leaves: [leaf], byteCount: 1, blockSize: Sample.small),
            tree.root(leaves: [], byteCount: 1, blockSize: Sample.small),
            leaf, other, tree.leaf(page: 0, digests: swapped.span),
        ]
        #expect(digests.count == 9)
    }
}
