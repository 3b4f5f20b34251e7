internal import RepositoryFormat

/// A delta whose map cannot be read: nothing is said of its snapshot by that, which another path may lead
/// to.
package struct UnreadableDelta: Error {
    package let delta: KnownDelta
    package let error: RepositoryError

    package init(delta: KnownDelta, error: RepositoryError) {
        self.delta = delta
        self.error = error
    }

    /// Runs `read`, which reads the map of a delta; what is damaged of it is told apart from all else.
    package static func telling<Result>(
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
