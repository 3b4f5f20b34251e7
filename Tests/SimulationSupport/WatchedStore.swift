package import ObjectStore
internal import Synchronization

/// Another store: tells what is done with it, and refuses deletions on demand.
package final class WatchedStore: ObjectStore {
    private let base: any ObjectStore
    private let refusesDeletions: Bool
    private let names = Mutex<Set<String>>([])
    private let done = Mutex<[String]>([])
    private let hook = Mutex<(@Sendable () -> Void)?>(nil)

    /// - Parameters:
    ///   - base: the store that does the work.
    ///   - refusesDeletions: whether it is there to be added to only.
    package init(_ base: any ObjectStore, refusesDeletions: Bool = false) {
        self.base = base
        self.refusesDeletions = refusesDeletions
    }

    /// What was read so far.
    package var readNames: Set<String> { names.withLock { $0 } }

    /// What listed and changed it so far, in order: `list`, `create`, `hold` or `delete`, and a name.
    package var calls: [String] { done.withLock { $0 } }

    private func note(_ call: String, _ name: String) {
        done.withLock { $0.append("\(call) \(name)") }
    }

    /// Calls `body` whenever an object is about to become durable.
    package func onFinish(_ body: (@Sendable () -> Void)?) { hook.withLock { $0 = body } }

    package var location: String { base.location }

    package func begin(_ name: String) throws(ObjectStoreError) -> any ObjectWriter {
        WatchedWriter(
            try base.begin(name), willFinish: { [self] in hook.withLock { $0 }?() },
            didFinish: { [self] in note("create", name) })
    }

    package func read(
        _ name: String,
        at offset: UInt64,
        into target: inout MutableRawSpan
    ) throws(ObjectStoreError) -> Int {
        names.withLock { _ = $0.insert(name) }
        return try base.read(name, at: offset, into: &target)
    }

    package func byteCount(of name: String) throws(ObjectStoreError) -> UInt64 {
        try base.byteCount(of: name)
    }

    package func list(_ prefix: String) throws(ObjectStoreError) -> [ObjectEntry] {
        note("list", prefix)
        return try base.list(prefix)
    }

    package func delete(
        _ name: String,
        _ durability: DeletionDurability
    ) throws(ObjectStoreError) {
        if refusesDeletions { throw ObjectStoreError(.denied, during: .delete, of: name) }
        note("delete", name)
        try base.delete(name, durability)
    }

    package func createLocked(
        _ name: String,
        _ bytes: [UInt8]
    ) throws(ObjectStoreError) -> any ObjectLock {
        note("hold", name)
        return try base.createLocked(name, bytes)
    }

    package func isLocked(_ name: String) -> Bool? { base.isLocked(name) }

    package func dropCached(_ name: String) { base.dropCached(name) }

    package func fillReserve() { base.fillReserve() }

    package func releaseReserve() -> Bool { base.releaseReserve() }
}

private final class WatchedWriter: ObjectWriter {
    private let writer: any ObjectWriter
    private let willFinish: @Sendable () -> Void
    private let didFinish: @Sendable () -> Void

    init(
        _ writer: any ObjectWriter,
        willFinish: @escaping @Sendable () -> Void,
        didFinish: @escaping @Sendable () -> Void
    ) {
        self.writer = writer
        self.willFinish = willFinish
        self.didFinish = didFinish
    }

    func append(_ bytes: RawSpan) throws(ObjectStoreError) { try writer.append(bytes) }

    func finish() throws(ObjectStoreError) {
        willFinish()
        try writer.finish()
        didFinish()
    }
}
