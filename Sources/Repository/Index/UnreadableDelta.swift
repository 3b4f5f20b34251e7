internal import RepositoryFormat

/// A delta whose map cannot be read: nothing is said of its snapshot by that, which another path may lead
/// to.
struct UnreadableDelta: Error {
    let delta: KnownDelta
    let error: RepositoryError

    /// Runs `read`, which reads the map of a delta; what is damaged of it is told apart from all else.
    static func telling<Result>(
        _ delta: KnownDelta,
        _ read: () throws -> Result
    ) throws -> Result {
        do {
            return try read()
        } catch let error as RepositoryError where error.kind == .damaged {
            throw UnreadableDelta(delta: delta, error: error)
        }
    }
}
