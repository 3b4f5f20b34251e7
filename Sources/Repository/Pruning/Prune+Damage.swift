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
        guard !unreadable.isEmpty, try !index.lacksNeededBlocks() else { return [] }
        return unreadable.map { PrunePlan.UnreadablePack(id: $0.id, byteCount: $0.byteCount) }
    }

    /// Numbers of packs with rotten frames of which every block that is needed has a place elsewhere.
    func mendedRottenPacks(_ tallies: [PackTally]) throws -> Set<UInt32> {
        var mended: Set<UInt32> = []
        for tally in tallies {
            guard let record = index.pack(tally.number), !record.rottenFrames.isEmpty,
                let table = try? repository.readPackTable(tally.id, byteCount: tally.byteCount)
            else { continue }
            var position = 0
            var isMended = true
            for frame in table.frames {
                let slots = position..<position + frame.header.blockCount
                position = slots.upperBound
                guard record.rottenFrames.contains(frame.byteOffset) else { continue }
                let blocks = try index.accounted(
                    Array(table.digests[slots]), leaving: [tally.number])
                isMended = blocks.allSatisfy { block in
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
