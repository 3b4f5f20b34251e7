import BlockModel
import LinuxIO
import Synchronization
import TestKit
import Testing

@testable import ObjectStore

/// What the contract in `ObjectStore` promises, asked of every store.
struct ObjectStoreConformanceTests {
    @Test("A finished object is read back whole, with its size", arguments: StoreKind.available)
    func create(kind: StoreKind) throws {
        let home = try kind.make()
        for (name, bytes) in [("config", [1, 2, 3]), ("packs/ab/cd", []), ("a/b/c/d", [0])]
            as [(String, [UInt8])]
        {
            try home.store.create(name, bytes)
            #expect(try home.store.read(name, limit: 100) == bytes)
            #expect(try home.store.byteCount(of: name) == UInt64(bytes.count))
        }
    }

    @Test("A range is read as it stands, cut where the object ends", arguments: StoreKind.available)
    func ranges(kind: StoreKind) throws {
        let home = try kind.make()
        var generator = SeededGenerator(seed: 3)
        let bytes = generator.bytes(100_000)
        try home.store.create("object", bytes)
        for (offset, count) in [
            (0, 100_000), (0, 1), (99_999, 1), (4095, 4098), (99_990, 50), (100_000, 10),
            (200_000, 10), (0, 0), (50_000, 200_000),
        ] {
            let end = min(offset + count, bytes.count)
            let expected = offset < end ? Array(bytes[offset..<end]) : []
            #expect(
                try home.store.read("object", at: UInt64(offset), byteCount: count) == expected,
                "\(count) bytes at \(offset)")
        }
    }

    @Test(
        "Nothing is visible of an object until its writer finishes",
        arguments: StoreKind.available, [10, 3_000_000])
    func unfinished(kind: StoreKind, byteCount: Int) throws {
        let home = try kind.make()
        let writer = try home.store.begin("packs/aa/x")
        try writer.append([UInt8](repeating: 1, count: byteCount).rawSpan)
        #expect(try home.store.list("") == [])
        let missing = ObjectStoreError(.notFound, during: .read, of: "packs/aa/x")
        #expect(throws: missing) { try home.store.byteCount(of: "packs/aa/x") }
        #expect(throws: missing) { try home.store.read("packs/aa/x", at: 0, byteCount: 1) }
        try writer.finish()
        #expect(
            try home.store.list("").map { [$0.name, "\($0.byteCount)"] }
                == [["packs/aa/x", "\(byteCount)"]])
    }

    @Test(
        "A writer that is let go of unfinished leaves nothing behind",
        arguments: StoreKind.available, [0, 10, 3_000_000, 20_000_000])
    func abandoned(kind: StoreKind, byteCount: Int) throws {
        let home = try kind.make()
        do {
            let writer = try home.store.begin("packs/aa/x")
            try writer.append([UInt8](repeating: 1, count: byteCount).rawSpan)
        }
        #expect(try home.directory.files() == [])
        try home.store.create("packs/aa/x", [7])
        #expect(try home.store.read("packs/aa/x", limit: 10) == [7])
    }

    @Test("An existing name is refused, and its object stays", arguments: StoreKind.available)
    func exists(kind: StoreKind) throws {
        let home = try kind.make()
        try home.store.create("packs/aa/x", [1])
        #expect(throws: ObjectStoreError(.alreadyExists, during: .create, of: "packs/aa/x")) {
            try home.store.create("packs/aa/x", [2])
        }
        #expect(throws: ObjectStoreError(.alreadyExists, during: .create, of: "packs/aa/x")) {
            try home.store.create("packs/aa/x", [UInt8](repeating: 2, count: 2_500_001))
        }
        #expect(throws: ObjectStoreError(.alreadyExists, during: .lock, of: "packs/aa/x")) {
            _ = try home.store.createLocked("packs/aa/x", [2])
        }
        #expect(try home.store.read("packs/aa/x", limit: 10) == [1])
        #expect(try home.directory.files() == ["packs/aa/x"])
    }

    @Test(
        "Large objects come back exactly, whatever their size and the pieces they came in",
        arguments: StoreKind.available,
        [
            1 << 20, (1 << 20) + 1, (2 << 20) - 1, 8 << 20, (8 << 20) + 1, (9 << 20) - 4096,
            10_000_019, 13_371_337,
        ])
    func largeObjects(kind: StoreKind, byteCount: Int) throws {
        let home = try kind.make()
        var generator = SeededGenerator(seed: UInt64(byteCount))
        let bytes = generator.bytes(byteCount)
        let writer = try home.store.begin("packs/ff/large")
        var position = 0
        while position < byteCount {
            let most = generator.next() % 4 == 0 ? 3 << 20 : 300_000
            let end = min(position + Int.random(in: 0...most, using: &generator), byteCount)
            try writer.append(bytes.rawSpan.extracting(position..<end))
            position = end
        }
        try writer.finish()
        #expect(try home.store.byteCount(of: "packs/ff/large") == UInt64(byteCount))
        let isSame = try home.store.read("packs/ff/large", limit: byteCount) == bytes
        #expect(isSame)
        let tail = try home.store.read(
            "packs/ff/large", at: UInt64(byteCount - 5000), byteCount: 5001)
        #expect(tail == Array(bytes.suffix(5000)))
    }

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
        "Of several writers that race for one name exactly one wins", arguments: StoreKind.available
    )
    func race(kind: StoreKind) throws {
        let home = try kind.make()
        let store = home.store
        for round in 0..<20 {
            let name = "volumes/v/\(round)"
            let ready = Atomic<Int>(0)
            let winners = Mutex<[Int]>([])
            let losers = Mutex<[ObjectStoreError]>([])
            try onThreads(4) { number in
                let writer = try store.begin(name)
                try writer.append([UInt8](repeating: UInt8(number), count: 1000).rawSpan)
                ready.add(1, ordering: .acquiringAndReleasing)
                while ready.load(ordering: .acquiring) < 4 {}
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
            #expect(losers.withLock { $0 } == [refusal, refusal, refusal])
            #expect(
                try store.read(name, limit: 2000)
                    == [UInt8](repeating: UInt8(won[0]), count: 1000))
        }
    }

    @Test(
        "A listing has every object below its prefix once, in order", arguments: StoreKind.available
    )
    func listing(kind: StoreKind) throws {
        let home = try kind.make()
        let names = [
            "config", "notes/v/1", "packs/00/b", "packs/00/a", "packs/ff/a", "packs-old/x",
            "volumes/a-b/1", "volumes/a/2", "volumes/a/1", "volumes/a.b/1", "volumes/B/1",
        ]
        var generator = SeededGenerator(seed: 11)
        for (size, name) in names.shuffled(using: &generator).enumerated() {
            try home.store.create(name, [UInt8](repeating: 0, count: size))
        }
        let all = try home.store.list("")
        #expect(all.map(\.name) == names.sorted())
        #expect(try all.map(\.byteCount) == all.map { try home.store.byteCount(of: $0.name) })
        for (prefix, expected) in [
            ("packs/", ["packs/00/a", "packs/00/b", "packs/ff/a"]),
            ("packs/00/", ["packs/00/a", "packs/00/b"]),
            ("volumes/a/", ["volumes/a/1", "volumes/a/2"]),
            (
                "volumes/",
                [
                    "volumes/B/1", "volumes/a-b/1", "volumes/a.b/1", "volumes/a/1",
                    "volumes/a/2",
                ]
            ),
            ("parts/", []), ("config/", []), ("volumes/a/1/", []), ("packs/0/", []),
        ] {
            #expect(try home.store.list(prefix).map(\.name) == expected, "below \(prefix)")
        }
    }

    @Test(
        "A deleted object is gone, and deleting it again is no error",
        arguments: StoreKind.available)
    func delete(kind: StoreKind) throws {
        let home = try kind.make()
        try home.store.create("packs/aa/x", [1])
        try home.store.create("packs/aa/y", [2])
        #expect(try home.store.read("packs/aa/x", limit: 10) == [1])
        try home.store.delete("packs/aa/x")
        try home.store.delete("packs/aa/x")
        try home.store.delete("packs/bb/never")
        try home.store.delete("never")
        #expect(throws: ObjectStoreError(.notFound, during: .read, of: "packs/aa/x")) {
            try home.store.read("packs/aa/x", at: 0, byteCount: 1)
        }
        #expect(throws: ObjectStoreError(.notFound, during: .read, of: "packs/aa/x")) {
            try home.store.byteCount(of: "packs/aa/x")
        }
        #expect(try home.store.list("").map(\.name) == ["packs/aa/y"])
        try home.store.create("packs/aa/x", [3, 3])
        #expect(try home.store.read("packs/aa/x", limit: 10) == [3, 3])
    }

    @Test(
        "Deleting what is below an object's name is no error either", arguments: StoreKind.available
    )
    func deleteBelowAnObject(kind: StoreKind) throws {
        let home = try kind.make()
        try home.store.create("config", [1])
        try home.store.delete("config/x")
        #expect(try home.store.read("config", limit: 10) == [1])
    }

    static let forbiddenNames = [
        "", "/", "/config", "config/", "a//b", ".", "..", "../config", "a/../b", "a/./b",
        ".hidden", "a/.tmp-1", "a b", "a\n", "a\0b", "a:b", "é", "a\\b", "*",
        String(repeating: "n", count: 256),
    ]

    @Test(
        "A name that breaks the rule is refused for writing",
        arguments: StoreKind.available, forbiddenNames)
    func badNames(kind: StoreKind, name: String) throws {
        let home = try kind.make()
        #expect(throws: ObjectStoreError(.badName, during: .create, of: name)) {
            try home.store.create(name, [1])
        }
        #expect(throws: ObjectStoreError(.badName, during: .lock, of: name)) {
            _ = try home.store.createLocked(name, [1])
        }
        #expect(try home.directory.files() == [])
    }

    @Test(
        "A name cannot lead out of the store to be read or deleted", arguments: StoreKind.available)
    func namesStayInside(kind: StoreKind) throws {
        let home = try kind.make()
        let inner = DirectoryStore(path: home.directory.path + "/inner")
        try Directory.make(home.directory.path + "/inner")
        try home.store.create("outside", [1])
        #expect(throws: ObjectStoreError.self) { try inner.read("../outside", limit: 10) }
        #expect(throws: ObjectStoreError.self) { try inner.delete("../outside") }
        #expect(try home.store.byteCount(of: "outside") == 1)
    }

    @Test(
        "Names of letters, digits and a few signs are allowed",
        arguments: [
            "a", "config", "packs/00/ab", "volumes/v.1_x-y/000000000001-000000000002.ff",
            "locks/volume.web-1/exclusive.0", "-", "_", String(repeating: "n", count: 255),
        ])
    func goodNames(name: String) {
        #expect(ObjectNameRule.allows(name))
    }

    @Test(
        "An object larger than its reader allows is refused unread", arguments: StoreKind.available)
    func tooLarge(kind: StoreKind) throws {
        let home = try kind.make()
        try home.store.create("config", [1, 2, 3])
        #expect(try home.store.read("config", limit: 3) == [1, 2, 3])
        #expect(throws: ObjectStoreError(.tooLarge, during: .read, of: "config")) {
            try home.store.read("config", limit: 2)
        }
    }

    @Test("A directory is no object", arguments: StoreKind.available)
    func directories(kind: StoreKind) throws {
        let home = try kind.make()
        try home.store.create("packs/aa/x", [1])
        #expect(throws: ObjectStoreError(.notFound, during: .read, of: "packs/aa")) {
            try home.store.byteCount(of: "packs/aa")
        }
        #expect(throws: ObjectStoreError.self) { try home.store.delete("packs/aa") }
        #expect(try home.store.list("").map(\.name) == ["packs/aa/x"])
    }

    @Test("An object is locked for as long as its lock lives", arguments: StoreKind.available)
    func locks(kind: StoreKind) throws {
        let home = try kind.make()
        let name = "locks/repository/shared.1"
        // Another process has a store of its own.
        let other = DirectoryStore(path: home.directory.path)
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
        let lock = try home.store.createLocked("locks/a", [1])
        try home.store.delete("locks/a")
        #expect(home.store.isLocked("locks/a") == nil)
        let second = try home.store.createLocked("locks/a", [2])
        #expect(home.store.isLocked("locks/a") == true)
        withExtendedLifetime((lock, second)) {}
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

    private struct WrongBytes: Error { let number: Int }
}

