package import BlockModel

/// What `era_invalidate` prints: the blocks of a dm-era target that were written since an era.
///
/// Source: `era/era_invalidate.cc` of thin-provisioning-tools 0.9; version 1 prints the same.
package struct EraBlocks {
    package enum Refusal: Error, Hashable, Sendable, CustomStringConvertible {
        case damaged
        case cutShort
        case tooManyExtents

        package var description: String {
            switch self {
            case .damaged: "the output of era_invalidate is invalid"
            case .cutShort: "the output of era_invalidate is incomplete"
            case .tooManyExtents: "era_invalidate reported too many extents"
            }
        }
    }

    /// Reads the blocks, each of `blockByteCount` bytes, of a volume of `volumeByteCount` bytes.
    ///
    /// - Precondition: `blockByteCount` is above 0.
    package static func changes(
        _ text: [UInt8],
        blockByteCount: UInt64,
        volumeByteCount: UInt64,
        blockSize: BlockSize
    ) throws(Refusal) -> BlockExtents {
        var elements = ElementText(text)
        var blocks = DataBlocks(
            byteCount: blockByteCount, volumeByteCount: volumeByteCount, blockSize: blockSize)
        guard let start = try next(&elements), start.name == "blocks", start.kind == .begin else {
            throw .damaged
        }
        while let element = try next(&elements) {
            let isAdded: Bool
            switch (element.name, element.kind) {
            case ("blocks", .end): return blocks.finished()
            case ("block", .empty):
                guard let block = element.number("block"), block < .max else { throw .damaged }
                isAdded = blocks.add(first: block, end: block + 1)
            case ("range", .empty):
                guard let begin = element.number("begin"), let end = element.number("end"),
                    begin < end
                else { throw .damaged }
                isAdded = blocks.add(first: begin, end: end)
            default: throw .damaged
            }
            guard isAdded else { throw .tooManyExtents }
        }
        throw .cutShort
    }

    private static func next(
        _ elements: inout ElementText
    ) throws(Refusal) -> ElementText.Element? {
        do throws(ElementText.Damage) {
            return try elements.next()
        } catch {
            throw .damaged
        }
    }
}
