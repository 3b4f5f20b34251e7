package import BlockModel
internal import RepositoryFormat

/// How much of a pack is live, by the live counts.
package struct PackTally: Hashable, Sendable {
    /// The pack's number in this index.
    package let number: UInt32
    package let id: ObjectID
    package let byteCount: UInt64
    /// Blocks with different digests.
    package var blockCount: UInt64
    package var liveBlockCount: UInt64 = 0
    /// Bytes of the pack that its live blocks account for.
    package var liveByteCount: UInt64 = 0

    /// Bytes that nothing needs.
    package var unusedByteCount: UInt64 {
        if liveBlockCount == 0 { return byteCount }
        return liveBlockCount >= blockCount ? 0 : byteCount - min(byteCount, liveByteCount)
    }

    init(of pack: PackRecord, blockCount: Int) {
        number = pack.number
        id = pack.id
        byteCount = pack.byteCount
        self.blockCount = UInt64(blockCount)
    }

    static let byteCount = 24

    func encoded() -> [UInt8] {
        var writer = ByteWriter()
        for value in [blockCount, liveBlockCount, liveByteCount] { writer.append(value) }
        return writer.bytes
    }

    init?(of pack: PackRecord, decoding bytes: RawSpan) {
        guard bytes.byteCount == Self.byteCount else { return nil }
        self.init(of: pack, blockCount: 0)
        blockCount = bytes.littleEndian(at: 0, as: UInt64.self)
        liveBlockCount = bytes.littleEndian(at: 8, as: UInt64.self)
        liveByteCount = bytes.littleEndian(at: 16, as: UInt64.self)
    }
}
