internal import BlockModel
package import RepositoryFormat
internal import Zstandard

/// Turns frames back into plain blocks, what ``FrameEncoder`` is for in the other direction; belongs to one
/// thread.
package final class FrameDecoder {
    private let decompressor: Decompressor

    package init() throws { decompressor = try Decompressor() }

    /// Decodes the payload of a frame into the start of `target`.
    ///
    /// - Parameters:
    ///   - payload: what follows the header, all of it.
    ///   - kind: what the header says that it is.
    ///   - prefix: the blocks that a patch depends on, in the order of its header; empty for other frames.
    ///   - target: never written past its end, whatever the frame says.
    /// - Returns: the number of bytes written.
    /// - Throws: an error where the payload is not what its kind says, or is too long for `target`.
    package func decode(
        _ payload: RawSpan,
        _ kind: FrameKind,
        prefix: RawSpan = RawSpan(),
        into target: inout MutableRawSpan
    ) throws -> Int {
        switch kind {
        case .stored:
            guard payload.byteCount <= target.byteCount else {
                throw FormatError.badValue("payload length")
            }
            target.copy(payload, to: 0)
            return payload.byteCount
        case .zstd:
            return try decompressor.decompress(payload, into: &target)
        case .patch, .patchOfTwo:
            return try decompressor.decompress(payload, prefix: prefix, into: &target)
        }
    }

    /// Decodes at least the first `wanted` bytes of a compressed frame from the start of its payload, and
    /// little more.
    ///
    /// - Returns: the number of bytes written, less than `wanted` where `payload` gives no more.
    /// - Throws: an error where the payload is not what was compressed.
    package func decodeStart(
        of payload: RawSpan,
        atLeast wanted: Int,
        into target: inout MutableRawSpan
    ) throws -> Int {
        try decompressor.decompress(payload, atLeast: wanted, into: &target)
    }
}
