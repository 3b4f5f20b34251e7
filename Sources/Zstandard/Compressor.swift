internal import CZstd

/// Compresses single frames at one level; belongs to one thread.
///
/// Frames carry no checksum, no dictionary id and no content size: the pack's frame header has its
/// own checksum and the block count says the size. Source: `zstd.h`, advanced compression API.
@safe
package final class Compressor {
    private let context: OpaquePointer

    /// Makes a context for `level`.
    ///
    /// `hashLog` is the logarithm of the entries of the table that finds matches; nil for what the
    /// level says. A larger one finds more in a large frame, and costs more to clear.
    package init(level: Int, hashLog: Int? = nil) throws(ZstandardError) {
        guard let context = unsafe ZSTD_createCCtx() else { throw ZstandardError(code: -64) }
        unsafe self.context = context
        try set(ZSTD_c_compressionLevel, level)
        try set(ZSTD_c_contentSizeFlag, 0)
        try set(ZSTD_c_checksumFlag, 0)
        try set(ZSTD_c_dictIDFlag, 0)
        if let hashLog { try set(ZSTD_c_hashLog, hashLog) }
    }

    deinit { _ = unsafe ZSTD_freeCCtx(context) }

    /// The levels that the library accepts.
    package static var levels: ClosedRange<Int> { Int(ZSTD_minCLevel())...Int(ZSTD_maxCLevel()) }

    /// Largest size that `byteCount` bytes can have once compressed.
    package static func bound(forByteCount byteCount: Int) -> Int { ZSTD_compressBound(byteCount) }

    /// Compresses `source` into the start of `target`; nil when it does not fit there.
    package func compress(
        _ source: RawSpan,
        into target: inout MutableRawSpan
    ) throws(ZstandardError) -> Int? {
        // Safe: both pointers are used within the closures and with their own counts.
        let code = unsafe target.withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { source in
                unsafe ZSTD_compress2(
                    context, target.baseAddress, target.count, source.baseAddress, source.count)
            }
        }
        return try finish(code)
    }

    /// The same, with `prefix` as content that the reader will have: what makes a patch.
    package func compress(
        _ source: RawSpan,
        prefix: RawSpan,
        into target: inout MutableRawSpan
    ) throws(ZstandardError) -> Int? {
        // Safe: the prefix outlives the one call that it is referenced for.
        let code = unsafe prefix.withUnsafeBytes { prefix -> Int in
            let status = unsafe ZSTD_CCtx_refPrefix(context, prefix.baseAddress, prefix.count)
            guard ZSTD_isError(status) == 0 else { return status }
            return unsafe target.withUnsafeMutableBytes { target in
                unsafe source.withUnsafeBytes { source in
                    unsafe ZSTD_compress2(
                        context, target.baseAddress, target.count, source.baseAddress,
                        source.count)
                }
            }
        }
        return try finish(code)
    }

    /// A frame that was given up leaves the context in the middle of it.
    private func finish(_ code: Int) throws(ZstandardError) -> Int? {
        guard ZSTD_isError(code) != 0 else { return code }
        _ = try ZstandardError.check(
            unsafe ZSTD_CCtx_reset(context, ZSTD_reset_session_only))
        if ZSTD_getErrorCode(code) == ZSTD_error_dstSize_tooSmall { return nil }
        throw ZstandardError(code: code)
    }

    private func set(_ parameter: ZSTD_cParameter, _ value: Int) throws(ZstandardError) {
        _ = try ZstandardError.check(
            unsafe ZSTD_CCtx_setParameter(context, parameter, Int32(value)))
    }
}
