package import BlockModel

/// The object `pruning/<id>`: the packs that a prune is about to delete.
///
/// The section is: time (64 bits), number of packs (32), zero (32), the packs' ids (16 bytes each).
package struct PruneList: Hashable, Sendable {
    /// More packs are named by several lists.
    package static let packLimit = 1 << 16

    package let time: Timestamp
    package let packs: [ObjectID]

    /// - Precondition: at most ``packLimit`` packs.
    package init(time: Timestamp, packs: [ObjectID]) {
        precondition(packs.count <= Self.packLimit)
        self.time = Timestamp(seconds: time.seconds)
        self.packs = packs
    }

    package func encoded(name: String, identity: RepositoryIdentity) throws(FormatError) -> [UInt8]
    {
        var writer = ByteWriter()
        writer.append(time.seconds)
        writer.append(UInt32(packs.count))
        writer.append(UInt32(0))
        for pack in packs { writer.append(pack) }
        let header = ObjectHeader(kind: .pruneList, name: name, identity: identity)
        let bytes = try SectionedObject.encode(header, sections: [writer.bytes])
        guard try PruneList(decoding: bytes, name: name, identity: identity) == self else {
            throw .notReproducible
        }
        return bytes
    }

    package init(
        decoding bytes: [UInt8],
        name: String,
        identity: RepositoryIdentity
    ) throws(FormatError) {
        let (header, sections) = try SectionedObject.decode(bytes, sectionCount: 1)
        try header.verify(kind: .pruneList, name: name, identity: identity)
        var reader = ByteReader(sections[0])
        time = Timestamp(seconds: try reader.signedInteger())
        let count = Int(try reader.integer(UInt32.self))
        guard count <= Self.packLimit else { throw .badValue("number of packs") }
        try reader.zeros(4)
        var packs: [ObjectID] = []
        for _ in 0..<count { packs.append(try reader.objectID()) }
        self.packs = packs
        try reader.end()
    }
}
