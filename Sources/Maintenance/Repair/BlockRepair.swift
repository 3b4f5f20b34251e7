package import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import Packs
package import Repository
internal import RepositoryFormat
package import RepositoryIndex
package import RepositoryModel

/// Stores again, in full, blocks that no place gives any more; each is proved by its digest first.
///
/// Belongs to one thread. What is given is looked at by its content alone, so that anything may be tried:
/// packs whose tables are lost, other repositories, disks.
package final class BlockRepair {
    private let repository: Repository
    private let index: Index
    private let copier: FrameCopier
    /// Reads whole frames: what it gives is as good as ever.
    private let reader: BlockReader
    /// Reads what it can of bad frames.
    private let partialReader: BlockReader
    private let hasher = BlockHasher()
    private let plain: AlignedBuffer
    private let prefix: AlignedBuffer
    /// What is still to be found.
    package private(set) var lost: Set<Digest>
    package private(set) var mendedCount = 0
    /// Digests of what is looked at, where that is all that is wanted.
    private var seen: Set<Digest>?
    /// Whether a whole frame could not be decoded.
    private var isUndecoded = false
    /// Bytes that were hashed, and plain bytes that were decoded, to salvage packs.
    package private(set) var salvagedByteCount = 0

    /// - Parameters:
    ///   - lost: the blocks to find.
    ///   - repository: where they are missed; its packs are known to `index`.
    ///   - index: the index.
    ///   - identifiers: gives ids of packs.
    /// - Throws: when there is no memory.
    package init(
        _ lost: Set<Digest>,
        of repository: Repository,
        _ index: Index,
        identifiers: any IdentifierSource
    ) throws {
        self.lost = lost
        self.repository = repository
        self.index = index
        copier = try FrameCopier(
            blockSize: repository.blockSize,
            packs: PackWriter(repository: repository, index: index, identifiers: identifiers))
        reader = try BlockReader(repository: repository, index: index, readsWholeFrames: true)
        partialReader = try BlockReader(repository: repository, index: index)
        plain = try AlignedBuffer(byteCount: Format.framePlainByteCount(repository.blockSize))
        prefix = try AlignedBuffer(byteCount: 2 * repository.blockSize.byteCount)
    }

    /// Looks at whole blocks, one behind the other; those that are lost are stored.
    package func offer(_ blocks: RawSpan) throws {
        let size = repository.blockSize.byteCount
        for start in stride(from: 0, to: blocks.byteCount - size + 1, by: size) {
            let block = blocks.extracting(start..<start + size)
            let digest = hasher.digest(of: block)
            guard seen == nil else {
                seen?.insert(digest)
                continue
            }
            guard lost.remove(digest) != nil else { continue }
            try copier.add(block, digest)
            mendedCount += 1
        }
    }

    /// Reads what is lost from another repository, as far as it has it.
    ///
    /// - Throws: what storing here throws; what cannot be read there is left.
    package func take(from other: Repository, _ otherIndex: Index) throws {
        guard other.blockSize == repository.blockSize else { return }
        let otherReader = try BlockReader(repository: other, index: otherIndex)
        for digest in lost.sorted() {
            guard let number = try otherIndex.numberOf(digest),
                (try? plain.withMutableBytes {
                    try otherReader.read(number, digest: digest, into: &$0)
                }) != nil
            else { continue }
            let plain = plain
            try offer(plain.bytes.extracting(0..<repository.blockSize.byteCount))
        }
    }

    /// Looks for frames in packs from their first bytes on, whatever their tables say.
    ///
    /// What patches are patches of may be found only on the way: packs are gone through again for as long
    /// as that gives something, and not more often than a block may be a patch of a patch.
    ///
    /// - Returns: frames that were whole.
    /// - Throws: what storing throws.
    package func salvage(_ packs: Set<ObjectID>) throws -> Int {
        var count = 0
        var left = lost.count
        var roundCount = 0
        repeat {
            left = lost.count
            roundCount += 1
            count = 0
            for pack in packs.sorted(by: { $0.hexadecimal < $1.hexadecimal }) {
                count += try salvage(pack)
            }
            try finish()
        } while lost.count < left && roundCount <= Int(Format.patchDepthLimit)
        return count
    }

    /// Digests of all blocks that the whole frames of a pack give, whatever its table says; nil where its
    /// bytes cannot be read, or one of these cannot be decoded now.
    func contents(of pack: ObjectID) throws -> Set<Digest>? {
        seen = []
        isUndecoded = false
        defer { seen = nil }
        _ = try salvage(pack)
        return isUndecoded ? nil : seen
    }

    private func salvage(_ pack: ObjectID) throws -> Int {
        let name = ObjectNames.pack(pack)
        guard !lost.isEmpty || seen != nil else { return 0 }
        guard var bytes = try? repository.store.read(name, limit: Format.packByteLimit) else {
            isUndecoded = true
            return 0
        }
        let decoder = try FrameDecoder()
        var count = 0
        var position = 0
        // Frames of a pack that somebody wrote to keep readers busy may overlap, and be any number.
        var vainBytesLeft = Self.vainFactor * max(bytes.count, plain.byteCount)
        var blocksLeft = Format.packBlockLimit
        while position + FrameHeader.byteCount <= bytes.count {
            guard bytes.rawSpan.littleEndian(at: position, as: UInt32.self) == Format.frameMagic,
                let header = readHeader(at: position, in: bytes)
            else {
                position += 1
                continue
            }
            let frameByteCount = header.byteCount + header.payloadByteCount
            guard vainBytesLeft >= frameByteCount, blocksLeft >= header.blockCount else {
                isUndecoded = true
                break
            }
            salvagedByteCount += frameByteCount
            guard isWhole(header, at: position, in: &bytes) else {
                vainBytesLeft -= frameByteCount
                position += 1
                continue
            }
            blocksLeft -= header.blockCount
            salvagedByteCount += header.blockCount * repository.blockSize.byteCount
            let start = position + header.byteCount
            try decode(
                header, bytes.rawSpan.extracting(start..<start + header.payloadByteCount),
                decoder)
            position = start + header.payloadByteCount
            count += 1
        }
        return count
    }

    /// Stores again what can still be read of bad frames and is nowhere else, so that nothing relies on
    /// them any more.
    ///
    /// - Returns: how many blocks that was, those that were lost among them.
    /// - Throws: what storing throws.
    package func rescue(_ frames: [BadFrame]) throws -> Int {
        var count = 0
        // Its places are looked up once, however many frames claim a block.
        var rescued: Set<Digest> = []
        let size = repository.blockSize.byteCount
        for (pack, frames) in Dictionary(grouping: frames, by: \.pack) {
            guard let record = index.knownPacks.first(where: { $0.id == pack }),
                let table = try? repository.readPackTable(pack, byteCount: record.byteCount)
            else { continue }
            let offsets = Set(frames.map(\.byteOffset))
            var position = 0
            for frame in table.frames {
                let slots = position..<position + frame.header.blockCount
                position = slots.upperBound
                guard offsets.contains(frame.byteOffset) else { continue }
                for digest in table.digests[slots] {
                    guard rescued.insert(digest).inserted,
                        let number = try index.numberOf(digest),
                        try index.allPlaces(of: number).allSatisfy({
                            index.pack($0.pack)?.isBad($0) != false
                        }),
                        (try? plain.withMutableBytes {
                            try partialReader.read(number, digest: digest, into: &$0)
                        }) != nil
                    else { continue }
                    let plain = plain
                    try copier.add(plain.bytes.extracting(0..<size), digest)
                    if lost.remove(digest) != nil { mendedCount += 1 }
                    count += 1
                }
            }
        }
        return count
    }

    /// Makes durable what was found, and lets the index know it; what can be read again with that is
    /// mended too, except blocks in bad frames: ``rescue(_:)`` is for those.
    package func finish() throws {
        try copier.finish()
        for digest in lost {
            guard let number = try index.numberOf(digest),
                (try? plain.withMutableBytes {
                    try reader.read(number, digest: digest, into: &$0)
                }) != nil
            else { continue }
            lost.remove(digest)
            mendedCount += 1
        }
    }

    /// What is hashed of a pack in vain, for each of its bytes: the frames of a true one do not overlap.
    private static let vainFactor = 4

    private func readHeader(at position: Int, in bytes: [UInt8]) -> FrameHeader? {
        guard
            let header = try? FrameHeader(
                decoding: bytes.rawSpan.extracting(position..<bytes.count),
                blockSize: repository.blockSize),
            position + header.byteCount + header.payloadByteCount <= bytes.count
        else { return nil }
        return header
    }

    private func isWhole(
        _ header: FrameHeader,
        at position: Int,
        in bytes: inout [UInt8]
    ) -> Bool {
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        var frame = raw._mutatingExtracting(
            position..<position + header.byteCount + header.payloadByteCount)
        return (try? FrameHeader.verifyChecksum(of: &frame, header: header)) != nil
    }

    /// Looks at the blocks of a frame; a patch whose prefix cannot be read is passed over.
    private func decode(
        _ header: FrameHeader,
        _ payload: RawSpan,
        _ decoder: FrameDecoder
    ) throws {
        let size = repository.blockSize.byteCount
        for (position, digest) in header.prefixes.enumerated() {
            guard let number = try index.numberOf(digest) else {
                isUndecoded = true
                return
            }
            do {
                try prefix.withMutableBytes { bytes in
                    var block = bytes._mutatingExtracting(position * size..<(position + 1) * size)
                    try reader.read(number, digest: digest, into: &block)
                }
            } catch {
                isUndecoded = true
                return
            }
        }
        let expected = header.blockCount * size
        let prefix = prefix
        let count = try? plain.withMutableBytes { bytes in
            try decoder.decode(
                payload, header.kind,
                prefix: prefix.bytes.extracting(0..<header.prefixes.count * size), into: &bytes)
        }
        guard count == expected else { return }
        let plain = plain
        try offer(plain.bytes.extracting(0..<expected))
    }
}
