package import BlockModel

/// The exceptions that a persistent snapshot of device-mapper keeps in its copy-on-write store: the
/// chunks of the origin that were written since the snapshot began.
///
/// Little-endian, in chunks of a size that the header gives:
///
/// | chunk               | content                                                               |
/// |---------------------|-----------------------------------------------------------------------|
/// | 0                   | magic `SnAp` (4), valid (4), version 1 (4), sectors in a chunk (4)    |
/// | 1 + (*p* + 1) · *a* | area *a*: *p* = chunk bytes / 16 exceptions: old chunk (8), new (8)   |
/// | the others          | chunks of the origin as they were                                     |
///
/// A new chunk of 0 ends the list. The kernel enters an exception before it lets the write through
/// that needs it, so that the list is never short, also after a crash; and clears *valid* when the
/// store overflows, after which nothing in it counts.
///
/// Source: the kernel's `drivers/md/dm-snap-persistent.c`.
package struct ExceptionStore {
    package enum Refusal: Error, Hashable, Sendable, CustomStringConvertible {
        case noStore
        case unknownVersion(UInt32)
        case invalid
        case badChunkSize(UInt32)
        case cutShort
        case badException(old: UInt64, new: UInt64)
        case tooManyExtents

        package var description: String {
            switch self {
            case .noStore: "it is not a copy-on-write store"
            case .unknownVersion(let version): "the store has the unknown version \(version)"
            case .invalid: "the store overflowed or failed, so writes are missing from it"
            case .badChunkSize(let count): "the store has chunks of \(count) sectors"
            case .cutShort: "the store ends in the middle of its list"
            case .badException(let old, let new): "chunk \(old) cannot be kept at \(new)"
            case .tooManyExtents: "the store lists too many extents"
            }
        }
    }

    private static let magic: UInt32 = 0x7041_6E53
    private static let sectorByteCount = 512
    private static let exceptionByteCount = 16
    private static let headerByteCount = 16
    /// 4 KiB to 4 MiB: what this program makes, and what others use.
    private static let chunkSectorLimit: UInt32 = 8192

    /// Reads the list, as far as the store of `storeByteCount` bytes goes.
    ///
    /// `read` gives so many bytes from so far on, or fewer at the end. Origin chunks at or behind
    /// `originByteCount` are refused.
    package static func changes(
        storeByteCount: UInt64,
        originByteCount: UInt64,
        blockSize: BlockSize,
        read: (_ offset: UInt64, _ byteCount: Int) throws -> [UInt8]
    ) throws -> BlockExtents {
        let header = try read(0, 4096)
        guard header.count >= headerByteCount, word(header, 0) == magic else {
            throw Refusal.noStore
        }
        guard word(header, 4) == 1 else { throw Refusal.invalid }
        guard word(header, 8) == 1 else { throw Refusal.unknownVersion(word(header, 8)) }
        let sectors = word(header, 12)
        guard sectors > 0, sectors <= chunkSectorLimit, sectors.nonzeroBitCount == 1 else {
            throw Refusal.badChunkSize(sectors)
        }
        let chunkByteCount = Int(sectors) * sectorByteCount
        let perArea = chunkByteCount / exceptionByteCount
        let chunkCount = storeByteCount / UInt64(chunkByteCount)
        let originChunkCount =
            originByteCount / UInt64(chunkByteCount)
            + (originByteCount % UInt64(chunkByteCount) == 0 ? 0 : 1)
        var extents = BlockExtentsBuilder()
        var area: UInt64 = 0
        while true {
            let place = 1 + (UInt64(perArea) + 1) * area
            // The kernel clears the area behind a full one before it counts: there always is one.
            guard place < chunkCount else { throw Refusal.cutShort }
            let bytes = try read(place * UInt64(chunkByteCount), chunkByteCount)
            guard bytes.count == chunkByteCount else { throw Refusal.cutShort }
            for index in 0..<perArea {
                let old = long(bytes, index * exceptionByteCount)
                let new = long(bytes, index * exceptionByteCount + 8)
                guard new != 0 else { return extents.finished() }
                let isMetadata = new % (UInt64(perArea) + 1) == 1
                guard new > 1, new < chunkCount, !isMetadata, old < originChunkCount else {
                    throw Refusal.badException(old: old, new: new)
                }
                let start = old * UInt64(chunkByteCount)
                let end = min(start + UInt64(chunkByteCount), originByteCount)
                let size = UInt64(blockSize.byteCount)
                guard extents.add(start / size..<(end - 1) / size + 1) else {
                    throw Refusal.tooManyExtents
                }
            }
            area += 1
        }
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
    }

    private static func long(_ bytes: [UInt8], _ offset: Int) -> UInt64 {
        (0..<8).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
    }
}
