package import BlockModel
package import RepositoryModel

/// A piece of a large map: an object of its own under `parts/`.
package struct PartReference: Hashable, Sendable {
    package static let byteCount = 48

    package let id: ObjectID
    package let firstBlock: UInt64
    package let endBlock: UInt64
    /// Length and checksum of the map inside the part.
    package let mapByteCount: UInt64
    package let mapChecksum: UInt64

    package init(
        id: ObjectID,
        firstBlock: UInt64,
        endBlock: UInt64,
        mapByteCount: UInt64,
        mapChecksum: UInt64
    ) {
        self.id = id
        self.firstBlock = firstBlock
        self.endBlock = endBlock
        self.mapByteCount = mapByteCount
        self.mapChecksum = mapChecksum
    }
}

/// The first section of a delta: both its ends, the facts of its newer one, and where its map is.
///
/// A delta object has two sections, this one and the inline map; the second is empty when the map
/// is in parts.
package struct DeltaHead: Hashable, Sendable {
    package var from: SnapshotID
    package var fromGeneration: Generation
    package var fromByteCount: UInt64
    package var to: SnapshotID
    package var toGeneration: Generation
    package var facts: SnapshotFacts
    /// Blocks that the map names as data, zero and free.
    package var dataBlockCount: UInt64
    package var zeroBlockCount: UInt64
    package var freeBlockCount: UInt64
    package var parts: [PartReference]

    package init(
        from: SnapshotID,
        fromGeneration: Generation,
        fromByteCount: UInt64,
        toGeneration: Generation,
        facts: SnapshotFacts
    ) {
        self.from = from
        self.fromGeneration = fromGeneration
        self.fromByteCount = fromByteCount
        to = facts.snapshotID
        self.toGeneration = toGeneration
        self.facts = facts
        dataBlockCount = 0
        zeroBlockCount = 0
        freeBlockCount = 0
        parts = []
    }

    package var toByteCount: UInt64 { facts.byteCount }

    package func encoded() throws(FormatError) -> [UInt8] {
        var writer = ByteWriter(reserving: 1024)
        writer.append(from)
        writer.append(fromGeneration)
        writer.append(fromByteCount)
        writer.append(to)
        writer.append(toGeneration)
        facts.append(to: &writer)
        writer.append(dataBlockCount)
        writer.append(zeroBlockCount)
        writer.append(freeBlockCount)
        writer.appendZeros(32)
        writer.append(UInt32(parts.count))
        for part in parts {
            writer.append(part.id)
            writer.append(part.firstBlock)
            writer.append(part.endBlock)
            writer.append(part.mapByteCount)
            writer.append(part.mapChecksum)
        }
        guard try DeltaHead(decoding: writer.bytes[...]) == self else { throw .notReproducible }
        return writer.bytes
    }

    package init(decoding section: ArraySlice<UInt8>) throws(FormatError) {
        var reader = ByteReader(section)
        from = SnapshotID(try reader.digest())
        fromGeneration = try reader.integer(UInt64.self)
        fromByteCount = try reader.integer(UInt64.self)
        to = SnapshotID(try reader.digest())
        toGeneration = try reader.integer(UInt64.self)
        facts = try SnapshotFacts(decoding: &reader)
        dataBlockCount = try reader.integer(UInt64.self)
        zeroBlockCount = try reader.integer(UInt64.self)
        freeBlockCount = try reader.integer(UInt64.self)
        try reader.zeros(32)
        let count = Int(try reader.integer(UInt32.self))
        guard count * PartReference.byteCount == reader.remaining else {
            throw .badValue("part count")
        }
        parts = []
        for _ in 0..<count {
            let id = try reader.objectID()
            let firstBlock = try reader.integer(UInt64.self)
            let endBlock = try reader.integer(UInt64.self)
            let mapByteCount = try reader.integer(UInt64.self)
            parts.append(
                PartReference(
                    id: id, firstBlock: firstBlock, endBlock: endBlock, mapByteCount: mapByteCount,
                    mapChecksum: try reader.integer(UInt64.self)))
        }
        try reader.end()
        try verify()
    }

    /// Refuses ends that cannot be, and an id that the facts do not give.
    private func verify() throws(FormatError) {
        guard fromGeneration < toGeneration else { throw .badValue("generation") }
        guard (fromGeneration == 0) == (from == .nothing) else { throw .badValue("start") }
        guard fromGeneration > 0 || fromByteCount == 0 else { throw .badValue("start size") }
        guard to == facts.snapshotID else { throw .badValue("snapshot id") }
        var end: UInt64 = 0
        for part in parts {
            guard part.firstBlock >= end, part.firstBlock < part.endBlock,
                part.mapByteCount <= UInt64(Format.partByteLimit)
            else { throw .badValue("part") }
            end = part.endBlock
        }
    }
}