struct DirectoryStoreTests {
    @Test("Files that begin with a dot are no objects")
    func hiddenFiles() throws {
        let directory = try TemporaryDirectory()
        let store = DirectoryStore(path: directory.path)
        try store.create("packs/aa/x", [1])
        for path in ["/.tmp-1", "/packs/.tmp-2", "/packs/aa/.tmp-3"] {
            try FileHandle(directory.path + path, .create).close(path)
        }
        #expect(try store.list("").map(\.name) == ["packs/aa/x"])
    }

    @Test("A store without a directory has no objects, and says so")
    func missingDirectory() throws {
        let directory = try TemporaryDirectory()
        let store = DirectoryStore(path: directory.path + "/none")
        #expect(try store.list("") == [])
        #expect(throws: ObjectStoreError(.notFound, during: .read, of: "config")) {
            try store.byteCount(of: "config")
        }
    }

    @Test(
        "What the kernel says becomes the store's own word",
        arguments: [
            (2, .notFound), (20, .notFound), (17, .alreadyExists), (13, .denied), (1, .denied),
            (30, .denied), (28, .noSpace), (122, .noSpace), (110, .timedOut),
            (5, .failed("Input/output error")),
        ] as [(Int32, ObjectStoreError.Reason)])
    func reasons(code: Int32, reason: ObjectStoreError.Reason) {
        let error = SystemError(.read, "/r/config", errno: code)
        let translated = ObjectStoreError(error, during: .read, of: "config")
        #expect(translated == ObjectStoreError(reason, during: .read, of: "config"))
        #expect(translated.isTransient == (reason == .timedOut))
    }
}
