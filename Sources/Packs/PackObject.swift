internal import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import Synchronization

/// The object of a pack while it is written: threads append to it in turns.
///
/// A thread that was given a place in the pack waits until all before it are written; it holds no lock
/// then. After a failure nobody waits any more, and everybody hears of it.
final class PackObject: Sendable {
    private let name: String
    private let header: [UInt8]
    private let store: any ObjectStore
    /// Begun by the thread with the first turn.
    private let writer = Mutex<(any ObjectWriter)?>(nil)
    private let order = Turnstile()
    private let failure = SharedFailure()

    init(_ name: String, header: [UInt8], in store: any ObjectStore) {
        self.name = name
        self.header = header
        self.store = store
    }

    /// Appends a frame when it is its turn; turns count from 0.
    func append(_ frame: RawSpan, turn: UInt64) throws {
        guard order.wait(for: turn) else { throw failure.error ?? StoppedForOthers() }
        do {
            try current().append(frame)
        } catch {
            failure.record(error)
            order.shut()
            throw error
        }
        order.advance()
    }

    /// Makes the object durable, after the last turn.
    func finish(with end: [UInt8]) throws {
        let writer = try current()
        try writer.append(end.rawSpan)
        try writer.finish()
    }

    private func current() throws -> any ObjectWriter {
        if let begun = writer.withLock({ $0 }) { return begun }
        let new = try store.begin(name)
        let header = header
        try new.append(header.rawSpan)
        writer.withLock { $0 = new }
        return new
    }
}
