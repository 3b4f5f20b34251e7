package import BlockModel

/// What is said of a snapshot after its capture; the newest note of a kind counts.
package enum NoteKind: UInt8, Hashable, Sendable {
    case tags = 1
    case protection = 2
    case forgotten = 3
    case bootProof = 4
    case distrust = 5
    case damage = 6

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
        guard let kind = NoteKind(rawValue: try reader.integer(UInt8.self)) else {
            throw .badValue("note kind")
        }
        try reader.zeros(7)
        let seconds = try reader.signedInteger()
        var texts: [String] = []
        for _ in 0..<(try reader.integer(UInt16.self)) { texts.append(try reader.text()) }
        try reader.end()
        self.init(kind: kind, time: Timestamp(seconds: seconds), texts: texts)
    }
}
