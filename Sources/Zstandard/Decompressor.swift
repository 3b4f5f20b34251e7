internal import CZstd

/// Decompresses single frames; belongs to one thread.
@safe
package final class Decompressor {
    private let context: OpaquePointer

    package init() throws(ZstandardError) {
        guard let context = unsafe ZSTD_createDCtx() else { throw ZstandardError(code: -64) }
        unsafe self.context = context
    }

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

    /// The same, for a frame that was compressed with `prefix`.
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
