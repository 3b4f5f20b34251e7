import BlockModel
import LMDB
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// Nothing that is needed is deleted, whatever the index, other machines and the clock do.
@Suite struct PruningSafetyTests {
    private static func makeLab(_ store: MemoryStore) throws -> Lab {
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.partByteLimit = 500
        lab.workerCount = 1
        return lab
    }

    private static var everything: PruneOptions {
        var options = PruneOptions()
        options.maxUnused = .bytes(0)
        return options
    }

    @Test(
        "A block that two machines stored, as a patch and in full, stays whatever goes",
        arguments: 0..<12)
    func twice(variant: Int) throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var generator = SeededGenerator(seed: UInt64(variant) + 77)
        let x = generator.bytes(4096)
        var y = x
        y[1000] ^= 1
        func image(_ parts: [UInt8]...) -> [UInt8] { parts.flatMap { $0 } }
        let (v, w) = (lab.volume, try #require(VolumeName("other")))
        let rest = generator.bytes(4096)
        func some(_ count: Int) -> [UInt8] { generator.bytes(4096 * count) }
        var images: [VolumeName: [UInt8]] = [:]
        func capture(_ volume: VolumeName, _ bytes: [UInt8]) throws {
            lab.volume = volume
            try lab.capture(bytes)
            images[volume] = bytes
        }
        try capture(v, image(x, some(4), rest))
        let before = store.objects
        try capture(v, image(y, some(4), rest))
        // The other machine does not see yet what this one has just stored.
        let mine = store.objects.filter { before[$0.key] == nil && $0.key.hasPrefix("packs/") }
        for name in mine.keys { store.objects[name] = nil }
        lab.deleteIndex()
        try capture(w, image(some(1), y))
        store.objects.merge(mine) { $1 }
        if variant % 2 == 0 { lab.deleteIndex() }
        if variant % 3 > 0 { try capture(v, image(y, some(4), rest)) }
        if variant % 3 > 1 { try capture(w, image(some(1), y)) }
        for volume in [v, w] {
            lab.volume = volume
            try lab.forget(try lab.timeline().snapshots.dropLast().map(\.id), isThorough: true)
        }
        #expect(try lab.check().findings == [])
        if variant % 4 > 1 { lab.deleteIndex() }
        for _ in 0..<3 {
            #expect(try lab.prune(Self.everything).damagedPacks == [])
            #expect(try lab.check().findings == [])
            lab.deleteIndex()
        }
        for volume in [v, w] {
            lab.volume = volume
            #expect(try lab.restore(try #require(lab.timeline().tip)) == images[volume])
        }
    }

    /// Changes a bit in the value of some row of a table, or removes the row; false for an empty table.
    private static func harm(
        _ name: String,
        in directory: String,
        _ generator: inout SeededGenerator
    ) throws -> Bool {
        let environment = try Environment(path: directory + "/index.mdb", tableLimit: 17)
        let isDuplicates = ["digests", "places", "prefixes"].contains(name)
        return try environment.write { transaction in
            let table = try transaction.table(name, options: isDuplicates ? .fixedDuplicates : [])
            let rows = try transaction.withCursor(over: table) { cursor in
                var rows: [(key: [UInt8], value: [UInt8])] = []
                func row(_ key: RawSpan, _ value: RawSpan) -> (key: [UInt8], value: [UInt8]) {
                    ([UInt8](copying: key), [UInt8](copying: value))
                }
                var next = try cursor.first(row)
                while let found = next {
                    rows.append(found)
                    next = try cursor.next(row)
                }
                return rows
            }
            guard let row = rows.randomElement(using: &generator) else { return false }
            var key = Key()
            for byte in row.key { key = key.appending(byte) }
            if isDuplicates {
                try transaction.remove(row.value.span.bytes, for: key, from: table)
            } else {
                try transaction.remove(key, from: table)
            }
            guard Int.random(in: 0..<3, using: &generator) > 0 else { return true }
            var value = row.value
            value[Int.random(in: 0..<value.count, using: &generator)] ^=
                1 << UInt8.random(in: 0..<8, using: &generator)
            try transaction.put(value.span.bytes, in: table, for: key)
            return true
        }
    }

    @Test(
        "A rotten index, or its counts, are rebuilt, and prune never deletes what is needed",
        arguments: ["uses", "tallies", "prefixes", "counted", "numbers", "digests", "places"])
    func rottenIndex(table: String) throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var model = ImageModel(byteCount: 120_000, seed: 91)
        for _ in 0..<9 {
            for _ in 0..<3 { model.change() }
            try lab.capture(model.bytes)
        }
        let victims = try lab.timeline().snapshots.prefix(7)
        try lab.prune()
        try lab.forget(victims.map(\.id), isThorough: true)
        lab.closeIndex()
        let sound = store.objects
        let index = try lab.contents(of: lab.indexDirectory + "/index.mdb")
        var expected: [[UInt8]] = []
        var generator = SeededGenerator(seed: 92)
        for round in 0..<40 {
            store.objects = sound
            try lab.replaceIndex(with: index)
            if round == 0 {
                expected = try lab.restoreAll()
                lab.closeIndex()
            }
            guard try Self.harm(table, in: lab.indexDirectory, &generator) else { continue }
            lab.seed += 1
            _ = try? lab.prune(Self.everything)
            // Whatever the index says: the repository alone is asked.
            lab.deleteIndex()
            #expect(try lab.restoreAll() == expected, "\(table) \(round)")
            try lab.prune(Self.everything)
            #expect(try lab.check().findings == [], "\(table) \(round)")
        }
        if ["numbers", "digests"].contains(table) {
            #expect(lab.warnings.contains { $0.contains("rebuilding the index") })
        }
    }

    @Test("Small packs are written together where there are many, and all is as before")
    func smallPacks() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        lab.packByteTarget = Format.packByteTarget
        var model = ImageModel(byteCount: 120_000, seed: 17)
        var images: [[UInt8]] = []
        func packCount() -> Int { store.objects.keys.count { $0.hasPrefix("packs/") } }
        var options = PruneOptions()
        options.repacksSmallPacks = true
        for round in 0..<100 {
            repeat { model.change() } while images.last == model.bytes
            try lab.capture(model.bytes)
            images.append(model.bytes)
            if round == 40 {
                let before = packCount()
                #expect(try lab.prune(options).repackedPackCount == 0)
                #expect(packCount() == before)
            }
        }
        #expect(packCount() > 64)
        try lab.prune()
        #expect(packCount() > 64)
        #expect(try lab.prune(options).repackedPackCount > 64)
        #expect(packCount() < 5)
        #expect(try lab.check().findings == [])
        lab.deleteIndex()
        #expect(try lab.restoreAll() == images)
        #expect(try lab.prune(options).repackedPackCount == 0)
    }

    @Test("A hold that somebody removed stays removed, however often it is renewed")
    func removedHold() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        let start = lab.time
        let hold = try lab.repository.hold(
            .repository, .shared, purpose: "test", owner: .current(), now: { start })
        let later = Timestamp(seconds: start.seconds + 400)
        try hold.renew(now: later)
        try hold.verify()
        for name in store.objects.keys where name.hasPrefix("locks/") { store.objects[name] = nil }
        for seconds in [401, 900, 2000] as [Int64] {
            let now = Timestamp(seconds: start.seconds + 400 + seconds)
            #expect(throws: RepositoryError.self) { try hold.renew(now: now) }
            #expect(throws: RepositoryError.self) { try hold.verify() }
        }
        #expect(!store.objects.keys.contains { $0.hasPrefix("locks/") })
    }
}
