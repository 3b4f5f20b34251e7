package import BlockModel

/// What is said of a snapshot after its capture; the newest note of a kind counts.
package enum NoteKind: UInt8, Hashable, Sendable {
    case tags = 1
    case protection = 2
    case forgotten = 3
    case bootProof = 4
    case distrust = 5
    case damage = 6
}

/// The object `notes/<volume>/<snapshot>.<n>.<id>`.
///
/// The section is: kind (8 bits), zero (56), time (64), number of texts (16), the texts.
package struct Note: Hashable, Sendable {
    package let kind: NoteKind
    package let time: Timestamp
    package let texts: [String]

    package init(kind: NoteKind, time: Timestamp, texts: [String]) {
        self.kind = kind
        self.time = Timestamp(seconds: time.seconds)
        self.texts = texts
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
        let bytes = try SectionedObject.encode(header, sections: [writer.bytes])
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
        let (header, sections) = try SectionedObject.decode(bytes, sectionCount: 1)
        try header.verify(kind: .note, name: name, identity: identity)
        var reader = ByteReader(sections[0])
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
