internal import BlockModel
internal import LMDB
package import RepositoryFormat

/// Heads of deltas, kept so that listing thousands of snapshots reads no objects.
///
/// `heads` maps a delta's id to its object's full name and size, and its encoded head; an entry
/// whose name or size is not that of the listing is not used.
extension Index: DeltaHeadCache {
    package func head(of name: DeltaName, byteCount: UInt64) -> DeltaHead? {
        let key = Key().appending(name.id.high).appending(name.id.low)
        let found = try? environment.read { transaction in
            try transaction.value(in: tables.heads, for: key) { [UInt8](copying: $0) }
        }
        guard let bytes = found ?? nil else { return nil }
        var reader = ByteReader(bytes)
        guard (try? reader.text()) == name.objectName,
            (try? reader.integer(UInt64.self)) == byteCount,
            let rest = try? reader.take(reader.remaining)
        else { return nil }
        return try? DeltaHead(decoding: rest)
    }

    package func remember(_ heads: [(delta: KnownDelta, byteCount: UInt64)]) {
        guard !heads.isEmpty else { return }
        // A cache of a cache: a failure here costs time only.
        try? environment.write { transaction in
            for (delta, byteCount) in heads {
                var writer = ByteWriter()
                writer.append(delta.name.objectName)
                writer.append(byteCount)
                writer.append(try delta.head.encoded())
                let key = Key().appending(delta.name.id.high).appending(delta.name.id.low)
                try transaction.put(writer.bytes.rawSpan, in: tables.heads, for: key)
            }
        }
    }
}
