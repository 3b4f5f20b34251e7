package import ObjectStore
internal import Synchronization

/// What happens to the call at which a simulated machine stops.
package enum CrashEffect: CaseIterable, Sendable {
    /// The call had no effect.
    case lost
    /// The call took effect, but its caller never learned of it.
    case applied
    /// The call had no effect, and deletions come undone unless something was created in their
    /// directory since.
    case deletionsUndone
}

/// Objects in memory with a moment at which everything stops: what was not finished is gone.
package final class MemoryStore: ObjectStore {
    private struct State {
        var objects: [String: [UInt8]] = [:]
        var undoableDeletions: [String: [UInt8]] = [:]
        var locked: Set<String> = []
        var stepCount = 0
        var crashStep: Int?
        var effect = CrashEffect.lost
        var hasCrashed = false
        var freeByteCount: Int?
        var storedSeconds: [String: Int64] = [:]
        var currentSeconds: Int64?
        var onCreate: (@Sendable (String) -> Void)?
        var refusesDeletions = false
        var failing: (prefix: String, reason: ObjectStoreError.Reason)?
        var readCount = 0
        var readNames: [String: Int] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    package var location: String { "memory" }

    // MARK: The simulation's side

    /// Reads of objects so far.
    package var readCount: Int { state.withLock { $0.readCount } }

    /// Bytes that were read so far, by the names of the objects.
    package var readByteCounts: [String: Int] { state.withLock { $0.readNames } }

    /// Calls so far that change something.
    package var stepCount: Int { state.withLock { $0.stepCount } }
    package var hasCrashed: Bool { state.withLock { $0.hasCrashed } }
    package var objects: [String: [UInt8]] {
        get { state.withLock { $0.objects } }
        set { state.withLock { $0.objects = newValue } }
    }

    /// Stops everything at the call of that number, counted from now.
    package func crash(afterSteps steps: Int, _ effect: CrashEffect) {
        state.withLock { state in
            state.stepCount = 0
            state.crashStep = steps
            state.effect = effect
        }
    }

    /// The machine comes back: nobody holds anything, and what was finished is there.
    package func restart() {
        state.withLock { state in
            state.hasCrashed = false
            state.crashStep = nil
            state.locked.removeAll()
            state.undoableDeletions.removeAll()
        }
    }

    /// Called with the name of each object that was stored.
    package var onCreate: (@Sendable (String) -> Void)? {
        get { state.withLock { $0.onCreate } }
        set { state.withLock { $0.onCreate = newValue } }
    }

    /// The store's clock from now on; nobody knows when anything was stored before.
    package func setStoredSeconds(_ seconds: Int64) {
        state.withLock { $0.currentSeconds = seconds }
    }

    /// Whether the store is there to be added to only.
    package var refusesDeletions: Bool {
        get { state.withLock { $0.refusesDeletions } }
        set { state.withLock { $0.refusesDeletions = newValue } }
    }

    /// Objects with such names cannot be read for now, through no fault of theirs; with nil, all can.
    package func failReads(of prefix: String?, _ reason: ObjectStoreError.Reason) {
        state.withLock { $0.failing = prefix.map { ($0, reason) } }
    }

    /// Owners of locked objects are gone, or were never seen.
    package func releaseLocks() { state.withLock { $0.locked.removeAll() } }

    /// Bytes that can still be stored; nil for no limit.
    package func limit(freeByteCount: Int?) {
        state.withLock { $0.freeByteCount = freeByteCount }
    }

    // MARK: The contract

    package func begin(_ name: String) throws(ObjectStoreError) -> any ObjectWriter {
        guard ObjectNameRule.allows(name) else {
            throw ObjectStoreError(.badName, during: .create, of: name)
        }
        try step(.create, name) { _ in }
        return MemoryWriter(store: self, name: name)
    }

    package func read(
        _ name: String,
        at offset: UInt64,
        into target: inout MutableRawSpan
    ) throws(ObjectStoreError) -> Int {
        let bytes = try bytes(of: name)
        guard offset < UInt64(bytes.count) else { return 0 }
        let count = min(target.byteCount, bytes.count - Int(offset))
        state.withLock { state in
            state.readCount += 1
            state.readNames[name, default: 0] += count
        }
        for index in 0..<count {
            target.storeBytes(of: bytes[Int(offset) + index], toByteOffset: index, as: UInt8.self)
        }
        return count
    }

    package func byteCount(of name: String) throws(ObjectStoreError) -> UInt64 {
        UInt64(try bytes(of: name).count)
    }

    package func list(_ prefix: String) throws(ObjectStoreError) -> [ObjectEntry] {
        try refuseAfterCrash(.list, prefix)
        return state.withLock { state in
            state.objects.filter { $0.key.hasPrefix(prefix) }.map {
                ObjectEntry(
                    name: $0.key, byteCount: UInt64($0.value.count),
                    storedSeconds: state.storedSeconds[$0.key])
            }
        }.sorted { $0.name < $1.name }
    }

    package func delete(
        _ name: String,
        _ durability: DeletionDurability
    ) throws(ObjectStoreError) {
        if refusesDeletions { throw ObjectStoreError(.denied, during: .delete, of: name) }
        try step(.delete, name) { state in
            if let bytes = state.objects.removeValue(forKey: name) {
                state.undoableDeletions[name] = bytes
            }
            state.locked.remove(name)
        }
    }

    package func createLocked(
        _ name: String,
        _ bytes: [UInt8]
    ) throws(ObjectStoreError) -> any ObjectLock {
        try create(name, bytes)
        state.withLock { _ = $0.locked.insert(name) }
        return MemoryLock(store: self, name: name)
    }

    package func isLocked(_ name: String) -> Bool? { state.withLock { $0.locked.contains(name) } }

    fileprivate func unlock(_ name: String) { state.withLock { _ = $0.locked.remove(name) } }

    fileprivate func appended(_ name: String) throws(ObjectStoreError) {
        try step(.create, name) { _ in }
    }

    fileprivate func finish(_ name: String, _ bytes: [UInt8]) throws(ObjectStoreError) {
        let exists = state.withLock { $0.objects[name] != nil }
        if exists { throw ObjectStoreError(.alreadyExists, during: .create, of: name) }
        try step(.create, name) { state in
            state.objects[name] = bytes
            state.storedSeconds[name] = state.currentSeconds
            let directory = Self.directory(of: name)
            state.undoableDeletions = state.undoableDeletions.filter {
                Self.directory(of: $0.key) != directory
            }
        }
        onCreate?(name)
    }

    private static func directory(of name: String) -> Substring {
        name[..<(name.lastIndex(of: "/") ?? name.startIndex)]
    }

    fileprivate func reserve(_ count: Int, _ name: String) throws(ObjectStoreError) {
        let fits = state.withLock { state in
            guard let free = state.freeByteCount else { return true }
            state.freeByteCount = free - count
            return free >= count
        }
        if !fits { throw ObjectStoreError(.noSpace, during: .create, of: name) }
    }

    private func bytes(of name: String) throws(ObjectStoreError) -> [UInt8] {
        try refuseAfterCrash(.read, name)
        if let failing = state.withLock({ $0.failing }), name.hasPrefix(failing.prefix) {
            throw ObjectStoreError(failing.reason, during: .read, of: name)
        }
        guard let bytes = state.withLock({ $0.objects[name] }) else {
            throw ObjectStoreError(.notFound, during: .read, of: name)
        }
        return bytes
    }

    private func refuseAfterCrash(
        _ operation: ObjectStoreError.Operation,
        _ name: String
    ) throws(ObjectStoreError) {
        if hasCrashed { throw ObjectStoreError(.failed("crash"), during: operation, of: name) }
    }

    /// Runs one changing call, unless it is the one at which everything stops.
    private func step(
        _ operation: ObjectStoreError.Operation,
        _ name: String,
        _ body: (inout State) -> Void
    ) throws(ObjectStoreError) {
        let goesOn = state.withLock { state -> Bool in
            if state.hasCrashed { return false }
            if state.stepCount == state.crashStep {
                state.hasCrashed = true
                switch state.effect {
                case .lost: break
                case .applied: body(&state)
                case .deletionsUndone:
                    state.objects.merge(state.undoableDeletions) { current, _ in current }
                }
                return false
            }
            state.stepCount += 1
            body(&state)
            return true
        }
        if !goesOn { throw ObjectStoreError(.failed("crash"), during: operation, of: name) }
    }
}

private final class MemoryWriter: ObjectWriter, @unchecked Sendable {
    // Safe: the contract gives a writer to one thread at a time.
    private let store: MemoryStore
    private let name: String
    private var bytes: [UInt8] = []

    init(store: MemoryStore, name: String) {
        self.store = store
        self.name = name
    }

    func append(_ more: RawSpan) throws(ObjectStoreError) {
        try store.appended(name)
        try store.reserve(more.byteCount, name)
        bytes.append(contentsOf: more.withUnsafeBytes { [UInt8]($0) })
    }

    func finish() throws(ObjectStoreError) { try store.finish(name, bytes) }
}

private final class MemoryLock: ObjectLock {
    private let store: MemoryStore
    private let name: String

    init(store: MemoryStore, name: String) {
        self.store = store
        self.name = name
    }

    deinit { store.unlock(name) }
}
