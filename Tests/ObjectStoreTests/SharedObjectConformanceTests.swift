import BlockModel
import ObjectStore
import Synchronization
import TestKit
import Testing

/// What the contract promises of those who use a store at once, asked of every store.
struct SharedObjectConformanceTests {
    private static let racerCount = 6

    @Test("Large objects written side by side do not mix", arguments: StoreKind.available)
    func concurrentWriters(kind: StoreKind) throws {
        let home = try kind.make()
        let store = home.store
        try onThreads(4) { number in
            var generator = SeededGenerator(seed: UInt64(number))
            try store.create("packs/\(number)", generator.bytes(5_000_000 + number))
        }
        for number in 0..<4 {
            var generator = SeededGenerator(seed: UInt64(number))
            let isSame =
                try store.read("packs/\(number)", limit: 6_000_000)
                == generator.bytes(5_000_000 + number)
            #expect(isSame, "object \(number)")
        }
    }

    @Test(
        "Of several writers that race for one name exactly one wins, and the bytes are its own",
        arguments: StoreKind.available, [0, 1000, 1_500_000])
    func race(kind: StoreKind, byteCount: Int) throws {
        let home = try kind.make()
        let store = home.store
        for round in 0..<(byteCount > 1_000_000 ? 3 : 20) {
            let name = "volumes/v/\(round)"
            let ready = Atomic<Int>(0)
            let winners = Mutex<[Int]>([])
            let losers = Mutex<[ObjectStoreError]>([])
            try onThreads(Self.racerCount) { number in
                let writer = try store.begin(name)
                try writer.append([UInt8](repeating: UInt8(number), count: byteCount).rawSpan)
                ready.add(1, ordering: .acquiringAndReleasing)
                while ready.load(ordering: .acquiring) < Self.racerCount {}
                do throws(ObjectStoreError) {
                    try writer.finish()
                    winners.withLock { $0.append(number) }
                } catch {
                    losers.withLock { $0.append(error) }
                }
            }
            let won = winners.withLock { $0 }
            try #require(won.count == 1)
            let refusal = ObjectStoreError(.alreadyExists, during: .create, of: name)
            #expect(
                losers.withLock { $0 } == Array(repeating: refusal, count: Self.racerCount - 1))
            let isWinners =
                try store.read(name, limit: byteCount)
                == [UInt8](repeating: UInt8(won[0]), count: byteCount)
            #expect(isWinners)
        }
        let left = try home.files()
        #expect(left.allSatisfy { $0.hasPrefix("volumes/v/") && !$0.contains(".tmp") })
    }

    @Test(
        "Of several that race to lock one name exactly one does, and stays locked",
        arguments: StoreKind.available)
    func lockRace(kind: StoreKind) throws {
        let home = try kind.make()
        let store = home.store
        for round in 0..<20 {
            let name = "locks/\(round)"
            let ready = Atomic<Int>(0)
            let won = Mutex<[(number: Int, lock: any ObjectLock)]>([])
            try onThreads(Self.racerCount) { number in
                ready.add(1, ordering: .acquiringAndReleasing)
                while ready.load(ordering: .acquiring) < Self.racerCount {}
                do throws(ObjectStoreError) {
                    let lock = try store.createLocked(name, [UInt8(number)])
                    won.withLock { $0.append((number, lock)) }
                } catch {
                    guard error.reason == .alreadyExists else { throw error }
                }
            }
            let winners = won.withLock { $0 }
            try #require(winners.count == 1)
            #expect(store.isLocked(name) == true)
            #expect(try store.read(name, limit: 1) == [UInt8(winners[0].number)])
            withExtendedLifetime(winners) {}
        }
    }

    @Test("An object is locked for as long as its lock lives", arguments: StoreKind.available)
    func locks(kind: StoreKind) throws {
        let home = try kind.make()
        let name = "locks/repository/shared.1"
        let other = home.other
        #expect(home.store.isLocked(name) == nil)
        var lock: (any ObjectLock)? = try home.store.createLocked(name, [1, 2])
        #expect(home.store.isLocked(name) == true)
        #expect(other.isLocked(name) == true)
        #expect(try other.read(name, limit: 10) == [1, 2])
        withExtendedLifetime(lock) {}
        lock = nil
        #expect(home.store.isLocked(name) == false)
        #expect(other.isLocked(name) == false)
        #expect(try home.store.read(name, limit: 10) == [1, 2])
        try home.store.create("config", [1])
        #expect(home.store.isLocked("config") == false)
    }

    @Test("A lock outlives the deletion of its object", arguments: StoreKind.available)
    func deletedWhileLocked(kind: StoreKind) throws {
        let home = try kind.make()
        var lock: (any ObjectLock)? = try home.store.createLocked("locks/a", [1])
        try home.store.delete("locks/a")
        #expect(home.store.isLocked("locks/a") == nil)
        let second = try home.store.createLocked("locks/a", [2])
        #expect(home.store.isLocked("locks/a") == true)
        withExtendedLifetime(lock) {}
        // The end of the first lock does not unlock what has its name now.
        lock = nil
        #expect(home.store.isLocked("locks/a") == true)
        withExtendedLifetime(second) {}
    }

    @Test(
        "More objects than are kept open are read rightly, by many threads",
        arguments: StoreKind.available)
    func manyObjects(kind: StoreKind) throws {
        let home = try kind.make()
        let store = home.store
        for number in 0..<150 {
            try store.create("parts/\(number)", [UInt8(number), UInt8(number), 1])
        }
        try onThreads(4) { worker in
            var generator = SeededGenerator(seed: UInt64(worker))
            for _ in 0..<1000 {
                let number = Int.random(in: 0..<150, using: &generator)
                let bytes = try store.read("parts/\(number)", at: 1, byteCount: 9)
                guard bytes == [UInt8(number), 1] else { throw WrongBytes(number: number) }
            }
        }
    }

    @Test(
        "What is read while others delete it is whole, or not there",
        arguments: StoreKind.available)
    func readWhileDeleted(kind: StoreKind) throws {
        let home = try kind.make()
        let store = home.store
        let isOver = Atomic<Bool>(false)
        try onThreads(4) { worker in
            guard worker == 0 else {
                while !isOver.load(ordering: .acquiring) {
                    do throws(ObjectStoreError) {
                        let bytes = try store.read("packs/x", at: 0, byteCount: 3000)
                        guard bytes.count == 2000, Set(bytes).count == 1 else {
                            throw ObjectStoreError(.failed("torn"), during: .read, of: "packs/x")
                        }
                    } catch {
                        guard error.reason == .notFound else { throw error }
                    }
                }
                return
            }
            defer { isOver.store(true, ordering: .releasing) }
            for round in 0..<500 {
                let bytes = [UInt8](repeating: UInt8(round % 256), count: 2000)
                try store.create("packs/x", bytes)
                // Nothing of an earlier object of that name is left, however others read it.
                guard try store.read("packs/x", limit: 2000) == bytes else {
                    throw WrongBytes(number: round)
                }
                try store.delete("packs/x", .eventual)
                guard (try? store.read("packs/x", at: 0, byteCount: 1)) == nil else {
                    throw WrongBytes(number: round)
                }
            }
        }
    }

    private struct WrongBytes: Error { let number: Int }
}
