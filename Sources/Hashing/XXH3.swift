internal import CXXHash

/// XXH3 through libxxhash, which picks the widest vector instructions at run time.
///
/// Source: <https://github.com/Cyan4973/xxHash/blob/v0.8.1/xxhash.h>.
package enum XXH3 {
    /// XXH3-64 without a key: guards stored bytes against rot.
    package static func hash64(_ bytes: RawSpan) -> UInt64 {
        // Safe: the pointer is used within the closure and with its own count.
        unsafe bytes.withUnsafeBytes { unsafe varve_xxh3_64($0.baseAddress, $0.count) }
    }
}

/// XXH3-128 under a secret: the same bytes give the same value, for this secret alone.
@safe
package struct KeyedXXH3: Sendable {
    /// The length of XXH3's own secret, `XXH3_SECRET_DEFAULT_SIZE`.
    package static let secretByteCount = 192

    private let secret: [UInt8]

    /// - Precondition: `secret` has ``secretByteCount`` bytes.
    package init(secret: [UInt8]) {
        precondition(secret.count == Self.secretByteCount)
        self.secret = secret
    }

    /// The 128-bit hash of `bytes`, as its low and high words.
    package func hash128(_ bytes: RawSpan) -> (low: UInt64, high: UInt64) {
        // Safe: both pointers are used within the closures and with their own counts.
        let value = unsafe secret.withUnsafeBytes { secret in
            unsafe bytes.withUnsafeBytes { bytes in
                unsafe varve_xxh3_128_with_secret(
                    bytes.baseAddress, bytes.count, secret.baseAddress, secret.count)
            }
        }
        return (value.low64, value.high64)
    }
}
