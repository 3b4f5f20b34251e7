package import BlockModel
internal import Hashing

/// Computes the digests of blocks; belongs to one thread.
///
/// No other code knows what kind of digest a repository uses: SHA-256 of the block's bytes.
package final class BlockHasher {
    private let hash = SHA256()

    package init() {}

    /// The digest of `block`, a whole block as it is on the disk, padded with zeros at the disk's end.
    package func digest(of block: RawSpan) -> Digest {
        hash.update(block)
        return Digest(hash.finish())
    }
}
