package import BlockModel
internal import LinuxIO
internal import ObjectStore
package import RepositoryFormat

/// What others hold, and whether they live.
extension Repository {
    static func describe(_ hold: ForeignHold?, _ scope: HoldScope) -> String {
        let thing =
            switch scope {
            case .repository: "the repository"
            case .volume(let name): "volume '\(name)'"
            }
        guard let hold, let record = hold.record else {
            return "\(thing) is in use by a command whose hold cannot be read; wait for it, or run "
                + "'varve unlock --all' if you know that the command is gone"
        }
        let user =
            "\(thing) is in use by '\(record.purpose)' on \(record.host) "
            + "(process \(record.processID)) since \(record.created.rfc3339)"
        // A lock that is seen goes with its owner.
        guard hold.isLocked != true else { return user + "; wait until that command has ended" }
        return user + "; wait for it. If that command is gone, its hold ends "
            + "\(Hold.lifetimeSeconds / 60) minutes after it was last renewed, or at once with "
            + "'varve unlock --all'"
    }

    /// The holds on a scope, and whether their owners live: by the store's clock where `own`, which
    /// has just been taken or renewed, is listed with them.
    package func holds(
        on scope: HoldScope,
        now: Timestamp,
        beside own: Hold? = nil
    ) throws -> [ForeignHold] {
        try holds(
            below: ObjectNames.locks + scope.directory + "/", Set(HoldKind.allCases), now: now,
            beside: own)
    }

    /// All holds of the repository, and whether their owners live.
    package func allHolds(now: Timestamp, beside own: Hold? = nil) throws -> [ForeignHold] {
        try holds(below: ObjectNames.locks, Set(HoldKind.allCases), now: now, beside: own)
    }

    /// The same for somebody who has no hold: one is stored meanwhile that shows the store's clock,
    /// where that is possible, whatever stands beside it.
    package func allHolds(owner: HoldOwner, now: Timestamp) throws -> [ForeignHold] {
        let own: Hold?
        do {
            own = try Hold(
                repository: self, scope: .repository, kind: .shared,
                record: Self.record("unlock", owner, now))
        } catch is ObjectStoreError {
            // As on a full disk: then this machine's clock has to do.
            own = nil
        }
        return try allHolds(now: now, beside: own)
    }

    func holds(
        below prefix: String,
        _ kinds: Set<HoldKind>,
        now: Timestamp,
        beside own: Hold?,
        isBrief: Bool = false
    ) throws -> [ForeignHold] {
        let bootID = Boot.id
        let host = HoldOwner.current().host
        let ownName = own?.objectName
        let listing = try store.list(prefix)
        let reference = listing.first { $0.name == ownName }?.storedSeconds
        return try listing.compactMap { entry in
            guard entry.name != ownName, let file = entry.name.split(separator: "/").last,
                let kind = HoldKind(rawValue: String(file.prefix { $0 != "." })),
                kinds.contains(kind)
            else { return nil }
            var age: Int64?
            if let stored = entry.storedSeconds {
                age = (own == nil ? now.seconds : reference).map {
                    SaturatingMath.difference($0, stored)
                }
            }
            let isLocked = store.isLocked(entry.name)
            func found(_ record: HoldRecord?, _ state: ForeignHold.State) -> ForeignHold {
                ForeignHold(
                    name: entry.name, kind: kind, record: record, isLocked: isLocked, state: state)
            }
            // A store that deletes nothing has many that are long dead; where only live ones matter
            // these are not read.
            if isBrief, isLocked == false, let age, age > Self.oldHoldSeconds {
                return found(nil, Self.state(ofAge: age))
            }
            let bytes: [UInt8]
            do throws(ObjectStoreError) {
                bytes = try store.read(entry.name, limit: 1 << 16)
            } catch {
                if error.reason == .notFound { return nil }
                // What cannot be read cannot be called dead while it may be renewed.
                return found(nil, isLocked == true ? .live : Self.state(ofAge: age))
            }
            guard
                let record = try? HoldRecord(
                    decoding: bytes, name: entry.name, identity: identity)
            else {
                // One of another repository holds nothing here, and is not taken away.
                if let object = try foreign(entry.name) {
                    if object.isUseless { return nil }
                    return found(nil, Self.state(ofAge: age))
                }
                return found(nil, isLocked == true ? .live : .stale("it is damaged"))
            }
            if Hold.isReleased(entry.name) {
                return found(record, .stale("it was released"))
            }
            // Where nobody knows when it was stored, its own word counts.
            age = age ?? SaturatingMath.difference(now.seconds, record.created.seconds)
            let state = Self.state(
                of: record, isLocked: isLocked, host: host, bootID: bootID, ageSeconds: age)
            return found(record, state)
        }
    }

    private static let oldHoldSeconds: Int64 = 86_400

    /// Decides from what is known of a hold whether its owner lives.
    static func state(
        of record: HoldRecord,
        isLocked: Bool?,
        host: String,
        bootID: String,
        ageSeconds: Int64?
    ) -> ForeignHold.State {
        if isLocked == true { return .live }
        // Without /proc nobody knows the run of a machine.
        let isKnown = !bootID.isEmpty && !record.bootID.isEmpty
        if isKnown, record.bootID == bootID {
            // The owner keeps its hold locked for as long as it lives, where there are locks, and
            // whatever its host is called: a container has another name, and the same kernel.
            if isLocked == false { return .stale("its process released it") }
            if record.host == host, HoldOwner.hasEnded(record) {
                return .stale("its process ended")
            }
        } else if record.host == host, isKnown {
            return .stale("its host was restarted")
        }
        return state(ofAge: ageSeconds)
    }

    /// What becomes of a hold of which nothing but its age is known, by the store's clock.
    private static func state(ofAge age: Int64?) -> ForeignHold.State {
        guard let age else { return .live }
        if age > Hold.lifetimeSeconds {
            return .expired("it was not renewed for \(age / 60) minutes")
        }
        // For example after the store's clock was set back, or if somebody set the time.
        if age < -Hold.lifetimeSeconds { return .expired("it is dated in the future") }
        return .live
    }

    /// Whether this user may delete from the store, found out with an object that holds nothing.
    ///
    /// One that stays is of no harm: nobody has it locked, and it is as old as can be in half an hour.
    package func mayDelete(now: Timestamp) throws -> Bool {
        var generator = SystemRandomNumberGenerator()
        let name = ObjectNames.hold(
            scope: .repository, kind: .shared, id: ObjectID(from: &generator))
        let bytes = try Self.record("a trial to delete", .current(), now)
            .encoded(name: name, identity: identity)
        let lock = try store.createLocked(name, bytes)
        let isGone = try store.deleteIfAllowed(name, .eventual)
        if !isGone { Hold.noteReleased(name) }
        return withExtendedLifetime(lock) { isGone }
    }

    /// Removes a hold whose owner is gone; false where this user may not.
    @discardableResult
    package func remove(_ hold: ForeignHold) throws -> Bool {
        try store.deleteIfAllowed(hold.name, .eventual)
    }
}
