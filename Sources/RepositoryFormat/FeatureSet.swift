package import BlockModel

/// What a program must know before it reads or writes a repository.
///
/// Bits stand in `config` from the beginning, and may be added later by objects `features/…`, whose names
/// carry them: a listing tells them all, and damage of such an object loses nothing.
///
/// | offset | bytes | field of the object's one section                    |
/// |-------:|------:|------------------------------------------------------|
/// |      0 |     8 | required features, as in the name                    |
/// |      8 |     8 | optional features, as in the name                    |
/// |     16 |    48 | zero                                                 |
package struct FeatureSet: Hashable, Sendable {
    /// Unknown bits refuse to open.
    package var required: UInt64
    /// Unknown bits refuse to write.
    package var optional: UInt64

    /// Those of this version.
    package static let known = FeatureSet()

    package init(required: UInt64 = 0, optional: UInt64 = 0) {
        self.required = required
        self.optional = optional
    }

    /// Those that this version does not know.
    package var unknown: FeatureSet {
        FeatureSet(
            required: required & ~Self.known.required, optional: optional & ~Self.known.optional)
    }

    package mutating func formUnion(_ other: FeatureSet) {
        required |= other.required
        optional |= other.optional
    }

    package func encoded(id: ObjectID, identity: RepositoryIdentity) throws(FormatError) -> [UInt8]
    {
        let name = ObjectNames.featureSet(self, id: id)
        var writer = ByteWriter()
        append(to: &writer)
        writer.appendZeros(48)
        let header = ObjectHeader(kind: .featureSet, name: name, identity: identity)
        let bytes = try SectionedObject.encode(header, sections: [writer.bytes])
        guard try FeatureSet(decoding: bytes, name: name, identity: identity) == self else {
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
        try header.verify(kind: .featureSet, name: name, identity: identity)
        var reader = ByteReader(sections[0])
        try self.init(decoding: &reader)
        try reader.zeros(48)
        try reader.end()
        guard ObjectNames.features(of: name) == self else { throw .badValue("name") }
    }

    func append(to writer: inout ByteWriter) {
        writer.append(required)
        writer.append(optional)
    }

    init(decoding reader: inout ByteReader) throws(FormatError) {
        required = try reader.integer(UInt64.self)
        optional = try reader.integer(UInt64.self)
    }
}
