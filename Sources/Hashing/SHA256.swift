internal import CCrypto

/// SHA-256 through libcrypto, which uses the processor's SHA instructions.
///
/// One instance belongs to one thread; its context is reused, so that hashing allocates nothing.
/// Source: `EVP_DigestInit(3)`.
@safe
package final class SHA256 {
    package static let byteCount = 32

    private let context: OpaquePointer

    package init() {
        guard let context = unsafe EVP_MD_CTX_new() else {
            fatalError("libcrypto could not allocate a digest context: out of memory")
        }
        unsafe self.context = context
        begin()
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    /// Forgets what was hashed so far.
    package func begin() {
        // Fails only when SHA-256 is not provided, which no supported libcrypto allows.
        let status = unsafe EVP_DigestInit_ex(context, EVP_sha256(), nil)
        precondition(status == 1, "libcrypto offers no SHA-256")
    }

    package func update(_ bytes: RawSpan) {
        // Safe: the pointer is used within the closure and with its own count.
        let status = unsafe bytes.withUnsafeBytes {
            unsafe EVP_DigestUpdate(context, $0.baseAddress, $0.count)
        }
        precondition(status == 1, "libcrypto refused to hash")
    }

    /// Ends the hash and begins a new one; gives the digest as four big-endian words.
    package func finish() -> (UInt64, UInt64, UInt64, UInt64) {
        var output = (UInt64(0), UInt64(0), UInt64(0), UInt64(0))
        // Safe: the tuple has exactly the 32 bytes that SHA-256 writes.
        let status = unsafe withUnsafeMutableBytes(of: &output) { buffer in
            unsafe EVP_DigestFinal_ex(
                context, buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), nil)
        }
        precondition(status == 1, "libcrypto refused to finish a hash")
        begin()
        return (
            UInt64(bigEndian: output.0), UInt64(bigEndian: output.1),
            UInt64(bigEndian: output.2), UInt64(bigEndian: output.3)
        )
    }
}
