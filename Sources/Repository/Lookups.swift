internal import Synchronization

/// Counts what the indexes of a repository went through to find blocks, so that tests can see how that
/// grows.
package final class Lookups: Sendable {
    private let rows = Atomic<Int>(0)

    package init() {}

    /// Rows of digests and of places that were gone through so far.
    package var rowCount: Int { rows.load(ordering: .relaxed) }

    package func add(_ count: Int) { rows.wrappingAdd(count, ordering: .relaxed) }
}
