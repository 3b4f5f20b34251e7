internal import BlockModel
internal import Hashing
internal import LMDB
package import Repository
package import RepositoryFormat

/// What was proved of deltas, so that their maps are read once for it.
///
/// `verdicts` has a key of 17 bytes for each: 1 where it was proved and 2 where it is false, and its id;
/// the value is a checksum of its ends, sizes, counts and parts. What does not fit is asked again.
extension Index {
    enum Verdict: UInt8 {
        case proved = 1
        case isFalse = 2
    }

    func putVerdict(
        _ verdict: Verdict,
        on delta: KnownDelta,
        _ transaction: borrowing Transaction
    ) throws {
        let checksum = Self.checksum(of: delta)
        var writer = ByteWriter()
        writer.append(checksum)
        try transaction.put(
            writer.bytes.rawSpan, in: tables.verdicts, for: Self.verdictKey(verdict, delta.name.id))
    }

    func putVerdict(_ verdict: Verdict, on delta: KnownDelta) throws {
        try environment.write { try putVerdict(verdict, on: delta, $0) }
    }

    /// Those of `deltas` of which nothing is known.
    func unjudged(_ deltas: [KnownDelta]) throws -> [KnownDelta] {
        try environment.read { transaction in
            try deltas.filter { delta in
                let checksum = Self.checksum(of: delta)
                for verdict in [Verdict.proved, .isFalse] {
                    let found = try transaction.value(
                        in: tables.verdicts, for: Self.verdictKey(verdict, delta.name.id)
                    ) { try Self.number($0, as: UInt64.self) }
                    if found == checksum { return false }
                }
                return true
            }
        }
    }

    /// Those of `deltas` that are known to be false: as a rule none, which takes one look.
    package func falseDeltas(among deltas: [KnownDelta]) -> Set<DeltaName> {
        let known = try? environment.read { transaction in
            try transaction.withCursor(over: tables.verdicts) { cursor in
                var known: [ObjectID: UInt64] = [:]
                var more = try cursor.seek(atLeast: Self.verdictKey(.isFalse, .zero), Self.verdict)
                while let (id, checksum) = more {
                    known[id] = checksum
                    more = try cursor.next(Self.verdict)
                }
                return known
            }
        }
        guard let known, !known.isEmpty else { return [] }
        return Set(
            deltas.filter { known[$0.name.id] == Self.checksum(of: $0) }.map(\.name))
    }

    private static func verdict(_ key: RawSpan, _ value: RawSpan) throws -> (ObjectID, UInt64) {
        try require(17, of: key)
        return (
            ObjectID(
                high: key.littleEndian(at: 1, as: UInt64.self).byteSwapped,
                low: key.littleEndian(at: 9, as: UInt64.self).byteSwapped),
            try number(value, as: UInt64.self)
        )
    }

    private static func verdictKey(_ verdict: Verdict, _ id: ObjectID) -> Key {
        Key().appending(verdict.rawValue).appending(id.high).appending(id.low)
    }

    /// Over all that decides what a delta says: its facts are fixed by the id of its newer end.
    private static func checksum(of delta: KnownDelta) -> UInt64 {
        let head = delta.head
        var writer = ByteWriter(reserving: 256)
        writer.append(head.from)
        writer.append(head.to)
        for value in [
            head.fromGeneration, head.fromByteCount, head.toGeneration, head.dataBlockCount,
            head.zeroBlockCount, head.freeBlockCount,
        ] {
            writer.append(value)
        }
        for part in head.parts {
            writer.append(part.id)
            for value in [
                part.firstBlock, part.endBlock, part.mapByteCount, part.mapChecksum,
            ] {
                writer.append(value)
            }
        }
        return XXH3.hash64(writer.bytes.rawSpan)
    }
}
