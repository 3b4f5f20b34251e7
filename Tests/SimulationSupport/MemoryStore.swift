package import ObjectStore
internal import Synchronization

/// What happens to the call at which a simulated machine stops.
package enum CrashEffect: CaseIterable, Sendable {
    /// The call had no effect.
    case lost
    /// The call took effect, but its caller never learned of it.
    case applied
    /// The call had no effect, and what need not outlive a crash does not: deletions that are not durable
    /// yet come undone, and locked objects are gone.
    case eventualUndone
}

/// Objects in memory with a moment at which everything stops: what was not finished is gone.
///
/// As in a directory, a deletion is durable when it says so, or once a writer has finished in its
/// directory or something was deleted from it durably; a locked object makes nothing durable.
package final class MemoryStore: ObjectStore {
    fileprivate struct State {
        var objects: [String: [UInt8]] = [:]
        var undoableDeletions: [String: [UInt8]] = [:]
        /// Objects that were created locked, and that nothing made durable since.
        var unsynced: Set<String> = []
        /// The lock of each object that has one.
        var locks: [String: UInt64] = [:]
        var lockCount: UInt64 = 0
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
            state.locks.removeAll()
            state.undoableDeletions.removeAll()
            state.unsynced.removeAll()
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
    package func releaseLocks() { state.withLock { $0.locks.removeAll() } }

    /// Bytes that can still be stored; nil for no limit.
    package func limit(freeByteCount: Int?) {
        state.withLock { $0.freeByteCount = freeByteCount }
    }

    // MARK: The contract

    package func begin(_ name: String) throws(ObjectStoreError) -> any ObjectWriter {
        try requireAllowed(name, .create)
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
        let start = Int(offset)
        let count = min(target.byteCount, bytes.count - start)
        state.withLock { state in
            state.readCount += 1
            state.readNames[name, default: 0] += count
        }
        target.withUnsafeMutableBytes { $0.copyBytes(from: bytes[start..<start + count]) }
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
        try requireAllowed(name, .delete)
        if refusesDeletions { throw ObjectStoreError(.denied, during: .delete, of: name) }
        try step(
            .delete, name, refusal: { $0.isDirectory(name) ? .failed("a directory") : nil },
            body: { state in
                if let bytes = state.objects.removeValue(forKey: name) {
                    // One that no crash would have left is not brought back by any.
                    if state.unsynced.remove(name) == nil { state.undoableDeletions[name] = bytes }
                }
                state.locks.removeValue(forKey: name)
                if durability == .durable { state.synchronize(directoryOf: name) }
            })
    }

    package func createLocked(
        _ name: String,
        _ bytes: [UInt8]
    ) throws(ObjectStoreError) -> any ObjectLock {
        try requireAllowed(name, .lock)
        // As a writer that begins, appends and finishes.
        try step(.lock, name) { _ in }
        try step(.lock, name) { _ in }
        try reserve(bytes.count, .lock, name)
        var number: UInt64 = 0
        try step(
            .lock, name, refusal: { $0.obstacle(to: name) },
            body: { state in
                state.store(name, bytes)
                state.unsynced.insert(name)
                state.lockCount += 1
                number = state.lockCount
                state.locks[name] = number
            })
        onCreate?(name)
        return MemoryLock(store: self, name: name, number: number)
    }

    package func isLocked(_ name: String) -> Bool? {
        state.withLock { $0.objects[name] == nil ? nil : $0.locks[name] != nil }
    }

    /// Lets go of that lock, whatever has its name now.
    fileprivate func unlock(_ name: String, _ number: UInt64) {
        state.withLock { state in
            if state.locks[name] == number { state.locks.removeValue(forKey: name) }
        }
    }

    fileprivate func appended(_ name: String) throws(ObjectStoreError) {
        try step(.create, name) { _ in }
    }

    fileprivate func finish(_ name: String, _ bytes: [UInt8]) throws(ObjectStoreError) {
        try step(
            .create, name, refusal: { $0.obstacle(to: name) },
            body: { state in
                state.store(name, bytes)
                state.synchronize(directoryOf: name)
            })
        onCreate?(name)
    }

    fileprivate func reserve(
        _ count: Int,
        _ operation: ObjectStoreError.Operation,
        _ name: String
    ) throws(ObjectStoreError) {
        let fits = state.withLock { state in
            guard let free = state.freeByteCount else { return true }
            state.freeByteCount = free - count
            return free >= count
        }
        if !fits { throw ObjectStoreError(.noSpace, during: operation, of: name) }
    }

    private func requireAllowed(
        _ name: String,
        _ operation: ObjectStoreError.Operation
    ) throws(ObjectStoreError) {
        guard ObjectNameRule.allows(name) else {
            throw ObjectStoreError(.badName, during: operation, of: name)
        }
    }

    private func bytes(of name: String) throws(ObjectStoreError) -> [UInt8] {
        try requireAllowed(name, .read)
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

    /// Runs one changing call, unless it is refused or the one at which everything stops.
    private func step(
        _ operation: ObjectStoreError.Operation,
        _ name: String,
        refusal: (State) -> ObjectStoreError.Reason? = { _ in nil },
        body: (inout State) -> Void
    ) throws(ObjectStoreError) {
        let reason = state.withLock { state -> ObjectStoreError.Reason? in
            if state.hasCrashed { return .failed("crash") }
            if let reason = refusal(state) { return reason }
            guard state.stepCount == state.crashStep else {
                state.stepCount += 1
                body(&state)
                return nil
            }
            state.hasCrashed = true
            switch state.effect {
            case .lost: break
            case .applied: body(&state)
            case .eventualUndone: state.undoEventual()
            }
            return .failed("crash")
        }
        if let reason { throw ObjectStoreError(reason, during: operation, of: name) }
    }
}

extension MemoryStore.State {
    private static func directory(of name: String) -> Substring {
        name[..<(name.lastIndex(of: "/") ?? name.startIndex)]
    }

    func isDirectory(_ name: String) -> Bool {
        objects.keys.contains { $0.hasPrefix(name + "/") }
    }

    /// Why no object can have that name; nil when one can.
    func obstacle(to name: String) -> ObjectStoreError.Reason? {
        if objects[name] != nil || isDirectory(name) { return .alreadyExists }
        var parent = Self.directory(of: name)
        while !parent.isEmpty {
            if objects[String(parent)] != nil { return .notFound }
            parent = Self.directory(of: String(parent))
        }
        return nil
    }

    mutating func store(_ name: String, _ bytes: [UInt8]) {
        objects[name] = bytes
        storedSeconds[name] = currentSeconds
    }

    /// Makes durable what was created in a directory and deleted from it.
    mutating func synchronize(directoryOf name: String) {
        let directory = Self.directory(of: name)
        undoableDeletions = undoableDeletions.filter { Self.directory(of: $0.key) != directory }
        unsynced = unsynced.filter { Self.directory(of: $0) != directory }
    }

    mutating func undoEventual() {
        for name in unsynced { objects.removeValue(forKey: name) }
        objects.merge(undoableDeletions) { current, _ in current }
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
        try store.reserve(more.byteCount, .create, name)
        bytes.append(contentsOf: more.withUnsafeBytes { [UInt8]($0) })
    }

    func finish() throws(ObjectStoreError) { try store.finish(name, bytes) }
}

private final class MemoryLock: ObjectLock {
    private let store: MemoryStore
    private let name: String
    private let number: UInt64

    init(store: MemoryStore, name: String, number: UInt64) {
        self.store = store
        self.name = name
        self.number = number
    }

    deinit { store.unlock(name, number) }
}
