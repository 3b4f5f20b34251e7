import BlockModel
import Glibc
import RepositoryFormat
import TestKit
import Testing

/// Every object is stored as the golden files say, byte for byte.
///
/// The files under `Golden/` were written once, by a program that followed the tables in the
/// sources and shares no code with them. They are what stands in repositories: nothing rewrites
/// them, and a change that breaks one breaks every repository.
struct GoldenTests {
    @Test("The configuration is stored as these bytes")
    func configuration() throws {
        let golden = try Golden.bytes("config")
        #expect(try Sample.configuration.encoded().hexadecimal == golden.hexadecimal)
        #expect(try RepositoryConfiguration(decoding: golden) == Sample.configuration)
    }

    @Test("A pack is stored as these bytes: header, frames, table, footer")
    func pack() throws {
        let golden = try Golden.bytes("pack")
        let pack = try Sample.pack
        #expect(pack.bytes.hexadecimal == golden.hexadecimal)

        var reader = ByteReader(golden)
        try ObjectHeader(decoding: &reader).verify(
            kind: .pack, name: ObjectNames.pack(Sample.objectID), identity: Sample.identity)
        let framesStart = golden.count - reader.remaining
        let footer = try PackFooter(
            decoding: golden.suffix(PackFooter.byteCount), packByteCount: golden.count)
        #expect(footer == pack.footer)
        let table = golden[footer.tableByteOffset..<golden.count - PackFooter.byteCount]
        #expect(
            try PackTable(
                decoding: Array(table).rawSpan, footer: footer, framesStart: framesStart,
                blockSize: Sample.small) == pack.table)
        for (entry, frame) in zip(pack.table.frames, Sample.frames) {
            let bytes = Array(golden[Int(entry.byteOffset)...])
            #expect(
                try FrameHeader(decoding: bytes.rawSpan, blockSize: Sample.small) == frame.header)
        }
    }

    @Test("A delta with its map inside is stored as these bytes")
    func delta() throws {
        let golden = try Golden.bytes("delta")
        let encoded = try DeltaObject.encode(
            name: Sample.deltaName, identity: Sample.identity, head: Sample.head,
            inlineMap: Sample.map)
        #expect(encoded.hexadecimal == golden.hexadecimal)
        let decoded = try DeltaObject.decode(
            golden, name: Sample.deltaName, identity: Sample.identity)
        #expect(decoded.head == Sample.head)
        #expect(decoded.inlineMap == Sample.map)
    }

    @Test("A delta whose map is in parts is stored as these bytes")
    func deltaWithParts() throws {
        let golden = try Golden.bytes("delta-with-parts")
        let (head, _) = Sample.headWithParts
        let encoded = try DeltaObject.encode(
            name: Sample.deltaName, identity: Sample.identity, head: head, inlineMap: DeltaMap())
        #expect(encoded.hexadecimal == golden.hexadecimal)
        let decoded = try DeltaObject.decode(
            golden, name: Sample.deltaName, identity: Sample.identity)
        #expect(decoded.head == head)
        #expect(decoded.inlineMap == DeltaMap())
    }

    @Test("A part is stored as these bytes")
    func part() throws {
        let golden = try Golden.bytes("part")
        let (head, maps) = Sample.headWithParts
        let encoded = try PartObject.encode(
            id: head.parts[1].id, identity: Sample.identity, encodedMap: maps[1].encoded())
        #expect(encoded.hexadecimal == golden.hexadecimal)
        #expect(
            try PartObject.decode(golden, reference: head.parts[1], identity: Sample.identity)
                == maps[1])
    }

    @Test("The marker of the newest snapshot is stored as these bytes")
    func newest() throws {
        let golden = try Golden.bytes("newest")
        #expect(
            try Sample.marker.encoded(identity: Sample.identity).hexadecimal == golden.hexadecimal)
        #expect(
            try NewestMarker(
                decoding: golden, volume: Sample.volume, name: Sample.marker.objectName,
                identity: Sample.identity) == Sample.marker)
    }

    @Test("A note is stored as these bytes")
    func note() throws {
        let golden = try Golden.bytes("note")
        let encoded = try Sample.note.encoded(name: Sample.noteName, identity: Sample.identity)
        #expect(encoded.hexadecimal == golden.hexadecimal)
        #expect(
            try Note(decoding: golden, name: Sample.noteName, identity: Sample.identity)
                == Sample.note)
    }

    @Test("A hold is stored as these bytes")
    func hold() throws {
        let golden = try Golden.bytes("hold")
        let encoded = try Sample.hold.encoded(name: Sample.holdName, identity: Sample.identity)
        #expect(encoded.hexadecimal == golden.hexadecimal)
        #expect(
            try HoldRecord(decoding: golden, name: Sample.holdName, identity: Sample.identity)
                == Sample.hold)
    }

    @Test("A prune list is stored as these bytes")
    func pruneList() throws {
        let golden = try Golden.bytes("prune-list")
        let encoded = try Sample.pruneList.encoded(
            name: Sample.pruneListName, identity: Sample.identity)
        #expect(encoded.hexadecimal == golden.hexadecimal)
    }

    @Test("A feature set is stored as these bytes")
    func featureSet() throws {
        let golden = try Golden.bytes("feature-set")
        let encoded = try Sample.features.encoded(id: Sample.objectID, identity: Sample.identity)
        #expect(encoded.hexadecimal == golden.hexadecimal)
        #expect(
            try FeatureSet(
                decoding: golden, name: Sample.featuresName, identity: Sample.identity)
                == Sample.features)
    }

    @Test("A snapshot's id is this digest of its facts")
    func snapshotID() throws {
        #expect(try Sample.facts.snapshotID.hexadecimal == Golden.bytes("snapshot-id").hexadecimal)
    }

    @Test("The digest of an image of 300 pages is this one: leaves, two levels above, root")
    func imageDigest() throws {
        let tree = ImageDigestTree(blockSize: Sample.small)
        let leaves = (0..<300).map { page -> Digest in
            let count = page < 299 ? 4096 : 7
            guard page % 3 != 0 else { return tree.zeroLeaf(page: UInt64(page), blockCount: count) }
            var digests = [Digest](repeating: tree.zeroBlock, count: count)
            digests[page % 7] = Sample.digest(UInt8(page % 256))
            return tree.leaf(page: UInt64(page), digests: digests.span)
        }
        let root = tree.root(
            leaves: leaves, byteCount: (299 * 4096 + 7) * 4096 - 1, blockSize: Sample.small)
        #expect(try root.hexadecimal == Golden.bytes("image-digest").hexadecimal)
    }

    @Test("The digests of an empty image and of one of a single page are these")
    func smallImageDigests() throws {
        let tree = ImageDigestTree(blockSize: Sample.small)
        let nothing = tree.root(leaves: [], byteCount: 0, blockSize: Sample.small)
        #expect(try nothing.hexadecimal == Golden.bytes("image-digest-of-nothing").hexadecimal)
        let digests = [Sample.digest(1), tree.zeroBlock]
        let two = tree.root(
            leaves: [tree.leaf(page: 0, digests: digests.span)], byteCount: 8192,
            blockSize: Sample.small)
        #expect(try two.hexadecimal == Golden.bytes("image-digest-of-two-blocks").hexadecimal)
    }
}

/// Reads the golden files, which lie beside this one.
enum Golden {
    struct Unreadable: Error { let path: String }

    static func bytes(_ name: String, file: String = #filePath) throws -> [UInt8] {
        let path =
            file.prefix(upTo: file.lastIndex(of: "/") ?? file.endIndex) + "/Golden/"
            + name + ".hex"
        let text = try contents(of: String(path))
        guard let bytes = [UInt8](hexadecimal: String(decoding: text, as: UTF8.self)) else {
            throw Unreadable(path: String(path))
        }
        return bytes
    }

    static func contents(of path: String) throws -> [UInt8] {
        guard let stream = fopen(path, "re") else { throw Unreadable(path: path) }
        defer { fclose(stream) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while case let count = fread(&buffer, 1, buffer.count, stream), count > 0 {
            bytes += buffer[..<count]
        }
        return bytes
    }
}
