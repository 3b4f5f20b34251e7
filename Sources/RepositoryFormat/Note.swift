package import BlockModel
internal import RepositoryModel

/// What is said of a snapshot after its capture; the newest note of a kind counts.
///
/// Notes of kinds that only a later version knows are kept and passed over.
package struct NoteKind: StoredValue {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let tags = Self(rawValue: 1)
    package static let protection = Self(rawValue: 2)
    package static let forgotten = Self(rawValue: 3)
    package static let bootProof = Self(rawValue: 4)
    package static let distrust = Self(rawValue: 5)
    package static let damage = Self(rawValue: 6)

    package static let names: [Self: String] = [
        .tags: "tags", .protection: "protection", .forgotten: "forgotten",
        .bootProof: "boot proof", .distrust: "distrust", .damage: "damage",
    ]

    /// Whether this version knows what a note of this kind says.
    package var isKnown: Bool { Self.names[self] != nil }

    /// Whether there is a second section.
    var hasAttachment: Bool { self == .bootProof }
}

/// The object `notes/<volume>/<snapshot>.<n>.<id>`.
///
/// The first section is: kind (8 bits), zero (56), time (64), number of texts (16), the texts. A note of
/// boot proof has a second one, its attachment.
package struct Note: Hashable, Sendable {
    package let kind: NoteKind
    package let time: Timestamp
    package let texts: [String]
    /// The picture of a boot proof; empty in every other note.
    package let attachment: [UInt8]

    package init(kind: NoteKind, time: Timestamp, texts: [String], attachment: [UInt8] = []) {
        self.kind = kind
        self.time = Timestamp(seconds: time.seconds)
        self.texts = texts
        self.attachment = attachment
    }

    package func encoded(name: String, identity: RepositoryIdentity) throws(FormatError) -> [UInt8]
    {
        var writer = ByteWriter()
        writer.append(kind.rawValue)
        writer.appendZeros(7)
        writer.append(time.seconds)
        writer.append(UInt16(clamping: texts.count))
        for text in texts.prefix(Int(UInt16.max)) { writer.append(text) }
        let header = ObjectHeader(kind: .note, name: name, identity: identity)
        let sections = kind.hasAttachment ? [writer.bytes, attachment] : [writer.bytes]
        let bytes = try SectionedObject.encode(header, sections: sections)
        guard try Note(decoding: bytes, name: name, identity: identity) == self else {
            throw .notReproducible
        }
        return bytes
    }

    package init(
        decoding bytes: [UInt8],
        name: String,
        identity: RepositoryIdentity
    ) throws(FormatError) {
        let beginning = try Note(decodingBeginning: bytes, name: name, identity: identity)
        guard beginning.kind.isKnown else {
            // Whatever it is of, and whether it has an attachment, this version need not know.
            self = beginning
            return
        }
        let sectionCount = beginning.kind.hasAttachment ? 2 : 1
        let (_, sections) = try SectionedObject.decode(bytes, sectionCount: sectionCount)
        self.init(
            kind: beginning.kind, time: beginning.time, texts: beginning.texts,
            attachment: sectionCount > 1 ? Array(sections[1]) : [])
    }

    /// What a note says, of which only the beginning was read: without its attachment, and whatever
    /// lies behind the first section.
    package init(
        decodingBeginning bytes: [UInt8],
        name: String,
        identity: RepositoryIdentity
    ) throws(FormatError) {
        let (header, section, _) = try SectionedObject.decodeFirst(bytes)
        try header.verify(kind: .note, name: name, identity: identity)
        var reader = ByteReader(section)
        let kind: NoteKind = try reader.storedValue("note kind")
        try reader.zeros(7)
        let seconds = try reader.signedInteger()
        var texts: [String] = []
        for _ in 0..<(try reader.integer(UInt16.self)) { texts.append(try reader.text()) }
        try reader.end()
        self.init(kind: kind, time: Timestamp(seconds: seconds), texts: texts)
    }
}
