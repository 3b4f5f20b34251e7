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

    /// Whether the process that took a hold on this machine is gone; one of which nothing can be found out,
    /// as without `/proc` or with no descriptor left, is not.
    static func hasEnded(_ record: HoldRecord) -> Bool {
        guard let process = pid_t(exactly: record.processID), process > 0 else { return true }
        if kill(process, 0) < 0, errno == ESRCH { return true }
        // Another process may have the number by now.
        guard record.processStart != 0, let start = startTicks(of: record.processID) else {
            return false
        }
        return start != record.processStart
    }

    /// Start of a process in clock ticks after boot; nil when that cannot be found out.
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
/// Times are those of a clock that nobody sets and that goes on while the machine sleeps; others
/// measure the age of a hold by the store's clock alone.
package final class Hold: Sendable {
    /// How long others wait for a hold since it was stored, and when it is renewed.
    static let lifetimeSeconds: Int64 = 1800
    static let renewalSeconds: Int64 = 300
    /// Its owner relies on it for less than that, since what it does then takes time too.
    static let trustSeconds: Int64 = lifetimeSeconds - 120
    /// Holds that this process gave back where nothing can be deleted.
    private static let released = Mutex<Set<String>>([])

    static func noteReleased(_ name: String) { released.withLock { _ = $0.insert(name) } }

    static func isReleased(_ name: String) -> Bool { released.withLock { $0.contains(name) } }

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
        /// Whether it was once older than others wait for.
        var hasLapsed = false
    }
    private let state: Mutex<State>

    init(
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
    deinit { Self.giveBack(objectName, repository) }

    private static func giveBack(_ name: String, _ repository: Repository) {
        if (try? repository.store.deleteIfAllowed(name, .eventual)) != true {
            noteReleased(name)
        }
    }

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
    ///
    /// One that ran out is renewed if it is shared, for the sake of what is still to be read; its
    /// owner is told by ``verify()`` all the same.
    package func renew(now: Timestamp) throws {
        try state.withLock { state in
            let age = now.seconds - state.record.created.seconds
            guard age.magnitude >= UInt64(Self.renewalSeconds) else { return }
            state.hasLapsed = state.hasLapsed || age >= Self.trustSeconds
            if kind == .exclusive { try requireUnlapsed(state) }
            try requireThere(&state)
            var renewed = state.record
            renewed.created = now
            renewed.expires = Timestamp(seconds: now.seconds + Self.lifetimeSeconds)
            let (name, lock) = try Self.write(renewed, scope, kind, repository)
            // Who removed it in between did not see the new one.
            do {
                try requireThere(&state)
            } catch {
                Self.giveBack(name, repository)
                throw error
            }
            let old = state.name
            state.record = renewed
            state.name = name
            state.lock = lock
            Self.giveBack(old, repository)
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
            let cause = "the hold of this process on the repository was removed while it ran"
            throw RepositoryError(
                .locked, cause + ", and it stopped; run the command again", cause: cause)
        }
    }

    private func requireUnlapsed(_ state: State) throws {
        guard state.hasLapsed else { return }
        let cause = "this process was paused for so long that its hold on the repository expired"
        throw RepositoryError(.locked, cause + "; run the command again", cause: cause)
    }

    /// Refuses to go on when this process was not there, as in a machine that slept, for longer than
    /// others wait for its hold; and when somebody removed it.
    package func verify(now: Timestamp) throws {
        state.withLock { state in
            let age = now.seconds - state.record.created.seconds
            state.hasLapsed = state.hasLapsed || age >= Self.trustSeconds
        }
        try verify()
    }

    /// Refuses to go on when somebody removed the hold, or when it ran out: what it protected may be
    /// gone.
    package func verify() throws {
        try state.withLock { state in
            try requireUnlapsed(state)
            try requireThere(&state)
        }
    }

    var objectName: String { state.withLock { $0.name } }

    /// Whether a listing shows this hold.
    package func isSame(as other: ForeignHold) -> Bool { other.name == objectName }
}

/// A hold that somebody else has, as a listing shows it.
package struct ForeignHold: Sendable {
    package enum State: Hashable, Sendable {
        /// Its owner lives, or may live.
        case live
        /// Its owner is seen to be dead.
        case stale(String)
        /// Nobody renewed it for too long.
        case expired(String)

        /// Why it holds nothing; nil for one that does.
        package var reason: String? {
            switch self {
            case .live: nil
            case .stale(let reason), .expired(let reason): reason
            }
        }
    }

    package let name: String
    package let kind: HoldKind
    package let record: HoldRecord?
    /// Whether its owner is seen to live; nil where that cannot be seen.
    package let isLocked: Bool?
    package let state: State

    /// The directory of what it covers, as ``HoldScope`` has it.
    package var scopeDirectory: String {
        name.split(separator: "/").dropFirst().first.map(String.init) ?? ""
    }
}

extension Repository {
    /// Tries to take a hold this often before it gives up, a little later each time.
    private static let attemptLimit = 8

    /// Takes a hold, or says who has one that it cannot stand beside.
    ///
    /// The hold is written first and the others are listed then, so that of two processes at least
    /// one sees the other. Who sees another waits a little and looks again. Meanwhile it keeps its
    /// own hold if that has the smallest id of all, and steps back otherwise: of several that wait
    /// for each other one gets through. A shared hold never reads other shared ones.
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
            if hold == nil {
                hold = try Hold(
                    repository: self, scope: scope, kind: kind,
                    record: Self.record(purpose, owner, time))
            }
            let name = hold?.objectName ?? ""
            let prefix = ObjectNames.locks + scope.directory + "/"
            let others = try holds(
                below: prefix, kind == .shared ? [.exclusive] : Set(HoldKind.allCases), now: time,
                beside: hold, isBrief: true)
            let conflicting = others.filter { $0.state == .live }
            removeDead(others, scope)
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

    static func record(
        _ purpose: String,
        _ owner: HoldOwner,
        _ time: Timestamp
    ) -> HoldRecord {
        HoldRecord(
            purpose: purpose, host: owner.host, bootID: owner.bootID, processID: owner.processID,
            processStart: owner.processStart, created: time,
            expires: Timestamp(seconds: time.seconds + Hold.lifetimeSeconds))
    }

    /// Removes what is of no use to anybody; what may not be deleted is in nobody's way either.
    ///
    /// Of holds on the repository those that only ran out are left to a prune, which then waits for
    /// captures that believe in them.
    private func removeDead(_ others: [ForeignHold], _ scope: HoldScope) {
        for other in others where other.record != nil {
            switch other.state {
            case .live: continue
            case .expired where scope == .repository: continue
            // Where one may not be deleted, none may.
            case .stale, .expired: if (try? remove(other)) == false { return }
            }
        }
    }

    private static func id(of name: String) -> Substring {
        name[(name.lastIndex(of: ".") ?? name.startIndex)...]
    }

    private func pause(attempt: Int) {
        usleep(UInt32((attempt + 1) * 20_000) + UInt32.random(in: 0..<40_000))
    }
}
