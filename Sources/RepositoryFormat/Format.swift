package import BlockModel

/// Magics, versions, kinds and limits of everything that is stored: the one place to look.
package enum Format {
    /// Version of every object; a reader refuses others.
    package static let version: UInt16 = 1
    /// First bytes of every object: 89 `VARVE` 0D 0A, so that a text-mode copy shows at once.
    package static let objectMagic: UInt64 = 0x0A0D_4556_5241_5689
    /// First bytes of a frame inside a pack: `VFRM`.
    package static let frameMagic: UInt32 = 0x4D52_4656
    /// First bytes of a pack's footer: `VPACKEND`.
    package static let packFooterMagic: UInt64 = 0x444E_454B_4341_5056

    package static let nameByteLimit = 255
    package static let sectionByteLimit = 32 << 20
    package static let textByteLimit = 4096
    package static let noteByteLimit = sectionByteLimit
    package static let listCountLimit = 65536

    /// Plain bytes of a frame, unless a single block is larger: what a random read may have to
    /// decompress, and what compression can look back over.
    package static let framePlainByteLimit = 2 << 20
    /// Blocks of a frame; what small blocks come up against first.
    package static let frameBlockCountLimit = 128
    package static let packByteTarget = 64 << 20
    package static let packByteLimit = 128 << 20
    /// Bounds the memory that a pack's table and the writer's book of pending digests take.
    package static let packBlockLimit = 131_072
    /// Longest chain of patches below a block.
    package static let patchDepthLimit: UInt8 = 8
    /// The patches of a chain together take at most this many times what the block takes
    /// compressed alone.
    package static let patchChainFactor = 4

    /// Largest map inside a delta object; a larger one goes to parts.
    package static let inlineMapByteLimit = 1 << 20
    package static let partByteLimit = 16 << 20
    /// Blocks of the largest volume: 1 PiB in blocks of 4 KiB.
    ///
    /// What says that it is larger would keep its readers busy without end.
    package static let volumeBlockLimit: UInt64 = 1 << 38
    /// First block number that a map cannot name.
    package static let blockIndexLimit: UInt64 = 1 << 40

    /// Frames hold whole blocks: as many as fit the limits, at least one.
    package static func frameBlockLimit(_ blockSize: BlockSize) -> Int {
        max(1, min(frameBlockCountLimit, framePlainByteLimit / blockSize.byteCount))
    }

    /// Blocks of a volume that are captured in a row, and best restored in a row: new ones share
    /// frames.
    package static func stretchBlockCount(_ blockSize: BlockSize) -> Int {
        4 * frameBlockLimit(blockSize)
    }

    /// Plain bytes of the largest frame.
    package static func framePlainByteCount(_ blockSize: BlockSize) -> Int {
        frameBlockLimit(blockSize) * blockSize.byteCount
    }
}

package enum ObjectKind: UInt8, Hashable, Sendable {
    case configuration = 1
    case pack = 2
    case delta = 3
    case part = 4
    case newest = 5
    case note = 6
    case hold = 7
    case pruneList = 8
    case featureSet = 9
}

package enum DigestKind: UInt8, Hashable, Sendable {
    case sha256 = 1
}

/// What every object of one repository has in common.
package struct RepositoryIdentity: Hashable, Sendable {
    package let id: ObjectID
    package let blockSize: BlockSize
    package let digestKind: DigestKind

    package init(id: ObjectID, blockSize: BlockSize, digestKind: DigestKind = .sha256) {
        self.id = id
        self.blockSize = blockSize
        self.digestKind = digestKind
    }
}

/// Why bytes were refused.
package enum FormatError: Error, Hashable, CustomStringConvertible {
    case truncated(expectedByteCount: Int, actualByteCount: Int)
    case trailingBytes(Int)
    case badMagic
    case unsupportedVersion(UInt16)
    case wrongKind
    case wrongName(String)
    case wrongRepository
    case badChecksum
    case reservedNotZero
    case badValue(String)
    case unknownFeatures(UInt64)
    /// What was encoded did not decode to the same value: a fault of this program or machine.
    case notReproducible

    package var description: String {
        switch self {
        case .truncated(let expected, let actual):
            "truncated: \(expected) bytes expected, \(actual) found"
        case .trailingBytes(let count): "\(count) bytes too many"
        case .badMagic: "not an object of this format"
        case .unsupportedVersion(let version):
            "format version \(version), but this program reads \(Format.version)"
        case .wrongKind: "an object of another kind"
        case .wrongName(let name): "the object is named '\(name)' inside"
        case .wrongRepository: "the object belongs to another repository"
        case .badChecksum: "checksum does not match"
        case .reservedNotZero: "reserved bytes are not zero"
        case .badValue(let field): "\(field) is out of range"
        case .unknownFeatures(let bits):
            "needs features of a newer version (bits 0x\(String(bits, radix: 16)))"
        case .notReproducible: "encoded bytes do not decode to the same value"
        }
    }
}
