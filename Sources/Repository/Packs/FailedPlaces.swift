internal import BlockModel
internal import ObjectStore
internal import RepositoryFormat
internal import Synchronization

/// Places that did not give their blocks since the index was opened; shared by its readers.
///
/// None is tried twice in a command, so that whatever packs claim, all that readers do in vain is in
/// proportion to what the packs have.
final class FailedPlaces: Sendable {
    private struct Key: Hashable {
        let pack: UInt32
        let byteOffset: UInt32
        let slot: UInt8

        init(_ place: Place) {
            pack = place.pack
            byteOffset = place.byteOffset
            slot = place.slot
        }
    }

    private struct State {
        var plain: Set<Key> = []
        var patches: Set<Key> = []
        var generation: UInt64 = 0
    }

    /// More are not kept: then the bound of a single block is what ends it.
    private static let limit = 1 << 20
    private let state = Mutex(State())

    /// Changes when what failed may succeed.
    var generation: UInt64 { state.withLock { $0.generation } }

    func contains(_ place: Place) -> Bool {
        state.withLock { state in
            place.kind.isPatch
                ? state.patches.contains(Key(place)) : state.plain.contains(Key(place))
        }
    }

    /// Whether it is kept.
    func insert(_ place: Place) -> Bool {
        state.withLock { state in
            guard state.plain.count + state.patches.count < Self.limit else { return false }
            if place.kind.isPatch {
                state.patches.insert(Key(place))
            } else {
                state.plain.insert(Key(place))
            }
            return true
        }
    }

    /// New packs may hold what patches lacked.
    func forgetPatches() {
        state.withLock { state in
            state.patches.removeAll()
            state.generation += 1
        }
    }
}

/// More was tried for one block than any honest one takes.
struct TooManyTries: Error, CustomStringConvertible {
    var description: String { "too many patches were tried" }
}

/// What one reader remembers of blocks with so many places that looking them up takes long.
struct CrowdedBlocks {
    /// Blocks with fewer places are looked up each time.
    static let placeCount = 8
    private static let limit = 1 << 14

    private var proved: [BlockNumber: Place] = [:]
    /// Of each, the depth below which no place gives it.
    private var hopeless: [BlockNumber: UInt8] = [:]
    private var generation: UInt64 = 0

    mutating func keepUp(with failures: FailedPlaces) {
        let now = failures.generation
        guard now != generation else { return }
        self = CrowdedBlocks()
        generation = now
    }

    func isHopeless(_ number: BlockNumber, below depth: UInt8) -> Bool {
        hopeless[number].map { depth <= $0 } ?? false
    }

    func proved(_ number: BlockNumber, below depth: UInt8) -> Place? {
        proved[number].flatMap { $0.depth < depth ? $0 : nil }
    }

    mutating func noteProved(_ number: BlockNumber, _ place: Place?) {
        if proved.count >= Self.limit { proved.removeAll() }
        proved[number] = place
    }

    mutating func noteHopeless(_ number: BlockNumber, below depth: UInt8) {
        if hopeless.count >= Self.limit { hopeless.removeAll() }
        hopeless[number] = max(depth, hopeless[number] ?? 0)
    }
}

extension Error {
    /// Whether the same bytes would fail again: not so where the store gave none, or too much was tried.
    var isLastingFailure: Bool {
        if let below = self as? DamageBelowPatch { return below.cause.isLastingFailure }
        return !(self is ObjectStoreError || self is TooManyTries)
    }
}
