import ObjectStore
import SimulationSupport
import TestKit
import Testing

/// What the contract promises of names and listings, asked of every store.
struct ObjectNameConformanceTests {
    static let forbiddenNames = [
        "", "/", "/config", "config/", "a//b", ".", "..", "../config", "a/../b", "a/./b",
        ".hidden", "a/.tmp-1", "a b", "a\n", "a\0b", "a:b", "é", "a\\b", "*",
        "a\u{7f}", "a\t", "a~", "a%2f", "a+b", "a@b", "a,b", "e\u{301}", "a/\u{202e}b", "a\r\n",
        "\u{1F4BE}", String(repeating: "n", count: 256),
        String(repeating: "a/", count: 127) + "aa",
    ]

    @Test(
        "A name that breaks the rule is refused whatever is wanted",
        arguments: StoreKind.available, forbiddenNames)
    func badNames(kind: StoreKind, name: String) throws {
        let home = try kind.make()
        for (operation, body) in [
            (.create, { try home.store.create(name, [1]) }),
            (.create, { _ = try home.store.begin(name) }),
            (.lock, { _ = try home.store.createLocked(name, [1]) }),
            (.read, { _ = try home.store.read(name, at: 0, byteCount: 1) }),
            (.read, { _ = try home.store.byteCount(of: name) }),
            (.delete, { try home.store.delete(name, .durable) }),
            (.delete, { try home.store.delete(name, .eventual) }),
        ] as [(ObjectStoreError.Operation, () throws -> Void)] {
            let refusal = ObjectStoreError(.badName, during: operation, of: name)
            #expect(throws: refusal) { try body() }
        }
        #expect(home.store.isLocked(name) == nil)
        #expect(try home.files() == [])
    }

    @Test(
        "Another way to write a name leads nowhere", arguments: StoreKind.available,
        [
            "packs//aa/x", "packs/./aa/x", "./packs/aa/x", "packs/aa/x/", "/packs/aa/x",
            "packs/../packs/aa/x",
        ])
    func aliases(kind: StoreKind, name: String) throws {
        let home = try kind.make()
        let lock = try home.store.createLocked("packs/aa/x", [1])
        #expect(home.store.isLocked("packs/aa/x") == true)
        #expect(home.store.isLocked(name) == nil)
        #expect(throws: ObjectStoreError(.badName, during: .read, of: name)) {
            try home.store.read(name, limit: 9)
        }
        #expect(throws: ObjectStoreError(.badName, during: .delete, of: name)) {
            try home.store.delete(name)
        }
        #expect(try home.store.read("packs/aa/x", limit: 9) == [1])
        withExtendedLifetime(lock) {}
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

    @Test("A thousand objects are listed, each once", arguments: StoreKind.available)
    func manyListed(kind: StoreKind) throws {
        let home = try kind.make()
        var generator = SeededGenerator(seed: 5)
        let names = (0..<1000).map { "packs/\(generator.next() % 7)/\($0)" }
        for name in names { try home.store.create(name, [1]) }
        #expect(try home.store.list("packs/").map(\.name) == names.sorted())
        for name in names where name.hasPrefix("packs/3/") {
            try home.store.delete(name, .eventual)
        }
        let left = names.filter { !$0.hasPrefix("packs/3/") }
        #expect(try home.store.list("").map(\.name) == left.sorted())
        #expect(try home.store.list("packs/3/") == [])
    }

    @Test("A listing does not lead out of the store", arguments: StoreKind.available)
    func listingStaysInside(kind: StoreKind) throws {
        let home = try kind.make()
        try home.store.create("packs/x", [1])
        for prefix in ["../", "/", "packs/../", "./", "../../tmp/"] {
            #expect((try? home.store.list(prefix).map(\.name)) ?? [] == [], "\(prefix)")
        }
    }

    @Test(
        "When an object was stored is told the same each time, and of a later one no earlier time",
        arguments: StoreKind.available)
    func storedSeconds(kind: StoreKind) throws {
        let home = try kind.make()
        (home.store as? MemoryStore)?.setStoredSeconds(1_000)
        try home.store.create("packs/a", [1])
        let first = try home.store.list("")
        (home.store as? MemoryStore)?.setStoredSeconds(2_000)
        _ = try home.store.createLocked("packs/b", [1])
        _ = try home.store.read("packs/a", limit: 1)
        let both = try home.store.list("")
        #expect(both.first == first.first)
        let seconds = both.compactMap(\.storedSeconds)
        #expect(seconds.count == 2 && seconds == seconds.sorted())
        #expect(try home.other.list("") == both)
    }
}
