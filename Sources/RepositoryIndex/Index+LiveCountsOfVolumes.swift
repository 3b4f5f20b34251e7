package import BlockModel
package import Repository
internal import RepositoryFormat
package import RepositoryModel

/// Gives the digests of the blocks whose bytes a patch needs, the nearest first.
///
/// To read a patch takes a reader of frames, and those are above the index.
package typealias PrefixReader = (_ patch: Place) throws -> [Digest]

extension Index {
    /// Counts what the repository has: all packs that the index knows, and all deltas of its volumes.
    ///
    /// One whose map cannot be read is passed over where all that its volume has is proved without it:
    /// nothing needs it then.
    ///
    /// - Parameters:
    ///   - timelines: all volumes.
    ///   - repository: where the maps are.
    ///   - now: the time.
    ///   - isRecount: whether everything is counted again in any case.
    ///   - prefixes: makes what reads the patches of packs that are entered.
    /// - Returns: what was done.
    /// - Throws: ``RepositoryError`` of kind `damaged` when a map that is needed or a table cannot be read.
    package func updateLiveCounts(
        of timelines: [Timeline],
        in repository: Repository,
        now: Timestamp,
        isRecount: Bool,
        prefixes: () throws -> PrefixReader
    ) throws -> LiveCountReport {
        var timelines = timelines
        var passed: Set<DeltaName> = []
        while true {
            do {
                return try updateLiveCounts(
                    timelines.flatMap(\.allDeltas).filter { !passed.contains($0.name) },
                    of: repository, now: now, isRecount: isRecount, prefixes: prefixes)
            } catch let error as UnreadableDelta {
                let name = error.delta.name
                let volume = timelines.firstIndex { $0.volume == name.volume }
                guard let volume, passed.insert(name).inserted else { throw error.error }
                timelines[volume] = timelines[volume].excluding([Timeline.Unproved(error)])
                guard try judged(timelines[volume], with: repository).isSound else {
                    throw error.error
                }
            }
        }
    }
}
