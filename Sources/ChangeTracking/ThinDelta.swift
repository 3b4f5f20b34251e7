package import BlockModel

/// What `thin_delta` prints of two snapshots in a thin pool: the data blocks in which they differ.
///
/// A block counts as changed when it was written, provisioned or discarded, also with what it held.
///
/// Source: `thin-provisioning/thin_delta.cc` of thin-provisioning-tools 0.9; version 1 prints the same.
package struct ThinDelta {
    package enum Refusal: Error, Hashable, Sendable, CustomStringConvertible {
        case damaged(Int)
        case cutShort
        case otherSnapshots
        case badBlockSize(UInt64)
        case tooManyExtents

        package var description: String {
            switch self {
            case .damaged(let offset): "the output of thin_delta is invalid at byte \(offset)"
            case .cutShort: "the output of thin_delta is incomplete"
            case .otherSnapshots: "thin_delta reported on other snapshots"
            case .badBlockSize(let count): "thin_delta reported data blocks of \(count) sectors"
            case .tooManyExtents: "thin_delta reported too many extents"
            }
        }
    }

    private static let sectorByteCount: UInt64 = 512
    /// 64 KiB to 1 GiB: what the kernel takes.
    private static let blockSectorCounts: ClosedRange<UInt64> = 128...2 << 20

    /// Reads the differences between the snapshots `first` and `second`, of a volume of
    /// `volumeByteCount` bytes.
    package static func changes(
        _ text: [UInt8],
        first: UInt64,
        second: UInt64,
        volumeByteCount: UInt64,
        blockSize: BlockSize
    ) throws(Refusal) -> BlockExtents {
        var elements = ElementText(text)
        let pool = try next(&elements, "superblock", .begin)
        guard let sectors = pool.number("data_block_size") else { throw .badBlockSize(0) }
        guard blockSectorCounts.contains(sectors), sectors % 128 == 0 else {
            throw .badBlockSize(sectors)
        }
        let pair = try next(&elements, "diff", .begin)
        guard pair.number("left") == first, pair.number("right") == second else {
            throw .otherSnapshots
        }
        var blocks = DataBlocks(
            byteCount: sectors * sectorByteCount, volumeByteCount: volumeByteCount,
            blockSize: blockSize)
        while true {
            let element = try next(&elements)
            if element.name == "diff", element.kind == .end { break }
            guard element.kind == .empty, let begin = element.number("begin"),
                let length = element.number("length"),
                case (let end, let overflows) = begin.addingReportingOverflow(length), !overflows
            else { throw .damaged(elements.offset) }
            switch element.name {
            case "same": continue
            case "different", "left_only", "right_only":
                guard blocks.add(first: begin, end: end) else { throw .tooManyExtents }
            default: throw .damaged(elements.offset)
            }
        }
        _ = try next(&elements, "superblock", .end)
        return blocks.finished()
    }

    private static func next(_ elements: inout ElementText) throws(Refusal) -> ElementText.Element {
        let element: ElementText.Element?
        do throws(ElementText.Damage) {
            element = try elements.next()
        } catch {
            throw .damaged(error.offset)
        }
        guard let element else { throw .cutShort }
        return element
    }

    private static func next(
        _ elements: inout ElementText,
        _ name: String,
        _ kind: ElementText.Kind
    ) throws(Refusal) -> ElementText.Element {
        let element = try next(&elements)
        guard element.name == name, element.kind == kind else { throw .damaged(elements.offset) }
        return element
    }
}
