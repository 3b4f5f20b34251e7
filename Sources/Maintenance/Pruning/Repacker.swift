internal import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import Packs
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex

/// Writes the live blocks of packs that are to go into new packs.
///
/// Every block is proved by its digest before it is written. A frame of which all is needed is copied as
/// it is; of others the blocks that are needed are compressed again, those behind one another together.
/// A patch stays what it is: what it is a patch of is live, and keeps a place of smaller depth.
final class Repacker {
    private let repository: Repository
    private let index: Index
    private let copier: FrameCopier
    private let reader: BlockReader
    /// Makes do with as much of a frame as is needed, as restores do.
    private let lenientReader: BlockReader
    private let scratch: AlignedBuffer
    /// What was copied, and at which depth.
    private var copied: [Digest: UInt8] = [:]

    init(
        repository: Repository,
        index: Index,
        targetByteCount: Int,
        identifiers: any IdentifierSource
    ) throws {
        self.repository = repository
        self.index = index
        copier = try FrameCopier(
            blockSize: repository.blockSize,
            packs: PackWriter(
                repository: repository, index: index, targetByteCount: targetByteCount,
                identifiers: identifiers))
        reader = try BlockReader(repository: repository, index: index, readsWholeFrames: true)
        lenientReader = try BlockReader(repository: repository, index: index)
        scratch = try AlignedBuffer(byteCount: repository.blockSize.byteCount)
    }

    /// Bytes of the packs that were written.
    var storedByteCount: UInt64 { copier.storedByteCount }

    /// Copies what lives in `table`, of a pack that goes together with the others of `excludingPacks`.
    ///
    /// - Returns: whether every live block now has another place than in those packs.
    /// - Throws: what the store throws.
    func copy(
        _ tally: PackTally,
        _ table: PackTable,
        excludingPacks: Set<UInt32>,
        idle: () throws -> Void
    ) throws -> Bool {
        let blocks = try index.counted(table, of: tally, excludingPacks: excludingPacks)
        var isWhole = true
        var position = 0
        for frame in table.frames {
            try idle()
            let slots = position..<position + frame.header.blockCount
            position = slots.upperBound
            var needed: [Int] = []
            for slot in slots {
                let place = Place(pack: tally.number, frame: frame, slot: slot - slots.lowerBound)
                switch need(of: blocks[slot], at: place, table.digests[slot]) {
                case .copy: needed.append(slot)
                case .nothing: break
                // Its pack stays, so a repair can still use it.
                case .help: isWhole = false
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
    func finish() throws { try copier.finish() }

    /// What is to be done about a block at a place that goes.
    private enum Need {
        case nothing, copy
        /// It lives, and cannot be read.
        case help
    }

    /// Of several places that go, one that can be read is copied, the shallowest: what deeper ones are
    /// patches of may be dead for its sake.
    private func need(
        of block: Index.CountedBlock,
        at place: Place,
        _ digest: Digest
    ) -> Need {
        guard block.isLive else { return .nothing }
        if copied[digest] != nil { return .nothing }
        let best = block.excluded.first { isReadable($0, digest) }
        // What patches of it rely on is a place that is no deeper than the best.
        let depth = best?.depth ?? place.depth
        if block.elsewhere.contains(where: { $0.depth <= depth && isReadable($0, digest) }) {
            return .nothing
        }
        guard let best else { return isUseless(block, digest) ? .nothing : .help }
        return best == place ? .copy : .nothing
    }

    /// Whether nothing can rely on any place of a block that goes: none gives it, not even in part, and
    /// one that stays does.
    private func isUseless(_ block: Index.CountedBlock, _ digest: Digest) -> Bool {
        block.excluded.allSatisfy { place in
            (try? lenientReader.prove(place, digest, scratch: scratch)) == nil
        } && block.elsewhere.contains { isReadable($0, digest) }
    }

    private func isReadable(_ place: Place, _ digest: Digest) -> Bool {
        (try? reader.prove(place, digest, scratch: scratch)) != nil
    }

    private func copyWhole(
        _ frame: FrameEntry,
        of tally: PackTally,
        _ digests: ArraySlice<Digest>
    ) throws {
        let place = Place(pack: tally.number, frame: frame, slot: 0)
        let depth = try copier.copyFrame(at: place, of: tally.id, in: repository, digests)
        guard let depth else { preconditionFailure("a pack was left unfinished") }
        for digest in digests { note(digest, depth) }
    }

    private func stage(_ place: Place, _ digest: Digest) throws {
        try reader.prove(place, digest, scratch: scratch)
        let scratch = scratch
        try copier.add(scratch.bytes, digest)
        note(digest, 0)
    }

    private func note(_ digest: Digest, _ depth: UInt8) {
        copied[digest] = min(copied[digest] ?? depth, depth)
    }
}
