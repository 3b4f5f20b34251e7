package import BlockModel

/// The object `volumes/<volume>/newest.<generation>.<id>`: names the newest commit, so that the
/// loss of its delta shows and its number is not used again.
///
/// Written with generation 0 before the first delta of a volume, and after every delta; older ones
/// are deleted once the new one is durable.
///
/// | offset | bytes | field       |
/// |-------:|------:|-------------|
/// |      0 |     8 | generation  |
/// |      8 |    32 | snapshot id |
/// |     40 |    16 | delta id    |
/// |     56 |     8 | zero        |
package struct NewestMarker: Hashable, Sendable {
    package let volume: VolumeName
    package let generation: Generation
    package let snapshot: SnapshotID
    /// Also the id in the marker's own name.
    package let delta: ObjectID

    package init(
        volume: VolumeName,
        generation: Generation,
        snapshot: SnapshotID,
        delta: ObjectID
    ) {
        self.volume = volume
        self.generation = generation
        self.snapshot = snapshot
        self.delta = delta
    }

    package var objectName: String {
        ObjectNames.newest(of: volume, generation: generation, id: delta)
    }

    package func encoded(identity: RepositoryIdentity) throws(FormatError) -> [UInt8] {
        var writer = ByteWriter()
        writer.append(generation)
        writer.append(snapshot)
        writer.append(delta)
        writer.appendZeros(8)
        let header = ObjectHeader(kind: .newest, name: objectName, identity: identity)
        return try SectionedObject.encode(header, sections: [writer.bytes])
    }

    package init(
        decoding bytes: [UInt8],
        volume: VolumeName,
        name: String,
        identity: RepositoryIdentity
    ) throws(FormatError) {
        let (header, sections) = try SectionedObject.decode(bytes, sectionCount: 1)
        try header.verify(kind: .newest, name: name, identity: identity)
        var reader = ByteReader(sections[0])
        self.volume = volume
        generation = try reader.integer(UInt64.self)
        snapshot = SnapshotID(try reader.digest())
        delta = try reader.objectID()
        try reader.zeros(8)
        try reader.end()
        guard objectName == name else { throw .wrongName(objectName) }
    }
}
