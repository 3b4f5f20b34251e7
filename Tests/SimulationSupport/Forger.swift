package import BlockModel
import ObjectStore
package import Repository
package import RepositoryFormat
import TestKit

/// Somebody who can create objects of a repository, and nothing else.
package struct Forger {
    /// A frame that claims blocks.
    package struct Frame {
        package var kind = FrameKind.stored
        package var depth: UInt8 = 0
        package var digests: [Digest]
        package var prefixes: [Digest] = []
        package var payload: [UInt8]
        /// Whether its checksum is not that of its bytes.
        package var isRotten = false

        package init(
            _ kind: FrameKind = .stored,
            depth: UInt8 = 0,
            _ digests: [Digest],
            prefixes: [Digest] = [],
            payload: [UInt8],
            isRotten: Bool = false
        ) {
            self.kind = kind
            self.depth = depth
            self.digests = digests
            self.prefixes = prefixes
            self.payload = payload
            self.isRotten = isRotten
        }
    }

    private let repository: Repository
    private let identifiers: SeededIdentifiers

    package init(_ repository: Repository, seed: UInt64) {
        self.repository = repository
        identifiers = SeededIdentifiers(seed: seed ^ 0xBAD)
    }

    /// Stores a pack with these frames; gives the name of its object.
    @discardableResult
    package func storePack(_ frames: [Frame]) throws -> String {
        let name = ObjectNames.pack(identifiers.next())
        var bytes = try ObjectHeader(kind: .pack, name: name, identity: repository.identity)
            .encoded()
        var table = PackTable()
        for frame in frames {
            let header = FrameHeader(
                kind: frame.kind, depth: frame.depth, blockCount: frame.digests.count,
                payloadByteCount: frame.payload.count,
                chainByteCount: frame.kind.isPatch ? frame.payload.count : 0,
                prefixes: frame.prefixes)
            var encoded = [UInt8](repeating: 0, count: header.byteCount) + frame.payload
            var span = encoded.mutableSpan
            var raw = span.mutableBytes
            try header.encode(into: &raw)
            if frame.isRotten { encoded[encoded.count - 1] ^= 1 }
            table.append(
                FrameEntry(byteOffset: UInt32(bytes.count), header: header),
                digests: frame.digests[...])
            bytes += encoded
        }
        let encodedTable = table.encoded()
        let footer = PackFooter(table: table, encodedTable: encodedTable, at: bytes.count)
        try repository.store.create(name, bytes + encodedTable + footer.encoded())
        return name
    }

    /// Stores a delta with any head and map; gives its name.
    @discardableResult
    package func storeDelta(
        _ volume: VolumeName,
        from: Generation,
        to: Generation,
        head: DeltaHead,
        map: DeltaMap = DeltaMap()
    ) throws -> DeltaName {
        let name = DeltaName(volume: volume, from: from, to: to, id: identifiers.next())
        let bytes = try DeltaObject.encode(
            name: name, identity: repository.identity, head: head, inlineMap: map)
        try repository.store.create(name.objectName, bytes)
        return name
    }
}
