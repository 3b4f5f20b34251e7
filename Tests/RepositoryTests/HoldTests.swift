import BlockModel
import Glibc
import LinuxIO
import ObjectStore
import RepositoryFormat
import SimulationSupport
import TestKit
import Testing

@testable import Maintenance
@testable import Repository
@testable import RepositoryIndex

/// What is decided of a hold from what is known of it.
struct HoldStateTests {
    private static let ownPID = UInt32(getpid())

    private func record(
        host: String = "here",
        bootID: String = "boot",
        processID: UInt32 = ownPID,
        processStart: UInt64? = nil
    ) throws -> HoldRecord {
        HoldRecord(
            purpose: "backup", host: host, bootID: bootID, processID: processID,
            processStart: try processStart ?? #require(HoldOwner.startTicks(of: Self.ownPID)),
            created: Timestamp(seconds: 9_000), expires: Timestamp(seconds: .max))
    }

    private func state(
        _ record: HoldRecord,
        isLocked: Bool?,
        age: Int64? = 0,
        bootID: String = "boot"
    ) -> ForeignHold.State {
        Repository.state(
            of: record, isLocked: isLocked, host: "here", bootID: bootID, ageSeconds: age)
    }

    @Test("Whoever holds the lock lives, whatever else is said")
    func locked() throws {
        #expect(try state(record(), isLocked: true) == .live)
        #expect(try state(record(bootID: "other"), isLocked: true) == .live)
        #expect(try state(record(processID: .max), isLocked: true) == .live)
        for age in [Int64.min, -1801, 1801, .max] {
            #expect(try state(record(host: "there"), isLocked: true, age: age) == .live)
        }
    }

