internal import BlockModel
internal import Repository
internal import RepositoryFormat
internal import Synchronization

/// Counts what a capture would store.
///
/// Of a very large one it remembers only the last digests, so that blocks that repeat far apart are
/// counted each time.
final class CountingSink: FrameSink {
    private struct State {
        var pending: Set<Digest> = []
        var byteCount: UInt64 = 0
    }

    private static let digestLimit = 1 << 20
    private let state = Mutex(State())

    func claim(_ digest: Digest) -> Bool {
        state.withLock { state in
            if state.pending.count >= Self.digestLimit { state.pending.removeAll() }
            return state.pending.insert(digest).inserted
        }
    }

    func unclaim(_ digest: Digest) { state.withLock { _ = $0.pending.remove(digest) } }

    func holdsInFull(_ digest: Digest) -> Bool { state.withLock { $0.pending.contains(digest) } }

    func append(
        frame: RawSpan, header: FrameHeader, digests: ArraySlice<Digest>
    ) throws -> Bool {
        let table = FrameEntry.byteCount + digests.count * Digest.byteCount
        state.withLock { $0.byteCount += UInt64(frame.byteCount + table) }
        return true
    }

    func finish() throws {}

    var storedByteCount: UInt64 { state.withLock { $0.byteCount } }
}
