internal import LinuxIO
internal import Synchronization

/// Another store, used at no more than so many bytes a second: written and read together.
package final class ThrottledStore: ObjectStore {
    private let store: any ObjectStore
    private let bytesPerSecond: UInt64
    /// When what was moved so far would have been moved at that rate.
    private let due = Mutex<UInt64>(0)
    /// So much may be moved at once after a rest.
    private static let burstNanoseconds: UInt64 = 500_000_000

    /// - Precondition: the rate is positive.
    package init(_ store: any ObjectStore, bytesPerSecond: UInt64) {
        precondition(bytesPerSecond > 0)
        self.store = store
        self.bytesPerSecond = bytesPerSecond
    }

    /// Waits until `byteCount` more may be moved.
    fileprivate func pay(_ byteCount: Int) {
        let cost = Double(byteCount) / Double(bytesPerSecond) * 1e9
        let now = SystemClock.monotonicNanoseconds()
        let wait = due.withLock { due -> UInt64 in
            due = max(due, now - min(now, Self.burstNanoseconds)) + UInt64(min(cost, 1e18))
            return due > now ? due - now : 0
        }
        var rest = wait / 1_000_000
        while rest > 0, !Interruption.isRequested {
            SystemClock.sleep(milliseconds: UInt32(min(rest, 100)))
            rest -= min(rest, 100)
        }
    }

    package func begin(_ name: String) throws(ObjectStoreError) -> any ObjectWriter {
        ThrottledWriter(store: self, writer: try store.begin(name))
    }

    package func read(
        _ name: String,
        at offset: UInt64,
        into target: inout MutableRawSpan
    ) throws(ObjectStoreError) -> Int {
        let count = try store.read(name, at: offset, into: &target)
        pay(count)
        return count
    }

    package func byteCount(of name: String) throws(ObjectStoreError) -> UInt64 {
        try store.byteCount(of: name)
    }

    package func list(_ prefix: String) throws(ObjectStoreError) -> [ObjectEntry] {
        try store.list(prefix)
    }

    package func delete(
        _ name: String,
        _ durability: DeletionDurability
    ) throws(ObjectStoreError) { try store.delete(name, durability) }

    package func createLocked(
        _ name: String,
        _ bytes: [UInt8]
    ) throws(ObjectStoreError) -> any ObjectLock { try store.createLocked(name, bytes) }

    package func isLocked(_ name: String) -> Bool? { store.isLocked(name) }

    package func dropCached(_ name: String) { store.dropCached(name) }

    package func fillReserve() { store.fillReserve() }

    package func releaseReserve() -> Bool { store.releaseReserve() }

    package var location: String { store.location }
}

private final class ThrottledWriter: ObjectWriter {
    private let store: ThrottledStore
    private let writer: any ObjectWriter

    init(store: ThrottledStore, writer: any ObjectWriter) {
        self.store = store
        self.writer = writer
    }

    func append(_ bytes: RawSpan) throws(ObjectStoreError) {
        store.pay(bytes.byteCount)
        try writer.append(bytes)
    }

    func finish() throws(ObjectStoreError) { try writer.finish() }
}
