package import BlockModel

/// A delta as an object: the head, and the map when it is small.
package enum DeltaObject {
    package static func encode(
        name: DeltaName,
        identity: RepositoryIdentity,
        head: DeltaHead,
        inlineMap: DeltaMap
    ) throws(FormatError) -> [UInt8] {
        let header = ObjectHeader(kind: .delta, name: name.objectName, identity: identity)
        let map = inlineMap.isEmpty ? [] : inlineMap.encoded()
        let bytes = try SectionedObject.encode(header, sections: [try head.encoded(), map])
        let decoded = try decode(bytes, name: name, identity: identity)
        guard decoded.head == head, decoded.inlineMap == inlineMap else { throw .notReproducible }
        return bytes
    }

    package static func decode(
        _ bytes: [UInt8],
        name: DeltaName,
        identity: RepositoryIdentity
    ) throws(FormatError) -> (head: DeltaHead, inlineMap: DeltaMap) {
        let (header, sections) = try SectionedObject.decode(bytes, sectionCount: 2)
        try header.verify(kind: .delta, name: name.objectName, identity: identity)
        let head = try decodeHead(sections[0], name: name, blockSize: identity.blockSize)
        guard !sections[1].isEmpty else { return (head, DeltaMap()) }
        guard head.parts.isEmpty else { throw .badValue("inline map beside parts") }
        let map = try DeltaMap(
            decoding: sections[1], within: 0..<head.mapBlockLimit(identity.blockSize))
        return (head, map)
    }

    /// Reads the head from the first bytes of a delta of `byteCount` bytes.
    package static func decodeHead(
        fromPrefix bytes: [UInt8],
        byteCount: UInt64,
        name: DeltaName,
        identity: RepositoryIdentity
    ) throws(FormatError) -> DeltaHead {
        let (header, section, next) = try SectionedObject.decodeFirst(bytes)
        var rest = ByteReader(bytes[next...])
        let mapByteCount = try rest.integer(UInt64.self)
        let (expected, overflow) = mapByteCount.addingReportingOverflow(
            UInt64(next + SectionedObject.overheadByteCount))
        guard !overflow, expected == byteCount else {
            throw .truncated(
                expectedByteCount: Int(clamping: expected),
                actualByteCount: Int(clamping: byteCount))
        }
        try header.verify(kind: .delta, name: name.objectName, identity: identity)
        return try decodeHead(section, name: name, blockSize: identity.blockSize)
    }

    private static func decodeHead(
        _ section: ArraySlice<UInt8>,
        name: DeltaName,
        blockSize: BlockSize
    ) throws(FormatError) -> DeltaHead {
        let head = try DeltaHead(decoding: section)
        guard head.fromGeneration == name.from, head.toGeneration == name.to else {
            throw .badValue("generations")
        }
        // A map could not name the blocks of a larger volume.
        for byteCount in [head.fromByteCount, head.toByteCount] {
            guard blockSize.blockCount(coveringByteCount: byteCount) <= Format.blockIndexLimit
            else { throw .badValue("volume size") }
        }
        return head
    }
}

extension DeltaHead {
    /// Blocks that the map may name: those of the newer end.
    package func mapBlockLimit(_ blockSize: BlockSize) -> UInt64 {
        blockSize.blockCount(coveringByteCount: toByteCount)
    }
}

/// A part as an object: one section, the piece of the map.
package enum PartObject {
    package static func encode(
        id: ObjectID,
        identity: RepositoryIdentity,
        encodedMap: [UInt8]
    ) throws(FormatError) -> [UInt8] {
        let header = ObjectHeader(kind: .part, name: ObjectNames.part(id), identity: identity)
        return try SectionedObject.encode(header, sections: [encodedMap])
    }

    package static func decode(
        _ bytes: [UInt8],
        reference: PartReference,
        identity: RepositoryIdentity
    ) throws(FormatError) -> DeltaMap {
        let (header, sections) = try SectionedObject.decode(bytes, sectionCount: 1)
        try header.verify(
            kind: .part, name: ObjectNames.part(reference.id), identity: identity)
        guard sections[0].count == Int(reference.mapByteCount),
            DeltaMap.checksum(Array(sections[0])) == reference.mapChecksum
        else { throw .badChecksum }
        return try DeltaMap(
            decoding: sections[0], within: reference.firstBlock..<reference.endBlock)
    }
}
