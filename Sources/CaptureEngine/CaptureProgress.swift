internal import Synchronization

/// How far a capture has come; read from another thread at any time.
package final class CaptureProgress: Sendable {
    private let read = Atomic<UInt64>(0)
    private let skipped = Atomic<UInt64>(0)

    package init() {}

    /// Bytes that were read from the source.
    package var readByteCount: UInt64 { read.load(ordering: .relaxed) }
    /// Bytes of the source that are dealt with, holes included.
    package var doneByteCount: UInt64 { readByteCount + skipped.load(ordering: .relaxed) }

    /// Begins at nothing, for a source that is read once more.
    package func restart() {
        read.store(0, ordering: .relaxed)
        skipped.store(0, ordering: .relaxed)
    }

    func add(readByteCount count: Int) { read.wrappingAdd(UInt64(count), ordering: .relaxed) }
    func add(skippedByteCount count: Int) { skipped.wrappingAdd(UInt64(count), ordering: .relaxed) }
}
