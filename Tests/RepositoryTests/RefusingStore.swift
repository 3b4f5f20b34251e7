import ObjectStore
import Synchronization

/// A store that is there to be added to only.
final class RefusingStore: ObjectStore {
    private let base: any ObjectStore
    private let names = Mutex<Set<String>>([])

    init(_ base: any ObjectStore) { self.base = base }

    /// What was read so far.
    var readNames: Set<String> { names.withLock { $0 } }

    var location: String { base.location }

    func begin(_ name: String) throws(ObjectStoreError) -> any ObjectWriter {
        try base.begin(name)
    }

    func read(
        _ name: String,
        at offset: UInt64,
        into target: inout MutableRawSpan
    ) throws(ObjectStoreError) -> Int {
        names.withLock { _ = $0.insert(name) }
        return try base.read(name, at: offset, into: &target)
    }

    func byteCount(of name: String) throws(ObjectStoreError) -> UInt64 {
        try base.byteCount(of: name)
    }

    func list(_ prefix: String) throws(ObjectStoreError) -> [ObjectEntry] {
        try base.list(prefix)
    }

    func delete(_ name: String, _ durability: DeletionDurability) throws(ObjectStoreError) {
        throw ObjectStoreError(.denied, during: .delete, of: name)
    }

    func createLocked(
        _ name: String,
        _ bytes: [UInt8]
    ) throws(ObjectStoreError) -> any ObjectLock { try base.createLocked(name, bytes) }

    func isLocked(_ name: String) -> Bool? { base.isLocked(name) }
}
