internal import BlockModel
internal import Hashing

/// Header of every object: says what it is, of which repository, and under which name it stands.
///
/// | offset | bytes | field                                               |
/// |-------:|------:|-----------------------------------------------------|
/// |      0 |     8 | magic                                               |
/// |      8 |     2 | format version                                      |
/// |     10 |     1 | kind                                                |
/// |     11 |     1 | digest kind                                         |
/// |     12 |     4 | block size in bytes                                 |
/// |     16 |    16 | repository id                                       |
/// |     32 |     4 | key epoch; zero: not sealed                         |
/// |     36 |     2 | name length *n*                                     |
/// |     38 |     2 | zero                                                |
/// |     40 |   *n* | full name, UTF-8                                    |
/// | 40+*n* |     8 | XXH3-64 of all bytes before                         |
package struct ObjectHeader: Hashable, Sendable {
    package static let fixedByteCount = 40
    package static let checksumByteCount = 8
    package static let byteLimit = fixedByteCount + Format.nameByteLimit + checksumByteCount

    package let kind: ObjectKind
    package let name: String
    package let identity: RepositoryIdentity

    package init(kind: ObjectKind, name: String, identity: RepositoryIdentity) {
        self.kind = kind
        self.name = name
        self.identity = identity
    }

    package var byteCount: Int { Self.fixedByteCount + name.utf8.count + Self.checksumByteCount }

    package func encoded() throws(FormatError) -> [UInt8] {
        var writer = ByteWriter(reserving: byteCount)
        writer.append(Format.objectMagic)
        writer.append(Format.version)
        writer.append(kind.rawValue)
        writer.append(identity.digestKind.rawValue)
        writer.append(UInt32(identity.blockSize.byteCount))
        writer.append(identity.id)
        writer.append(UInt32(0))
        guard name.utf8.count <= Format.nameByteLimit else { throw .badValue("name length") }
        writer.append(UInt16(name.utf8.count))
        writer.append(UInt16(0))
        writer.append(Array(name.utf8))
        writer.append(XXH3.hash64(writer.bytes.rawSpan))
        var reader = ByteReader(writer.bytes)
        guard try ObjectHeader(decoding: &reader) == self else { throw .notReproducible }
        return writer.bytes
    }

    /// Reads a header and leaves the reader behind it.
    package init(decoding reader: inout ByteReader) throws(FormatError) {
        let start = reader
        guard try reader.integer(UInt64.self) == Format.objectMagic else { throw .badMagic }
        let version = try reader.integer(UInt16.self)
        guard version == Format.version else { throw .unsupportedVersion(version) }
        guard let kind = ObjectKind(rawValue: try reader.integer(UInt8.self)) else {
            throw .wrongKind
        }
        guard let digestKind = DigestKind(rawValue: try reader.integer(UInt8.self)) else {
            throw .badValue("digest kind")
        }
        let blockByteCount = try reader.integer(UInt32.self)
        guard let blockSize = BlockSize(byteCount: Int(blockByteCount)) else {
            throw .badValue("block size")
        }
        let id = try reader.objectID()
        guard try reader.integer(UInt32.self) == 0 else { throw .badValue("key epoch") }
        let nameByteCount = Int(try reader.integer(UInt16.self))
        guard nameByteCount <= Format.nameByteLimit else { throw .badValue("name length") }
        try reader.zeros(2)
        let name = String(decoding: try reader.take(nameByteCount), as: UTF8.self)
        var covered = start
        let bytes = Array(try covered.take(Self.fixedByteCount + nameByteCount))
        guard try reader.integer(UInt64.self) == XXH3.hash64(bytes.rawSpan) else {
            throw .badChecksum
        }
        self.init(
            kind: kind, name: name,
            identity: RepositoryIdentity(id: id, blockSize: blockSize, digestKind: digestKind))
    }

    /// Refuses an object that is not what stands under `name` in the repository `identity`.
    package func verify(
        kind: ObjectKind,
        name: String,
        identity: RepositoryIdentity
    ) throws(FormatError) {
        guard self.kind == kind else { throw .wrongKind }
        guard self.identity == identity else { throw .wrongRepository }
        guard self.name == name else { throw .wrongName(self.name) }
    }
}

/// An object made of a header and checked sections; all objects but packs are.
///
/// | bytes | field                                          |
/// |------:|------------------------------------------------|
/// |     8 | section length *n*                             |
/// |   *n* | section                                        |
/// |     8 | XXH3-64 of length and section                  |
package enum SectionedObject {
    package static let overheadByteCount = 16

    package static func encode(
        _ header: ObjectHeader,
        sections: [[UInt8]]
    ) throws(FormatError) -> [UInt8] {
        let total = sections.reduce(header.byteCount) { $0 + $1.count + overheadByteCount }
        var writer = ByteWriter(reserving: total)
        writer.append(try header.encoded())
        for section in sections {
            guard section.count <= Format.sectionByteLimit else {
                throw .badValue("section length")
            }
            let start = writer.bytes.count
            writer.append(UInt64(section.count))
            writer.append(section)
            writer.append(XXH3.hash64(writer.bytes.rawSpan.extracting(start..<writer.bytes.count)))
        }
        return writer.bytes
    }

    /// Reads the header and exactly `sectionCount` sections that fill the object.
    package static func decode(
        _ bytes: [UInt8],
        sectionCount: Int
    ) throws(FormatError) -> (header: ObjectHeader, sections: [ArraySlice<UInt8>]) {
        var reader = ByteReader(bytes)
        let header = try ObjectHeader(decoding: &reader)
        var sections: [ArraySlice<UInt8>] = []
        for _ in 0..<sectionCount { sections.append(try section(from: &reader, of: bytes)) }
        try reader.end()
        return (header, sections)
    }

    /// The header and first section of an object of which only the beginning was read, and where
    /// the next section begins.
    package static func decodeFirst(
        _ bytes: [UInt8]
    ) throws(FormatError) -> (header: ObjectHeader, section: ArraySlice<UInt8>, next: Int) {
        var reader = ByteReader(bytes)
        let header = try ObjectHeader(decoding: &reader)
        let section = try section(from: &reader, of: bytes)
        return (header, section, bytes.count - reader.remaining)
    }

    private static func section(
        from reader: inout ByteReader,
        of bytes: [UInt8]
    ) throws(FormatError) -> ArraySlice<UInt8> {
        let start = bytes.count - reader.remaining
        let count = try reader.integer(UInt64.self)
        guard count <= UInt64(Format.sectionByteLimit) else { throw .badValue("section length") }
        let section = try reader.take(Int(count))
        let covered = bytes.rawSpan.extracting(start..<start + 8 + Int(count))
        guard try reader.integer(UInt64.self) == XXH3.hash64(covered) else { throw .badChecksum }
        return section
    }
}
