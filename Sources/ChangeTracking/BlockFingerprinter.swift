package import BlockModel
package import Hashing

/// Says of blocks in memory whether they are still what a fingerprint knows.
package struct BlockFingerprinter: Sendable {
    private let hash: KeyedXXH3
    private let blockSize: BlockSize
    /// The fingerprint of a block of zeros under this secret.
    package let zero: Fingerprint

    package init(hash: KeyedXXH3, blockSize: BlockSize) {
        self.hash = hash
        self.blockSize = blockSize
        let zeros = [UInt8](repeating: 0, count: blockSize.byteCount)
        zero = Self.fingerprint(of: zeros.rawSpan, hash)
    }

    /// The fingerprint of one block.
    package func fingerprint(of block: RawSpan) -> Fingerprint { Self.fingerprint(of: block, hash) }

    private static func fingerprint(of block: RawSpan, _ hash: KeyedXXH3) -> Fingerprint {
        let value = hash.hash128(block)
        return Fingerprint(low: value.low, high: value.high)
    }
}

/// A block whose fingerprint is new or unknown: it may have changed.
package struct Candidate: Hashable, Sendable {
    /// Position among the blocks that were compared.
    package let position: Int
    package let fingerprint: Fingerprint

    package init(position: Int, fingerprint: Fingerprint) {
        self.position = position
        self.fingerprint = fingerprint
    }
}

extension BlockFingerprinter {
    /// Appends every block of `blocks` that `known` does not prove unchanged.
    ///
    /// `known` gives the fingerprint of the block at a position; nil where there is none.
    package func appendCandidates(
        in blocks: RawSpan,
        known: (Int) -> Fingerprint?,
        to candidates: inout [Candidate]
    ) {
        let size = blockSize.byteCount
        for position in 0..<blocks.byteCount / size {
            let start = position * size
            let current = fingerprint(of: blocks.extracting(start..<start + size))
            if known(position) != current {
                candidates.append(Candidate(position: position, fingerprint: current))
            }
        }
    }
}
