internal import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import Packs
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex

/// Damaged packs that a repair, or a backup, has made superfluous.
extension Prune {
    /// Packs whose tables cannot be read, where everything that is needed has a place in others; none where
    /// anything lacks one, for what an unreadable pack held is not known.
    ///
    /// What their frames still give, and is needed, was proved at a place in another pack.
    func uselessUnreadablePacks() throws -> [PrunePlan.UnreadablePack] {
        let known = Set(index.knownPacks.map(\.id))
        let unreadable = try repository.listPacks().filter { !known.contains($0.id) }
        guard !unreadable.isEmpty,
            try index.neededWithoutPlace(limit: 1, isSound: true).isEmpty
        else { return [] }
        let salvage = try BlockRepair([], of: repository, index, identifiers: identifiers)
        let reader = try BlockReader(repository: repository, index: index, readsWholeFrames: true)
        let scratch = try AlignedBuffer(byteCount: repository.blockSize.byteCount)
        return try unreadable.filter { pack in
            renewHold()
            guard try repository.foreign(ObjectNames.pack(pack.id)) == nil else { return false }
            guard let digests = try contents(of: pack.id, salvage) else { return false }
            return try digests.allSatisfy { digest in
                guard let number = try index.needed(digest) else { return true }
                return try index.allPlaces(of: number).contains { place in
                    (try? reader.prove(place, digest, scratch: scratch)) != nil
                }
            }
        }.map { PrunePlan.UnreadablePack(id: $0.id, byteCount: $0.byteCount) }
    }

    /// What the frames of an unreadable pack still give, which is looked at once for all attempts to plan.
    private func contents(of pack: ObjectID, _ salvage: BlockRepair) throws -> Set<Digest>? {
        if let digests = salvaged[pack] { return digests }
        let digests = try salvage.contents(of: pack)
        if let digests, salvaged.values.reduce(digests.count, { $0 + $1.count }) <= 1 << 18 {
            salvaged[pack] = digests
        }
        return digests
    }

    /// What is among packs and parts, and is not this repository's own: it is kept.
    ///
    /// - Throws: ``RepositoryError`` of kind `damaged` where needed blocks have no place and a link stands
    ///   where packs may be that have them, and where it stands among what else says what is needed.
    func findForeign(_ timelines: [Timeline]) throws -> [ForeignObject] {
        try repository.requireObjectsOnly([ObjectNames.volumes, ObjectNames.notes])
        if try index.placelessCount() > 0 { try repository.requireObjectsOnly([ObjectNames.packs]) }
        let known = Set(index.knownPacks.map { ObjectNames.pack($0.id) })
        let packs = try repository.store.list(ObjectNames.packs).filter { !known.contains($0.name) }
        let named = Set(
            timelines.flatMap(\.deltas).flatMap(\.head.parts).map { ObjectNames.part($0.id) })
        let parts = try repository.store.list(ObjectNames.parts).filter { !named.contains($0.name) }
        return try timelines.flatMap(\.foreign)
            + repository.parted((packs + parts).map(\.name)).foreign
    }

    /// Looks into it where needed blocks are in no pack that the index knows.
    ///
    /// What such a block is a patch of looks dead. So nothing may be deleted where a pack has it after all,
    /// or may have it.
    ///
    /// - Throws: ``RepositoryError``: `index` where the index is wrong, `damaged` where a pack that cannot be
    ///   read may hold such a block.
    func examineLosses() throws {
        guard try index.placelessCount() > 0 else { return }
        let lost = try index.neededWithoutPlace(limit: LostBlocks.limit)
        var unreadableCount = 0
        for (id, byteCount) in try repository.listPacks() {
            do {
                let table = try repository.readPackTable(id, byteCount: byteCount)
                guard !table.digests.contains(where: lost.contains) else {
                    throw index.wrong("it lacks blocks that \(ObjectNames.pack(id)) holds")
                }
            } catch let error as RepositoryError where error.kind == .damaged {
                if try repository.foreign(ObjectNames.pack(id))?.isUseless == true { continue }
                unreadableCount += 1
            }
        }
        guard unreadableCount == 0 else {
            throw RepositoryError(
                .damaged,
                "\(lost.count) blocks that snapshots need may be in \(unreadableCount) packs that cannot "
                    + "be read; nothing is deleted: run 'varve repair', then forget the snapshots "
                    + "that still lack blocks")
        }
    }

    /// Numbers of packs with bad frames of which every block that is needed has a place elsewhere: one
    /// that is no deeper, or any where the bad one gives nothing, not even in part.
    func mendedRottenPacks(_ tallies: [PackTally]) throws -> Set<UInt32> {
        var mended: Set<UInt32> = []
        guard tallies.contains(where: { index.pack($0.number)?.badFrames.isEmpty == false })
        else { return mended }
        let reader = try BlockReader(repository: repository, index: index)
        let scratch = try AlignedBuffer(byteCount: repository.blockSize.byteCount)
        for tally in tallies {
            guard let record = index.pack(tally.number), !record.badFrames.isEmpty,
                let table = try? repository.readPackTable(tally.id, byteCount: tally.byteCount)
            else { continue }
            let all = try index.counted(table, of: tally, excludingPacks: [tally.number])
            var position = 0
            var isMended = true
            for frame in table.frames where isMended {
                let slots = position..<position + frame.header.blockCount
                position = slots.upperBound
                guard record.badFrames.contains(frame.byteOffset) else { continue }
                isMended = slots.allSatisfy { slot in
                    let block = all[slot]
                    let depth = frame.header.depth
                    if !block.isLive || block.elsewhere.contains(where: { $0.depth <= depth }) {
                        return true
                    }
                    let place = Place(
                        pack: tally.number, frame: frame, slot: slot - slots.lowerBound)
                    return !block.elsewhere.isEmpty
                        && (try? reader.prove(place, table.digests[slot], scratch: scratch)) == nil
                }
            }
            if isMended { mended.insert(tally.number) }
        }
        return mended
    }
}
