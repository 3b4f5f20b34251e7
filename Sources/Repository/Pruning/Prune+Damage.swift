internal import BlockModel
internal import ObjectStore
internal import RepositoryFormat

/// Damaged packs that a repair, or a backup, has made superfluous.
extension Prune {
    /// Packs that cannot be read, where everything that is needed has a place in others; none where
    /// anything lacks one, for what an unreadable pack held is not known.
    func uselessUnreadablePacks() throws -> [PrunePlan.UnreadablePack] {
        let known = Set(index.knownPacks.map(\.id))
        let unreadable = try repository.listPacks().filter { !known.contains($0.id) }
        guard !unreadable.isEmpty,
            try index.neededWithoutPlace(limit: 1, isSound: true).isEmpty
        else { return [] }
        return unreadable.map { PrunePlan.UnreadablePack(id: $0.id, byteCount: $0.byteCount) }
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
                unreadableCount += 1
            }
        }
        guard unreadableCount == 0 else {
            throw RepositoryError(
                .damaged,
                "\(lost.count) blocks that snapshots need may be in \(unreadableCount) packs that cannot "
                    + "be read; nothing is deleted: run 'varve repair', and forget the snapshots that "
                    + "lack blocks even so")
        }
    }

    /// Numbers of packs with rotten frames of which every block that is needed has a place elsewhere.
    func mendedRottenPacks(_ tallies: [PackTally]) throws -> Set<UInt32> {
        var mended: Set<UInt32> = []
        for tally in tallies {
            guard let record = index.pack(tally.number), !record.rottenFrames.isEmpty,
                let table = try? repository.readPackTable(tally.id, byteCount: tally.byteCount)
            else { continue }
            let all = try index.accounted(table, of: tally, leaving: [tally.number])
            var position = 0
            var isMended = true
            for frame in table.frames {
                let slots = position..<position + frame.header.blockCount
                position = slots.upperBound
                guard record.rottenFrames.contains(frame.byteOffset) else { continue }
                isMended = all[slots].allSatisfy { block in
                    !block.isLive
                        || block.elsewhere.contains { $0.depth <= frame.header.depth }
                }
                if !isMended { break }
            }
            if isMended { mended.insert(tally.number) }
        }
        return mended
    }
}
