internal import BlockModel
internal import LMDB
package import Repository
package import RepositoryFormat

/// Heads of deltas, kept so that listing thousands of snapshots reads no objects.
///
/// `heads` maps a delta's id to its object's size, its volume and its encoded head; an entry that
/// does not fit the name and size of the listing is not used.
extension Index: DeltaHeadCache {
    package func heads(of deltas: [(name: DeltaName, byteCount: UInt64)]) -> [DeltaHead?] {
        let heads = try? environment.read { transaction in
            try deltas.map { name, byteCount in
                let key = Key().appending(name.id.high).appending(name.id.low)
                return try transaction.value(in: tables.heads, for: key) {
                    head($0, name, byteCount)
                } ?? nil
            }
        }
        return heads ?? Array(repeating: nil, count: deltas.count)
    }

    private func head(
        _ row: RawSpan,
        _ name: DeltaName,
        _ byteCount: UInt64
    ) -> DeltaHead? {
        guard row.byteCount >= 8, row.littleEndian(at: 0, as: UInt64.self) == byteCount,
            let head = head(row, of: name.volume), head.fromGeneration == name.from,
            head.toGeneration == name.to
        else { return nil }
        return head
    }

    /// The head in a row of a volume; nil for another volume's.
    func head(_ row: RawSpan, of volume: VolumeName) -> DeltaHead? {
        let end = row.byteCount - 8
        guard end >= 8,
            row.littleEndian(at: end, as: UInt64.self)
                == checksum(of: row.extracting(0..<end), key: 0)
        else { return nil }
        var reader = ByteReader([UInt8](copying: row.extracting(0..<end)))
        guard (try? reader.integer(UInt64.self)) != nil,
            (try? reader.text()) == volume.rawValue,
            let rest = try? reader.take(reader.remaining)
        else { return nil }
        return try? DeltaHead(decoding: rest)
    }

    package func remember(_ heads: [(delta: KnownDelta, byteCount: UInt64)]) {
        guard !heads.isEmpty else { return }
        // A cache of a cache: a failure here costs time only.
        try? environment.write { transaction in
            for (delta, byteCount) in heads {
                try putHead(delta, byteCount: byteCount, transaction)
            }
        }
    }

    func putHead(
        _ delta: KnownDelta,
        byteCount: UInt64,
        _ transaction: borrowing Transaction
    ) throws {
        var writer = ByteWriter()
        writer.append(byteCount)
        writer.append(delta.name.volume.rawValue)
        writer.append(try delta.head.encoded())
        writer.append(checksum(of: writer.bytes.rawSpan, key: 0))
        let key = Key().appending(delta.name.id.high).appending(delta.name.id.low)
        try transaction.put(writer.bytes.rawSpan, in: tables.heads, for: key)
    }
}
