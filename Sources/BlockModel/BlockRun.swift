/// What a delta says of consecutive blocks.
package enum RunKind: UInt8, Hashable, Sendable, BitwiseCopyable {
    /// Blocks with content, named by one digest each.
    case data = 1
    /// Reads as zeros and takes no storage.
    case zero = 2
    /// The source said that the content does not matter; reads as zeros.
    case free = 3
}

/// Consecutive blocks of one kind.
package struct BlockRun: Hashable, Sendable, BitwiseCopyable {
    package let kind: RunKind
    package let firstBlock: UInt64
    package var blockCount: UInt64

    package init(kind: RunKind, firstBlock: UInt64, blockCount: UInt64) {
        self.kind = kind
        self.firstBlock = firstBlock
        self.blockCount = blockCount
    }

    package var endBlock: UInt64 { firstBlock + blockCount }
}
