internal import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import RepositoryFormat

/// Writes the live blocks of packs that are to go into new packs.
///
/// Every block is proved by its digest before it is written. A frame of which all is needed is copied as
/// it is; of others the blocks that are needed are compressed again, those behind one another together.
/// A patch stays what it is: what it is a patch of is live, and keeps a place of smaller depth.
final class Repacker {
    private let repository: Repository
    private let index: Index
    private let packs: PackWriter
    private let reader: BlockReader
    private let encoder: FrameEncoder
    private let scratch: AlignedBuffer
    /// A frame that is copied as it is.
    private let whole: AlignedBuffer
    /// Blocks of the next frame.
    private let staged: AlignedBuffer
    private var digests: [Digest] = []
    /// What was copied, and at which depth.
    private var copied: [Digest: UInt8] = [:]

    /// The level at which blocks are compressed again.
    private static let level = 3

    init(
        repository: Repository,
        index: Index,
        targetByteCount: Int,
        identifiers: any IdentifierSource
    ) throws {
        self.repository = repository
        self.index = index
        packs = PackWriter(
            repository: repository, index: index, targetByteCount: targetByteCount,
            identifiers: identifiers)
        reader = try BlockReader(repository: repository, index: index, readsWholeFrames: true)
        encoder = try FrameEncoder(blockSize: repository.blockSize, level: Self.level)
        scratch = try AlignedBuffer(byteCount: repository.blockSize.byteCount)
        let plainByteCount = Format.framePlainByteCount(repository.blockSize)
        whole = try AlignedBuffer(byteCount: FrameHeader.byteLimit + plainByteCount)
        staged = try AlignedBuffer(byteCount: plainByteCount)
    }

    /// Bytes of the packs that were written.
    var storedByteCount: UInt64 { packs.storedByteCount }

    /// Copies what lives in `table`, of a pack that goes together with the others of `leaving`.
    ///
    /// - Returns: whether every live block now has another place than in those packs.
    /// - Throws: what the store throws.
    func copy(
        _ tally: PackTally,
        _ table: PackTable,
        leaving: Set<UInt32>,
        idle: () throws -> Void
    ) throws -> Bool {
        let blocks = try index.accounted(table.digests, leaving: leaving)
        var isWhole = true
        var position = 0
        for frame in table.frames {
            try idle()
            let slots = position..<position + frame.header.blockCount
            position = slots.upperBound
            var needed: [Int] = []
            for slot in slots {
                let place = Place(pack: tally.number, frame: frame, slot: slot - slots.lowerBound)
                guard needsCopy(blocks[slot], place, table.digests[slot]) else { continue }
                do {
                    try reader.prove(place, table.digests[slot], scratch: scratch)
                    needed.append(slot)
                } catch {
                    // Its pack stays, for whoever can mend it.
                    isWhole = false
                }
            }
            if needed.isEmpty {
                continue
            } else if needed.count == slots.count {
                try copyWhole(frame, of: tally, table.digests[slots])
            } else {
                for slot in needed {
                    let place = Place(
                        pack: tally.number, frame: frame, slot: slot - slots.lowerBound)
                    try stage(place, table.digests[slot])
                }
            }
        }
        return isWhole
    }

    /// Makes all that was copied durable, and known to the index.
    func finish() throws {
        try flush()
        try packs.finish()
    }

    private func needsCopy(
        _ block: Index.AccountedBlock,
        _ place: Place,
        _ digest: Digest
    ) -> Bool {
        guard block.isLive else { return false }
        if let depth = copied[digest], depth <= place.depth { return false }
        // What patches of it rely on is a place that is no deeper than this one.
        for other in block.elsewhere where other.depth <= place.depth {
            if (try? reader.prove(other, digest, scratch: scratch)) != nil { return false }
        }
        return true
    }

    private func copyWhole(
        _ frame: FrameEntry,
        of tally: PackTally,
        _ digests: ArraySlice<Digest>
    ) throws {
        let place = Place(pack: tally.number, frame: frame, slot: 0)
        let name = ObjectNames.pack(tally.id)
        let count = place.frameByteCount
        let header: FrameHeader
        do {
            header = try whole.withMutableBytes { bytes in
                var frame = bytes._mutatingExtracting(0..<count)
                let read = try repository.store.read(
                    name, at: UInt64(place.byteOffset), into: &frame)
                guard read == count else {
                    throw FormatError.truncated(
                        expectedByteCount: count, actualByteCount: read)
                }
                let header = try FrameHeader(
                    decoding: frame.bytes, blockSize: repository.blockSize)
                try FrameHeader.verifyChecksum(of: &frame, header: header)
                guard header.blockCount == digests.count,
                    header.byteCount + header.payloadByteCount == count
                else { throw FormatError.badValue("frame") }
                return header
            }
        } catch let error as FormatError {
            throw RepositoryError.damaged(name, error)
        }
        let whole = whole
        let isAppended = try packs.append(
            frame: whole.bytes.extracting(0..<count), header: header, digests: digests)
        precondition(isAppended, "a pack was left unfinished")
        for digest in digests { note(digest, header.depth) }
    }

    private func stage(_ place: Place, _ digest: Digest) throws {
        if digests.count == Format.frameBlockLimit(repository.blockSize) { try flush() }
        try reader.prove(place, digest, scratch: scratch)
        let scratch = scratch
        staged.copy(scratch.bytes, to: digests.count * repository.blockSize.byteCount)
        digests.append(digest)
        note(digest, 0)
    }

    private func note(_ digest: Digest, _ depth: UInt8) {
        copied[digest] = min(copied[digest] ?? depth, depth)
    }

    private func flush() throws {
        guard !digests.isEmpty else { return }
        let count = digests.count * repository.blockSize.byteCount
        let stored = digests[...]
        let staged = staged
        try encoder.encode(staged.bytes.extracting(0..<count)) { frame, header in
            _ = try packs.append(frame: frame, header: header, digests: stored)
        }
        digests.removeAll(keepingCapacity: true)
    }
}
