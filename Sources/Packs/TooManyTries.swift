internal import ObjectStore

/// More was tried for one block than any honest one takes.
struct TooManyTries: Error, CustomStringConvertible {
    var description: String { "too many patches were tried" }
}

extension Error {
    /// Whether the same bytes would fail again: not so where the store gave none, or too much was tried.
    var isLastingFailure: Bool {
        if let below = self as? DamageBelowPatch { return below.cause.isLastingFailure }
        return !(self is ObjectStoreError || self is TooManyTries)
    }
}
