package import BlockModel
internal import Glibc
internal import LinuxIO
internal import ObjectStore
package import RepositoryFormat
internal import Synchronization

/// Who takes holds: this process on this host, in this boot.
package struct HoldOwner: Sendable {
    package let host: String
    package let bootID: String
    package let processID: UInt32
    package let processStart: UInt64

    /// The running process.
    package static func current() -> HoldOwner {
        var name = [CChar](repeating: 0, count: 256)
        _ = unsafe gethostname(&name, name.count - 1)
        let host = String(
            decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        let pid = UInt32(getpid())
        return HoldOwner(
            host: host, bootID: Boot.id, processID: pid,
            processStart: Self.startTicks(of: pid) ?? 0)
    }

    package init(host: String, bootID: String, processID: UInt32, processStart: UInt64) {
        self.host = host
        self.bootID = bootID
        self.processID = processID
        self.processStart = processStart
    }

    /// Start of a process in clock ticks after boot; nil when there is none of that number.
    static func startTicks(of processID: UInt32) -> UInt64? {
        guard let text = Directory.text(of: "/proc/\(processID)/stat"),
            let parenthesis = text.lastIndex(of: ")")
        else { return nil }
        // Field 22 of proc(5); the command in parentheses is field 2 and may hold anything.
        let fields = text[text.index(after: parenthesis)...].split(separator: " ")
        return fields.count > 19 ? UInt64(fields[19]) : nil
    }
}

/// A hold that is taken: renewed by its owner, given back when it goes.
///
/// Renewal creates the successor before it deletes the old object, so that the hold is never gone.
package final class Hold: Sendable {
    /// How long a hold lives without renewal, and when it is renewed.
    static let lifetimeSeconds: Int64 = 1800
    static let renewalSeconds: Int64 = 300

    private let repository: Repository
    private let scope: HoldScope
    private let kind: HoldKind
    /// What a renewal changes.
    private struct State {
        var record: HoldRecord
        var name: String
        var lock: any ObjectLock
        /// Whether somebody removed it: then no successor takes its place.
        var isLost = false
    }
    private let state: Mutex<State>

    fileprivate init(
        repository: Repository,
        scope: HoldScope,
        kind: HoldKind,
        record: HoldRecord
    ) throws {
        self.repository = repository
        self.scope = scope
        self.kind = kind
        let (name, lock) = try Self.write(record, scope, kind, repository)
        state = Mutex(State(record: record, name: name, lock: lock))
    }

    // One that a crash brings back has an owner that is seen to be dead.
    deinit { try? repository.store.delete(objectName, .eventual) }

    private static func write(
        _ record: HoldRecord,
        _ scope: HoldScope,
        _ kind: HoldKind,
        _ repository: Repository
    ) throws -> (String, any ObjectLock) {
        var generator = SystemRandomNumberGenerator()
        let name = ObjectNames.hold(scope: scope, kind: kind, id: ObjectID(from: &generator))
        let bytes = try record.encoded(name: name, identity: repository.identity)
        return (name, try repository.store.createLocked(name, bytes))
    }

    /// Renews the hold when it is due; one that somebody removed stays removed.
    package func renew(now: Timestamp) throws {
        try state.withLock { state in
            guard now.seconds - state.record.created.seconds >= Self.renewalSeconds else { return }
            try requireThere(&state)
            var renewed = state.record
            renewed.created = now
            renewed.expires = Timestamp(seconds: now.seconds + Self.lifetimeSeconds)
            let (name, lock) = try Self.write(renewed, scope, kind, repository)
            // Who removed it in between did not see the new one.
            do {
                try requireThere(&state)
            } catch {
                try repository.store.delete(name, .eventual)
                throw error
            }
            let old = state.name
            state = State(record: renewed, name: name, lock: lock)
            try repository.store.delete(old, .eventual)
        }
    }

    private func requireThere(_ state: inout State) throws {
        do throws(ObjectStoreError) {
            guard !state.isLost else {
                throw ObjectStoreError(.notFound, during: .read, of: state.name)
            }
            _ = try repository.store.byteCount(of: state.name)
        } catch {
            guard error.reason == .notFound else { throw error }
            state.isLost = true
            throw RepositoryError(
                .locked,
                "the hold of this process on the repository was removed while it ran, and it stopped; "
                    + "run the command again")
        }
    }

    /// Refuses to go on when this process was not there, as in a machine that slept, for longer than
    /// others wait for its hold; and when somebody removed it.
    package func verify(now: Timestamp) throws {
        let expires = state.withLock { $0.record.expires }
        guard now < expires else {
            throw RepositoryError(
                .locked,
                "this process was stopped for so long that its hold on the repository ran out; run "
                    + "the command again")
        }
        try verify()
    }

    /// Refuses to go on when somebody removed the hold: what it protected may be gone.
    package func verify() throws { try state.withLock { try requireThere(&$0) } }

    fileprivate var objectName: String { state.withLock { $0.name } }

    /// Whether a listing shows this hold.
    func isSame(as other: ForeignHold) -> Bool { other.name == objectName }
}

/// A hold that somebody else has, as a listing shows it.
package struct ForeignHold: Sendable {
    package enum State: Hashable, Sendable {
        /// Its owner lives, or it has not expired.
        case live
        /// Its owner is dead, or it expired on another host.
        case stale(String)
    }

    package let name: String
    package let kind: HoldKind
    package let record: HoldRecord?
    package let state: State
}

extension Repository {
    /// Tries to take a hold this often before it gives up, a little later each time.
    private static let attemptLimit = 8

    /// Takes a hold, or says who has one that it cannot stand beside.
    ///
    /// The hold is written first and the others are listed then, so that of two processes at least
    /// one sees the other. Who sees another waits a little and looks again. Meanwhile it keeps its
    /// own hold if that has the smallest id of all, and steps back otherwise: of several that wait
    /// for each other one gets through.
    package func hold(
        _ scope: HoldScope,
        _ kind: HoldKind,
        purpose: String,
        owner: HoldOwner,
        now: () -> Timestamp
    ) throws -> Hold {
        var hold: Hold?
        var blocking: ForeignHold?
        for attempt in 0..<Self.attemptLimit {
            let time = now()
            let name: String
            if let hold {
                name = hold.objectName
            } else {
                let record = HoldRecord(
                    purpose: purpose, host: owner.host, bootID: owner.bootID,
                    processID: owner.processID, processStart: owner.processStart, created: time,
                    expires: Timestamp(seconds: time.seconds + Hold.lifetimeSeconds))
                let new = try Hold(repository: self, scope: scope, kind: kind, record: record)
                name = new.objectName
                hold = new
            }
            let others = try holds(on: scope, now: time).filter { $0.name != name }
            let conflicting = others.filter {
                $0.state == .live && (kind == .exclusive || $0.kind == .exclusive)
            }
            // What a dead process of this host left is of no use to anybody.
            for other in others where other.state != .live && other.record?.host == owner.host {
                try? remove(other)
            }
            if conflicting.isEmpty, let hold { return hold }
            blocking = conflicting.first
            if conflicting.contains(where: { Self.id(of: $0.name) < Self.id(of: name) }) {
                // Given back before the pause.
                hold = nil
            }
            pause(attempt: attempt)
        }
        throw RepositoryError(.locked, Self.describe(blocking, scope))
    }

    private static func id(of name: String) -> Substring {
        name[(name.lastIndex(of: ".") ?? name.startIndex)...]
    }

    private func pause(attempt: Int) {
        usleep(UInt32((attempt + 1) * 20_000) + UInt32.random(in: 0..<40_000))
    }

    private static func describe(_ hold: ForeignHold?, _ scope: HoldScope) -> String {
        let thing =
            switch scope {
            case .repository: "the repository"
            case .volume(let name): "volume '\(name)'"
            }
        guard let record = hold?.record else {
            return "\(thing) is in use; wait for the other command, or run 'varve unlock'"
        }
        return "\(thing) is in use by '\(record.purpose)' on \(record.host) "
            + "(process \(record.processID)) since \(record.created.rfc3339); wait for it, or run "
            + "'varve unlock' when it is gone"
    }

    /// The holds on a scope, and whether their owners live.
    package func holds(on scope: HoldScope, now: Timestamp) throws -> [ForeignHold] {
        try holds(below: ObjectNames.locks + scope.directory + "/", now: now)
    }

    /// All holds of the repository.
    package func allHolds(now: Timestamp) throws -> [ForeignHold] {
        try holds(below: ObjectNames.locks, now: now)
    }

    private func holds(below prefix: String, now: Timestamp) throws -> [ForeignHold] {
        let bootID = Boot.id
        let host = HoldOwner.current().host
        return try store.list(prefix).compactMap { entry in
            guard let file = entry.name.split(separator: "/").last,
                let kind = HoldKind(rawValue: String(file.prefix { $0 != "." }))
            else { return nil }
            let bytes: [UInt8]
            do throws(ObjectStoreError) {
                bytes = try store.read(entry.name, limit: 1 << 16)
            } catch {
                if error.reason == .notFound { return nil }
                // What cannot be read cannot be called dead.
                return ForeignHold(name: entry.name, kind: kind, record: nil, state: .live)
            }
            guard
                let record = try? HoldRecord(
                    decoding: bytes, name: entry.name, identity: identity)
            else {
                let isHeld = store.isLocked(entry.name) == true
                return ForeignHold(
                    name: entry.name, kind: kind, record: nil,
                    state: isHeld ? .live : .stale("it is damaged"))
            }
            let state = Self.state(
                of: record, isLocked: store.isLocked(entry.name), host: host, bootID: bootID,
                now: now)
            return ForeignHold(name: entry.name, kind: kind, record: record, state: state)
        }
    }

    /// Decides from what is known of a hold whether its owner lives.
    static func state(
        of record: HoldRecord,
        isLocked: Bool?,
        host: String,
        bootID: String,
        now: Timestamp
    ) -> ForeignHold.State {
        if isLocked == true { return .live }
        if record.host == host {
            guard record.bootID == bootID else {
                return .stale("its host was restarted")
            }
            // The owner keeps its hold locked for as long as it lives, where there are locks.
            if isLocked == false { return .stale("its process let go of it") }
            if HoldOwner.startTicks(of: record.processID) != record.processStart {
                return .stale("its process ended")
            }
            return .live
        }
        return record.expires < now ? .stale("it expired at \(record.expires.rfc3339)") : .live
    }

    /// Removes a hold whose owner is gone.
    package func remove(_ hold: ForeignHold) throws { try store.delete(hold.name, .eventual) }
}
