package import BlockModel
internal import Synchronization

/// The same ids for the same seed, whichever thread asks.
package final class SeededIdentifiers: IdentifierSource {
    private let generator: Mutex<SeededGenerator>

    package init(seed: UInt64) { generator = Mutex(SeededGenerator(seed: seed)) }

    package func next() -> ObjectID { generator.withLock { ObjectID(from: &$0) } }
}
