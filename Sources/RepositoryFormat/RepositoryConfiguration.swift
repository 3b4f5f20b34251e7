package import BlockModel

/// The object `config`: what a program must know, and be able to do, before it touches the rest.
///
/// Its one section:
///
/// | offset | bytes | field                                                |
/// |-------:|------:|------------------------------------------------------|
/// |      0 |     8 | required features: unknown bits, refuse to open      |
/// |      8 |     8 | optional features: unknown bits, refuse to write     |
/// |     16 |     1 | sealing; zero: none                                  |
/// |     17 |     7 | zero                                                 |
/// |     24 |     8 | time of creation, seconds                            |
/// |     32 |    32 | zero                                                 |
package struct RepositoryConfiguration: Hashable, Sendable {
    package let identity: RepositoryIdentity
    package let features: FeatureSet
    package let created: Timestamp

    package init(identity: RepositoryIdentity, created: Timestamp) {
        self.identity = identity
        self.created = Timestamp(seconds: created.seconds)
        features = FeatureSet()
    }

    package func encoded() throws(FormatError) -> [UInt8] {
        var writer = ByteWriter()
        features.append(to: &writer)
        writer.append(UInt8(0))
        writer.appendZeros(7)
        writer.append(created.seconds)
        writer.appendZeros(32)
        let header = ObjectHeader(
            kind: .configuration, name: ObjectNames.configuration, identity: identity)
        let bytes = try SectionedObject.encode(header, sections: [writer.bytes])
        guard try RepositoryConfiguration(decoding: bytes) == self else { throw .notReproducible }
        return bytes
    }

    package init(decoding bytes: [UInt8]) throws(FormatError) {
        let (header, sections) = try SectionedObject.decode(bytes, sectionCount: 1)
        try header.verify(
            kind: .configuration, name: ObjectNames.configuration, identity: header.identity)
        identity = header.identity
        var reader = ByteReader(sections[0])
        features = try FeatureSet(decoding: &reader)
        guard features.unknown.required == 0 else {
            throw .unknownFeatures(features.unknown.required)
        }
        guard try reader.integer(UInt8.self) == 0 else { throw .badValue("sealing") }
        try reader.zeros(7)
        created = Timestamp(seconds: try reader.signedInteger())
        try reader.zeros(32)
        try reader.end()
    }
}
