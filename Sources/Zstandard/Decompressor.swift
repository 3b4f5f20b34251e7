internal import CZstd

/// Decompresses single frames; belongs to one thread.
@safe
package final class Decompressor {
    private let context: OpaquePointer

    package init() throws(ZstandardError) {
        guard let context = unsafe ZSTD_createDCtx() else { throw ZstandardError(code: -64) }
        unsafe self.context = context
        _ = try ZstandardError.check(
            unsafe ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Self.windowLogLimit))
    }

    /// Bounds the memory that a frame can ask for when a part of it is decompressed: 8 MiB.
    private static let windowLogLimit: Int32 = 23

    deinit { _ = unsafe ZSTD_freeDCtx(context) }

    /// Decompresses one frame into the start of `target`; gives the number of bytes written.
    package func decompress(
        _ source: RawSpan,
        into target: inout MutableRawSpan
    ) throws(ZstandardError) -> Int {
        // Safe: both pointers are used within the closures and with their own counts; libzstd
        // never writes past the target's count, whatever the frame says.
        let code = unsafe target.withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { source in
                unsafe ZSTD_decompressDCtx(
                    context, target.baseAddress, target.count, source.baseAddress, source.count)
            }
        }
        return try ZstandardError.check(code)
    }

    /// Decompresses at least the first `wanted` bytes of a frame, and little more; gives the number
    /// of bytes written, which is less than `wanted` only where the frame is shorter.
    package func decompress(
        _ source: RawSpan,
        atLeast wanted: Int,
        into target: inout MutableRawSpan
    ) throws(ZstandardError) -> Int {
        // Safe: as above; both positions are libzstd's own, and stay within the sizes.
        let code = unsafe target.withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { source in
                unsafe decompress(source, atLeast: wanted, into: target)
            }
        }
        // The context is in the middle of the frame.
        _ = try ZstandardError.check(
            unsafe ZSTD_DCtx_reset(context, ZSTD_reset_session_only))
        return try ZstandardError.check(code)
    }

    /// Hands libzstd one of its blocks at a time, as it asks for them, and stops in good time.
    private func decompress(
        _ source: UnsafeRawBufferPointer,
        atLeast wanted: Int,
        into target: UnsafeMutableRawBufferPointer
    ) -> Int {
        var input = unsafe ZSTD_inBuffer(src: source.baseAddress, size: 0, pos: 0)
        var output = unsafe ZSTD_outBuffer(dst: target.baseAddress, size: target.count, pos: 0)
        var asked = min(source.count, Self.firstInputByteCount)
        while unsafe output.pos < min(wanted, target.count) {
            let before = unsafe (input.pos, output.pos)
            unsafe input.size = min(source.count, input.pos + max(asked, 1))
            asked = unsafe ZSTD_decompressStream(context, &output, &input)
            if asked == 0 || ZSTD_isError(asked) != 0 { break }
            // A frame that was cut gives nothing more.
            if unsafe before == (input.pos, output.pos) { break }
        }
        return unsafe ZSTD_isError(asked) != 0 ? asked : output.pos
    }

    /// The longest frame header, `ZSTD_FRAMEHEADERSIZE_MAX`.
    private static let firstInputByteCount = 18

    /// The same as the first, for a frame that was compressed with `prefix`.
    package func decompress(
        _ source: RawSpan,
        prefix: RawSpan,
        into target: inout MutableRawSpan
    ) throws(ZstandardError) -> Int {
        // Safe: the prefix outlives the one call that it is referenced for.
        let code = unsafe prefix.withUnsafeBytes { prefix -> Int in
            let status = unsafe ZSTD_DCtx_refPrefix(context, prefix.baseAddress, prefix.count)
            guard ZSTD_isError(status) == 0 else { return status }
            return unsafe target.withUnsafeMutableBytes { target in
                unsafe source.withUnsafeBytes { source in
                    unsafe ZSTD_decompressDCtx(
                        context, target.baseAddress, target.count, source.baseAddress,
                        source.count)
                }
            }
        }
        return try ZstandardError.check(code)
    }
}
