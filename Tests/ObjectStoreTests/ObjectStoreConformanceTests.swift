import BlockModel
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
        for offset in [UInt64.max, UInt64(Int64.max), 1 << 63, UInt64(Int64.max) - 5] {
            #expect(try home.store.read("object", at: offset, byteCount: 10) == [])
            #expect(throws: ObjectStoreError(.notFound, during: .read, of: "none")) {
                try home.store.read("none", at: offset, byteCount: 10)
            }
        }
    }

    @Test(
        "A range is written where it is wanted, and nothing beside it",
        arguments: StoreKind.available)
    func target(kind: StoreKind) throws {
        let home = try kind.make()
        try home.store.create("object", [1, 2, 3, 4])
        var bytes = [UInt8](repeating: 9, count: 6)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        #expect(try home.store.read("object", at: 1, into: &raw) == 3)
        #expect(bytes == [2, 3, 4, 9, 9, 9])
    }

    @Test("An object of no bytes is one as any other", arguments: StoreKind.available)
    func empty(kind: StoreKind) throws {
        let home = try kind.make()
        try home.store.begin("packs/a").finish()
        let writer = try home.store.begin("packs/b")
        try writer.append([UInt8]().rawSpan)
        try writer.append([UInt8]().rawSpan)
        try writer.finish()
        _ = try home.store.createLocked("packs/c", [])
        #expect(try home.store.list("").map(\.name) == ["packs/a", "packs/b", "packs/c"])
        for name in ["packs/a", "packs/b", "packs/c"] {
            #expect(try home.store.byteCount(of: name) == 0)
            #expect(try home.store.read(name, limit: 0) == [])
            #expect(try home.store.read(name, at: 0, byteCount: 5) == [])
            #expect(throws: ObjectStoreError(.alreadyExists, during: .create, of: name)) {
                try home.store.create(name, [])
            }
        }
        try home.store.delete("packs/a")
        #expect(try home.store.list("").map(\.name) == ["packs/b", "packs/c"])
    }

    @Test(
        "What is dropped from caches is read as before; so is what is not there",
        arguments: StoreKind.available)
    func dropCached(kind: StoreKind) throws {
        let home = try kind.make()
        try home.store.create("object", [1, 2, 3])
        for name in ["object", "none", "", "../object"] { home.store.dropCached(name) }
        #expect(try home.store.read("object", limit: 3) == [1, 2, 3])
        #expect(throws: ObjectStoreError(.notFound, during: .read, of: "none")) {
            try home.store.read("none", at: 0, byteCount: 1)
        }
    }

    @Test("The space that is set aside is given back only when it lacks", arguments: kinds)
    func reserve(kind: StoreKind) throws {
        let home = try kind.make()
        home.store.fillReserve()
        let isFilled = try home.files() == ["reserve"]
        // Whatever wraps a directory sets aside what the directory does.
        let plain = try StoreKind.directory.make()
        plain.store.fillReserve()
        #expect(try isFilled == (plain.files() == ["reserve"]))
        #expect(!home.store.releaseReserve())
        #expect(try home.files() == (isFilled ? ["reserve"] : []))
    }

    /// Those that are directories below the same one.
    private static let kinds = StoreKind.inDirectories.filter { $0 != .memoryDirectory }

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
        #expect(try home.files() == [])
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
        #expect(try home.files() == ["packs/aa/x"])
    }

    private static let noise: [UInt8] = {
        var generator = SeededGenerator(seed: 9)
        return generator.bytes(13_371_337)
    }()

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
        let bytes = Array(Self.noise.prefix(byteCount))
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

    @Test(
        "A deleted object is gone, and deleting it again is no error",
        arguments: StoreKind.available, DeletionDurability.allCases)
    func delete(kind: StoreKind, durability: DeletionDurability) throws {
        let home = try kind.make()
        try home.store.create("packs/aa/x", [1])
        try home.store.create("packs/aa/y", [2])
        #expect(try home.store.read("packs/aa/x", limit: 10) == [1])
        try home.store.delete("packs/aa/x", durability)
        try home.store.delete("packs/aa/x", durability)
        try home.store.delete("packs/bb/never", durability)
        try home.store.delete("never", durability)
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

    @Test(
        "What is an object is no directory of others, and the other way round",
        arguments: StoreKind.available)
    func objectAsDirectory(kind: StoreKind) throws {
        let home = try kind.make()
        try home.store.create("packs/aa/x", [1])
        for name in ["packs/aa/x/y", "packs/aa/x/y/z", "packs/aa", "packs"] {
            #expect(throws: ObjectStoreError.self) { try home.store.create(name, [2]) }
            #expect(throws: ObjectStoreError.self) {
                _ = try home.store.createLocked(name, [2])
            }
        }
        #expect(try home.files() == ["packs/aa/x"])
        #expect(try home.store.read("packs/aa/x", limit: 9) == [1])
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
}
