package import BlockModel

/// What a hold covers.
package enum HoldScope: Hashable, Sendable {
    case repository
    case volume(VolumeName)

    package var directory: String {
        switch self {
        case .repository: "repository"
        case .volume(let name): "volume." + name.rawValue
        }
    }
}

package enum HoldKind: String, Hashable, Sendable, CaseIterable {
    /// Beside any number of others, but not beside an exclusive one.
    case shared
    case exclusive
}

/// A lock with an owner: who holds it, and until when it must be renewed.
///
/// The section is: purpose, host, boot id (texts), process id (32 bits), zero (32), process start
/// in clock ticks after boot, time of creation, time of expiry (64 bits each).
package struct HoldRecord: Hashable, Sendable {
    package var purpose: String
    package var host: String
    package var bootID: String
    package var processID: UInt32
    package var processStart: UInt64
    package var created: Timestamp
    package var expires: Timestamp

    package init(
        purpose: String,
        host: String,
        bootID: String,
        processID: UInt32,
        processStart: UInt64,
        created: Timestamp,
        expires: Timestamp
    ) {
        self.purpose = purpose
        self.host = host
        self.bootID = bootID
        self.processID = processID
        self.processStart = processStart
        self.created = created
        self.expires = expires
    }

    package func encoded(name: String, identity: RepositoryIdentity) throws(FormatError) -> [UInt8]
    {
        var writer = ByteWriter()
        writer.append(purpose)
        writer.append(host)
        writer.append(bootID)
        writer.append(processID)
        writer.append(UInt32(0))
        writer.append(processStart)
        writer.append(created.seconds)
        writer.append(expires.seconds)
        let header = ObjectHeader(kind: .hold, name: name, identity: identity)
        let bytes = try SectionedObject.encode(header, sections: [writer.bytes])
        var stored = self
        stored.created = Timestamp(seconds: created.seconds)
        stored.expires = Timestamp(seconds: expires.seconds)
        guard try HoldRecord(decoding: bytes, name: name, identity: identity) == stored else {
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
        try header.verify(kind: .hold, name: name, identity: identity)
        var reader = ByteReader(sections[0])
        purpose = try reader.text()
        host = try reader.text()
        bootID = try reader.text()
        processID = try reader.integer(UInt32.self)
        try reader.zeros(4)
        processStart = try reader.integer(UInt64.self)
        created = Timestamp(seconds: try reader.signedInteger())
        expires = Timestamp(seconds: try reader.signedInteger())
        try reader.end()
    }
}
