import Hashing

/// Checksums of headers that tests forge.
enum TestHash {
    static func xxh3(_ bytes: [UInt8]) -> UInt64 { XXH3.hash64(bytes.span.bytes) }
}
