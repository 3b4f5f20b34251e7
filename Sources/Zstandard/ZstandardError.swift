internal import CZstd

/// A failure that libzstd reported.
package struct ZstandardError: Error, Hashable, CustomStringConvertible {
    package let message: String

    init(code: Int) {
        message = unsafe String(cString: ZSTD_getErrorName(code))
    }

    package var description: String { message }

    /// The value that libzstd returned, or the error that it stands for.
    static func check(_ code: Int) throws(ZstandardError) -> Int {
        guard ZSTD_isError(code) == 0 else { throw ZstandardError(code: code) }
        return code
    }
}
