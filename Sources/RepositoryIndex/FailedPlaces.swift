internal import BlockModel
internal import ObjectStore
internal import RepositoryFormat
internal import Synchronization

/// Places that did not give their blocks since the index was opened; shared by its readers.
///
/// None is tried twice in a command, so that whatever packs claim, all that readers do in vain is in
/// proportion to what the packs have.
package final class FailedPlaces: Sendable {
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
    package var generation: UInt64 { state.withLock { $0.generation } }

    package func contains(_ place: Place) -> Bool {
        state.withLock { state in
            place.kind.isPatch
                ? state.patches.contains(Key(place)) : state.plain.contains(Key(place))
        }
    }

    /// Whether it is kept.
    package func insert(_ place: Place) -> Bool {
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
