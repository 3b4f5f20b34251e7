import BlockModel
import Glibc
import LinuxIO
import ObjectStore
import RepositoryFormat
import TestKit
import Testing

@testable import Repository

/// What is decided of a hold from what is known of it.
struct HoldStateTests {
    private static let now = Timestamp(seconds: 10_000)
    private static let ownPID = UInt32(getpid())

    private func record(
        host: String = "here",
        bootID: String = "boot",
        processID: UInt32 = ownPID,
        processStart: UInt64? = nil,
        expires: Int64 = 11_000
    ) throws -> HoldRecord {
        HoldRecord(
            purpose: "backup", host: host, bootID: bootID, processID: processID,
            processStart: try processStart ?? #require(HoldOwner.startTicks(of: Self.ownPID)),
            created: Timestamp(seconds: 9_000), expires: Timestamp(seconds: expires))
    }

    private func state(_ record: HoldRecord, isLocked: Bool?) -> ForeignHold.State {
        Repository.state(
            of: record, isLocked: isLocked, host: "here", bootID: "boot", now: Self.now)
    }

    @Test("Whoever holds the lock lives, whatever else is said")
    func locked() throws {
        #expect(try state(record(), isLocked: true) == .live)
        #expect(try state(record(bootID: "other"), isLocked: true) == .live)
        #expect(try state(record(processID: .max), isLocked: true) == .live)
        #expect(try state(record(host: "there", expires: 1), isLocked: true) == .live)
    }

    @Test("On the same host a process that runs since the same moment lives, expired or not")
    func running() throws {
        #expect(try state(record(), isLocked: nil) == .live)
        #expect(try state(record(expires: 1), isLocked: nil) == .live)
    }

    @Test("On the same host an open lock, a restart or another process ends a hold at once")
    func dead() throws {
        #expect(
            try state(record(bootID: "before"), isLocked: false)
                == .stale("its host was restarted"))
        #expect(
            try state(record(bootID: "before"), isLocked: nil) == .stale("its host was restarted"))
        #expect(try state(record(), isLocked: false) == .stale("its process let go of it"))
        #expect(try state(record(processStart: 1), isLocked: nil) == .stale("its process ended"))
        // No process has such a number.
        #expect(try state(record(processID: .max), isLocked: nil) == .stale("its process ended"))
    }

    @Test("On another host only time ends a hold")
    func elsewhere() throws {
        for isLocked in [nil, false] as [Bool?] {
            #expect(try state(record(host: "there"), isLocked: isLocked) == .live)
            #expect(try state(record(host: "there", expires: 10_000), isLocked: isLocked) == .live)
            #expect(
                try state(record(host: "there", expires: 9_999), isLocked: isLocked)
                    == .stale("it expired at 1970-01-01T02:46:39Z"))
        }
    }

    @Test("The start of a process is read from behind its name, whatever the name is")
    func startTicks() throws {
        let own = try #require(HoldOwner.startTicks(of: Self.ownPID))
        let fields = try #require(Directory.text(of: "/proc/self/stat"))
            .split(separator: ")").last?.split(separator: " ")
        #expect(fields?[19] == "\(own)")
        #expect(HoldOwner.startTicks(of: .max) == nil)
        let owner = HoldOwner.current()
        #expect(owner.processID == Self.ownPID)
        #expect(owner.processStart == own)
        #expect(owner.bootID == Boot.id)
        #expect(owner.bootID.count == 36)
    }
}

/// Holds as objects of a repository.
struct HoldTests {
    private let home: Home
    private let owner = HoldOwner.current()
    private let time = Timestamp(seconds: 10_000)

    init() throws { home = try Home() }

    private func hold(
        _ scope: HoldScope = .repository,
        _ kind: HoldKind = .shared,
        purpose: String = "test"
    ) throws -> Hold {
        try home.repository.hold(scope, kind, purpose: purpose, owner: owner, now: { time })
    }

    private func names() throws -> [String] { try home.store.list("locks/").map(\.name) }

