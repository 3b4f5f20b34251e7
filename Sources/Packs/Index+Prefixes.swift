package import BlockModel
package import Repository
package import RepositoryIndex
package import RepositoryModel

extension Index {
    /// Counts all packs that the index knows, and all deltas of the volumes.
    ///
    /// Patches are read by a reader of this repository.
    ///
    /// - Parameters:
    ///   - timelines: all volumes.
    ///   - repository: where maps and packs are.
    ///   - now: the time.
    ///   - isRecount: whether everything is counted again in any case.
    /// - Returns: what was done.
    /// - Throws: ``RepositoryError`` of kind `damaged` when a map that is needed or a table cannot be read.
    package func updateLiveCounts(
        of timelines: [Timeline],
        in repository: Repository,
        now: Timestamp,
        isRecount: Bool
    ) throws -> LiveCountReport {
        try updateLiveCounts(of: timelines, in: repository, now: now, isRecount: isRecount) {
            let reader = try BlockReader(repository: repository, index: self)
            return { try reader.prefixes(of: $0) }
        }
    }
}