    @Test("On the same host a process that runs since the same moment lives while it renews")
    func running() throws {
        #expect(try state(record(), isLocked: nil) == .live)
        #expect(try state(record(), isLocked: nil, age: 1800) == .live)
        // The number of a process and its start are words that anybody can write.
        #expect(
            try state(record(), isLocked: nil, age: 1801)
                == .expired("it was not renewed for 30 minutes"))
    }

    @Test("On the same host an open lock, a restart or another process ends a hold at once")
    func dead() throws {
        #expect(
            try state(record(bootID: "before"), isLocked: false)
                == .stale("its host was restarted"))
        #expect(
            try state(record(bootID: "before"), isLocked: nil) == .stale("its host was restarted"))
        #expect(try state(record(), isLocked: false) == .stale("its process released it"))
        #expect(try state(record(processStart: 1), isLocked: nil) == .stale("its process ended"))
        // No process has such a number.
        #expect(try state(record(processID: .max), isLocked: nil) == .stale("its process ended"))
    }

    @Test("Under another name of the same machine, as in a container, an open lock ends it at once")
    func container() throws {
        #expect(
            try state(record(host: "0123456789ab"), isLocked: false)
                == .stale("its process released it"))
        // Its processes have numbers of their own, which say nothing here.
        #expect(
            try state(record(host: "0123456789ab", processID: .max), isLocked: nil) == .live)
        // Without a boot id nothing is known to be the same machine.
        #expect(try state(record(host: "x", bootID: ""), isLocked: false, bootID: "") == .live)
        #expect(try state(record(bootID: "before"), isLocked: false, bootID: "") == .live)
    }

    @Test("On another host only the store's clock ends a hold, whatever the hold says")
    func elsewhere() throws {
        for isLocked in [nil, false] as [Bool?] {
            let there = try record(host: "there", bootID: "its own")
            for age in [-1800, 0, 1800] as [Int64] {
                #expect(state(there, isLocked: isLocked, age: age) == .live)
            }
            #expect(
                state(there, isLocked: isLocked, age: 3600)
                    == .expired("it was not renewed for 60 minutes"))
            #expect(
                state(there, isLocked: isLocked, age: -1801)
                    == .expired("it is dated in the future"))
            for age in [Int64.min, .max] {
                #expect(state(there, isLocked: isLocked, age: age) != .live)
            }
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

    /// Stores a hold of another machine, of that age by the store's clock.
    @discardableResult
    private func leave(
        _ number: UInt64,
        host: String = "elsewhere",
        bootID: String = "before",
        kind: HoldKind = .exclusive,
        created: Int64 = 1,
        expires: Int64 = 2,
        secondsAgo: Int64
    ) throws -> String {
        let record = HoldRecord(
            purpose: "prune", host: host, bootID: bootID, processID: 1, processStart: 0,
            created: Timestamp(seconds: created), expires: Timestamp(seconds: expires))
        let name = ObjectNames.hold(
            scope: .repository, kind: kind, id: ObjectID(high: 0, low: number))
        try home.store.create(
            name, record.encoded(name: name, identity: home.repository.identity))
        try date(name, secondsAgo: secondsAgo)
        return name
    }

    private func date(_ name: String, secondsAgo: Int64) throws {
        let seconds = SystemClock.now().seconds - secondsAgo
        var times = [
            timespec(tv_sec: Int(seconds), tv_nsec: 0), timespec(tv_sec: Int(seconds), tv_nsec: 0),
        ]
        try #require(utimensat(AT_FDCWD, home.directory.path + "/" + name, &times, 0) == 0)
    }

    @Test("The hold of a dead process, or one that expired elsewhere, blocks nobody")
    func stale() throws {
        let own = try leave(0, host: owner.host, secondsAgo: 0)
        let other = try leave(1, secondsAgo: 1900)
        let hold = try hold(.repository, .exclusive)
        let left = try home.repository.holds(on: .repository, now: time, beside: hold)
        // What a dead process of this host left is removed on the way; the other is left to a prune.
        #expect(left.map(\.name) == [other])
        #expect(left.map(\.state) == [.expired("it was not renewed for 31 minutes")])
        #expect(!home.store.isThere(own))
        for foreign in left { try home.repository.remove(foreign) }
        #expect(try names().count == 1)
        try hold.verify()
    }

    @Test("A hold that says it ends in the year 3000 ends half an hour after it was stored")
    func endless() throws {
        let millennium: Int64 = 32_503_680_000
        for (number, created) in [1, millennium, Int64.min, .max].enumerated() {
            try leave(
                UInt64(number), created: created, expires: .max, secondsAgo: 1860)
        }
        // Neither does its own date help.
        try leave(9, created: millennium, expires: millennium, secondsAgo: -86_400 * 365 * 900)
        let hold = try hold(.repository, .exclusive)
        #expect(
            try home.repository.allHolds(now: time, beside: hold).allSatisfy { $0.state != .live })
        for foreign in try home.repository.allHolds(owner: owner, now: time)
        where foreign.state != .live { try home.repository.remove(foreign) }
        #expect(try names().count == 1)
    }

    @Test("A fresh hold blocks though its own times are long past, and says which command helps")
    func fresh() throws {
        try leave(1, created: 1, expires: 2, secondsAgo: 60)
        let error = #expect(throws: RepositoryError.self) { _ = try hold() }
        #expect(error?.kind == .locked)
        #expect(error?.description.contains("or at once with 'varve unlock --all'") == true)
        // A lock that is seen needs no such command.
        let name = try leave(2, created: 1, expires: 2, secondsAgo: 86_400)
        let handle = try FileHandle(home.directory.path + "/" + name, .readWrite)
        try #require(FileOperation.tryLock(handle.descriptor, exclusive: true))
        try date(
            ObjectNames.hold(scope: .repository, kind: .exclusive, id: ObjectID(high: 0, low: 1)),
            secondsAgo: 86_400)
        let other = #expect(throws: RepositoryError.self) { _ = try hold() }
        #expect(other?.description.hasSuffix("wait until that command has ended") == true)
        withExtendedLifetime(handle.descriptor) {}
    }

    @Test("A lock that a reader can take keeps no hold alive")
    func readersLock() throws {
        let name = try leave(1, host: "other name", bootID: Boot.id, secondsAgo: 0)
        let reader = try FileHandle(home.directory.path + "/" + name, .read)
        try #require(FileOperation.tryLock(reader.descriptor, exclusive: false))
        let other = try FileHandle(home.directory.path + "/" + name, .read)
        #expect(FileOperation.isLocked(other.descriptor))
        #expect(FileOperation.isWriteLocked(other.descriptor) == false)
        #expect(home.store.isLocked(name) == false)
        let hold = try hold(.repository, .exclusive)
        #expect(try names().count == 1)
        try hold.verify()
        withExtendedLifetime(reader.descriptor) {}
    }

    @Test("Of a shared hold only exclusive ones are read")
    func sharedReadsNoShared() throws {
        let shared = try leave(1, kind: .shared, secondsAgo: 0)
        let exclusive = try leave(2, secondsAgo: 3600)
        let old = try leave(3, secondsAgo: 90_000)
        let store = WatchedStore(home.store, refusesDeletions: true)
        let hold = try Repository(openingIn: store).hold(
            .repository, .shared, purpose: "test", owner: owner, now: { time })
        try hold.verify()
        #expect(store.readNames.contains(exclusive))
        #expect(!store.readNames.contains(shared))
        // Nor what is long dead.
        #expect(!store.readNames.contains(old))
    }

    @Test("A hold that a store does not delete is in nobody's way once it is given back")
    func undeletable() throws {
        let store = WatchedStore(home.store, refusesDeletions: true)
        let repository = try Repository(openingIn: store)
        func take(_ kind: HoldKind) throws -> Hold {
            try repository.hold(
                .volume(Home.volume), kind, purpose: "test", owner: owner, now: { time })
        }
        for _ in 0..<3 {
            let hold = try take(.exclusive)
            try hold.renew(now: Timestamp(seconds: 10_400))
            try hold.verify(now: Timestamp(seconds: 10_400))
        }
        #expect(try names().count == 6)
        #expect(try repository.allHolds(now: time).allSatisfy { $0.state != .live })
        #expect(try !repository.mayDelete(now: time))
        #expect(try home.repository.mayDelete(now: time))
    }

    @Test(
        "A process that slept for longer than others wait does not go on, whatever renews its hold")
    func slept() throws {
        for kind in HoldKind.allCases {
            let hold = try hold(.volume(Home.volume), kind)
            try hold.verify(now: Timestamp(seconds: 11_679))
            #expect(throws: (any Error).self) { try hold.verify(now: Timestamp(seconds: 11_680)) }
            try? hold.renew(now: Timestamp(seconds: 11_700))
            let error = #expect(throws: RepositoryError.self) {
                try hold.verify(now: Timestamp(seconds: 11_701))
            }
            #expect(error?.kind == .locked)
            #expect(throws: RepositoryError.self) { try hold.verify() }
        }
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

    @Test("A clock that is set back does not keep a hold from being renewed")
    func clockSetBack() throws {
        let hold = try hold()
        let first = try names()
        try hold.renew(now: Timestamp(seconds: 5))
        #expect(try names() != first)
        try hold.verify(now: Timestamp(seconds: 6))
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

extension ObjectStore {
    fileprivate func isThere(_ name: String) -> Bool { (try? byteCount(of: name)) != nil }
}
