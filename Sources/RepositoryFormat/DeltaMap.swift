package import BlockModel
internal import Hashing

/// A map, or a piece of one: runs in block order, then the digests of their data blocks.
///
/// | offset      | bytes | field                                                        |
/// |------------:|------:|--------------------------------------------------------------|
/// |           0 |     8 | run count *r*                                                |
/// |           8 | 8 × r | runs: bits 0–39 first block, 40–61 block count, 62–63 kind   |
/// | 8 + 8 × *r* |  32 × | digests of the data blocks, in block order                   |
package struct DeltaMap: Hashable, Sendable {
    package private(set) var runs: [BlockRun] = []
    package private(set) var digests: [Digest] = []

    private static let blockCountLimit: UInt64 = 1 << 22

    package init() {}

    package var isEmpty: Bool { runs.isEmpty }
    package var byteCount: Int { 8 + 8 * runs.count + Digest.byteCount * digests.count }
    package var endBlock: UInt64 { runs.last?.endBlock ?? 0 }

    /// Adds blocks behind those already there; joins them to the last run when they continue it.
    package mutating func append(_ kind: RunKind, firstBlock: UInt64, blockCount: UInt64) {
        precondition(kind != .data)
        appendRun(kind, firstBlock: firstBlock, blockCount: blockCount)
    }

    package mutating func append(dataBlock block: UInt64, digest: Digest) {
        appendRun(.data, firstBlock: block, blockCount: 1)
        digests.append(digest)
    }

    private mutating func appendRun(_ kind: RunKind, firstBlock: UInt64, blockCount: UInt64) {
        precondition(firstBlock >= endBlock && blockCount > 0)
        precondition(firstBlock + blockCount <= Format.blockIndexLimit)
        var first = firstBlock
        var rest = blockCount
        if let last = runs.indices.last, runs[last].kind == kind, runs[last].endBlock == first {
            let added = min(rest, Self.blockCountLimit - 1 - runs[last].blockCount)
            runs[last].blockCount += added
            first += added
            rest -= added
        }
        while rest > 0 {
            let count = min(rest, Self.blockCountLimit - 1)
            runs.append(BlockRun(kind: kind, firstBlock: first, blockCount: count))
            first += count
            rest -= count
        }
    }

    package mutating func removeAll() {
        runs.removeAll(keepingCapacity: true)
        digests.removeAll(keepingCapacity: true)
    }

    package func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: byteCount)
        writer.append(UInt64(runs.count))
        for run in runs {
            writer.append(
                run.firstBlock | run.blockCount << 40 | UInt64(run.kind.rawValue) << 62)
        }
        for digest in digests { writer.append(digest) }
        return writer.bytes
    }

    package static func checksum(_ encoded: [UInt8]) -> UInt64 { XXH3.hash64(encoded.rawSpan) }

    /// Reads a map whose blocks all lie in `blocks`.
    package init(
        decoding bytes: ArraySlice<UInt8>,
        within blocks: Range<UInt64>
    ) throws(FormatError) {
        var reader = ByteReader(bytes)
        let runCount = try reader.integer(UInt64.self)
        guard runCount <= UInt64(reader.remaining / 8) else { throw .badValue("run count") }
        runs.reserveCapacity(Int(runCount))
        var end = blocks.lowerBound
        var dataBlockCount: UInt64 = 0
        for _ in 0..<runCount {
            let word = try reader.integer(UInt64.self)
            guard let kind = RunKind(rawValue: UInt8(word >> 62)) else {
                throw .badValue("run kind")
            }
            let run = BlockRun(
                kind: kind, firstBlock: word & (Format.blockIndexLimit - 1),
                blockCount: word >> 40 & (Self.blockCountLimit - 1))
            guard run.blockCount > 0, run.firstBlock >= end, run.endBlock <= blocks.upperBound
            else { throw .badValue("run") }
            end = run.endBlock
            if kind == .data { dataBlockCount += run.blockCount }
            runs.append(run)
        }
        guard dataBlockCount == UInt64(reader.remaining / Digest.byteCount),
            reader.remaining % Digest.byteCount == 0
        else { throw .badValue("digest count") }
        digests.reserveCapacity(Int(dataBlockCount))
        for _ in 0..<dataBlockCount { digests.append(try reader.digest()) }
    }
}