    @Test("A hold is an object that says whose it is, and goes with it")
    func lifetime() throws {
        do {
            let hold = try hold(.volume(Home.volume), .exclusive, purpose: "backup disk")
            let found = try home.repository.allHolds(now: time)
            #expect(found.map(\.state) == [.live])
            #expect(found.map(\.kind) == [.exclusive])
            #expect(
                found.map(\.record) == [
                    HoldRecord(
                        purpose: "backup disk", host: owner.host, bootID: owner.bootID,
                        processID: owner.processID, processStart: owner.processStart,
                        created: time, expires: Timestamp(seconds: 11_800))
                ])
            #expect(found.first?.name.hasPrefix("locks/volume.disk/exclusive.") == true)
            try hold.verify()
        }
        #expect(try names() == [])
    }

    @Test("Shared holds stand side by side, and scopes do not meet")
    func compatible() throws {
        let holds = [
            try hold(), try hold(), try hold(.volume(Home.volume), .exclusive),
            try hold(.volume(Chain.name("other")), .exclusive),
        ]
        #expect(try names().count == 4)
        withExtendedLifetime(holds) {}
    }

    @Test("Beside an exclusive hold nothing else is taken, and nothing is left of the attempt")
    func exclusive() throws {
        let first = try hold(.repository, .exclusive, purpose: "prune")
        let before = try names()
        let error = #expect(throws: RepositoryError.self) { _ = try hold() }
        #expect(error?.kind == .locked)
        #expect(
            error?.description.hasPrefix(
                "the repository is in use by 'prune' on \(owner.host) "
                    + "(process \(owner.processID)) since 1970-01-01T02:46:40Z") == true)
        #expect(try names() == before)
        try first.verify()
    }

    @Test("An exclusive hold is not taken beside a shared one")
    func exclusiveBesideShared() throws {
        let first = try hold(.volume(Home.volume))
        let error = #expect(throws: RepositoryError.self) {
            _ = try hold(.volume(Home.volume), .exclusive)
        }
        #expect(error?.kind == .locked)
        try first.verify()
    }

    @Test("The hold of a dead process, or one that expired elsewhere, blocks nobody")
    func stale() throws {
        for (number, host) in [owner.host, "elsewhere"].enumerated() {
            let record = HoldRecord(
                purpose: "prune", host: host, bootID: "before", processID: 1, processStart: 0,
                created: Timestamp(seconds: 1), expires: Timestamp(seconds: 2))
            let name = ObjectNames.hold(
                scope: .repository, kind: .exclusive, id: ObjectID(high: 0, low: UInt64(number)))
            try home.store.create(
                name, record.encoded(name: name, identity: home.repository.identity))
        }
        let hold = try hold(.repository, .exclusive)
        let states = try home.repository.holds(on: .repository, now: time).map(\.state)
        // What a dead process of this host left is removed on the way.
        #expect(states.filter { $0 != .live } == [.stale("it expired at 1970-01-01T00:00:02Z")])
        for foreign in try home.repository.allHolds(now: time) where foreign.state != .live {
            try home.repository.remove(foreign)
        }
        #expect(try names().count == 1)
        try hold.verify()
    }

    @Test("A hold that somebody removed stops its owner")
    func removed() throws {
        let hold = try hold()
        for foreign in try home.repository.allHolds(now: time) {
            try home.repository.remove(foreign)
        }
        let error = #expect(throws: RepositoryError.self) { try hold.verify() }
        #expect(error?.kind == .locked)
    }

    @Test("A hold is renewed after five minutes, by a successor that is there before it goes")
    func renewal() throws {
        let hold = try hold()
        let first = try names()
        try hold.renew(now: Timestamp(seconds: 10_299))
        #expect(try names() == first)
        try hold.renew(now: Timestamp(seconds: 10_300))
        let second = try names()
        #expect(second.count == 1)
        #expect(second != first)
        #expect(
            try home.repository.allHolds(now: time).map(\.record?.expires)
                == [Timestamp(seconds: 12_100)])
        #expect(second.map(home.store.isLocked) == [true])
        try hold.verify()
    }

    @Test("A hold that cannot be read still blocks while its owner keeps it locked")
    func unreadableButLocked() throws {
        let name = ObjectNames.hold(scope: .repository, kind: .exclusive, id: .zero)
        let lock = try home.store.createLocked(name, [1, 2, 3])
        let states = try home.repository.holds(on: .repository, now: time).map(\.state)
        #expect(states == [.live])
        withExtendedLifetime(lock) {}
    }
}
