import BlockModel
import LMDB
import LinuxIO
import ObjectStore
import Repository
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// Rows of the index go back to what they were some snapshots ago, with good seals: what writes that a
/// disk lost leave behind.
@Suite struct StaleIndexTests {
    private static let tables = [
        "meta", "packs", "numbers", "digests", "places", "lines", "snapshots", "history", "leaves",
        "tips", "staged", "heads", "rot", "uses", "prefixes", "tallies", "counted",
    ]
    private static let sorted: Set<String> = ["digests", "places", "prefixes"]

    /// How much of a table is old.
    enum Extent: CaseIterable {
        case table, row, missingRow
    }

    /// What is done with the index that is stale.
    enum Work: CaseIterable {
        case captureChange, captureSame, captureEarlier, forget, prune
    }

    // MARK: One table at a time

    @Test("No stale table makes a wrong snapshot or loses one", arguments: tables)
    func oneTable(_ table: String) throws {
        let history = try History(seed: 5)
        for work in Work.allCases {
            for age in [1, 3] {
                try history.tryOut([table], .table, age: age, work, "\(table), \(age), \(work)")
            }
        }
        for extent in [Extent.row, .missingRow] {
            for work in [Work.captureChange, .captureEarlier, .prune] {
                try history.tryOut([table], extent, age: 2, work, "\(table), \(extent), \(work)")
            }
        }
    }

    @Test("Several stale tables together make none either", arguments: 0..<6 as Range<UInt64>)
    func severalTables(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let history = try History(seed: seed)
        for round in 0..<12 {
            let tables = Self.tables.filter { _ in Bool.random(using: &generator) }
            let age = Int.random(in: 1...4, using: &generator)
            for work in [Work.captureEarlier, .captureChange] {
                try history.tryOut(
                    tables, .table, age: age, work, "seed \(seed), round \(round), \(work)")
            }
        }
    }

    @Test("A tip, a page of history and the leaf of an empty page that are stale hide no hole")
    func stalePageOfHoles() throws {
        let lab = try Lab(MemoryStore())
        let empty = [UInt8](repeating: 0, count: 40 * 4096)
        var full = empty
        for index in full.indices { full[index] = UInt8(truncatingIfNeeded: index % 251) }
        try lab.capture(empty)
        lab.closeIndex()
        let old = try lab.contents(of: lab.indexDirectory + "/index.mdb")
        try lab.capture(full)
        lab.closeIndex()
        for table in ["tips", "history"] {
            try Self.stale(lab, table, from: old, .table, seed: 1)
        }
        // A hole where the snapshot before has data.
        let path = lab.scratch.path + "/hole.img"
        let file = try FileHandle(path, .create)
        try FileOperation.truncate(file.descriptor, to: UInt64(empty.count), subject: path)
        try Self.untilDone(lab) { try lab.capture(path: path) }
        lab.deleteIndex()
        #expect(try lab.check().findings.isEmpty)
        #expect(try lab.restoreAll() == [empty, full, empty])
    }

    @Test("A number that is given to a second pack lends no block that no pack holds")
    func packNumberTwice() throws {
        let store = MemoryStore()
        let (lab, other) = (try Lab(store), try Lab(store))
        other.seed = 1
        var generator = SeededGenerator(seed: 31)
        let images = (0..<3).map { _ in generator.bytes(60_000) }
        try lab.capture(images[0])
        lab.closeIndex()
        let old = try lab.contents(of: lab.indexDirectory + "/index.mdb")
        try lab.capture(images[1])
        try Self.stale(lab, "meta", from: old, .row, seed: 1, key: Key("next pack"))
        try Self.untilDone(lab) { try lab.capture(images[2]) }
        // Another machine gives up the snapshot whose pack lost its number.
        try other.forget([try other.timeline().snapshots[1].id], isThorough: true)
        var options = PruneOptions()
        options.maxUnused = .bytes(0)
        options.minimumAgeSeconds = 0
        #expect(try other.prune(options).deletedPackCount > 0)
        try Self.untilDone(lab) { try lab.capture(images[1]) }
        lab.deleteIndex()
        #expect(try lab.check().findings.isEmpty)
        #expect(try lab.restoreAll() == [images[0], images[2], images[1]])
    }

    // MARK: Copies

    @Test("A copy that believes a stale index of either side is whole", arguments: tables)
    func copies(_ table: String) throws {
        let lab = try Lab(MemoryStore())
        let targetStore = MemoryStore()
        var generator = SeededGenerator(seed: 99)
        _ = try Repository(
            creatingIn: targetStore, blockSize: lab.repository.blockSize, created: lab.time,
            generator: &generator)
        let target = try Lab(targetStore)
        var model = ImageModel(byteCount: 300_000, seed: 3)
        var images: [[UInt8]] = []
        var olds: [[UInt8]] = []
        var oldTargets: [[UInt8]] = []
        for generation in 0..<5 {
            images.append(model.bytes)
            try lab.capture(model.bytes)
            model.change()
            if generation < 3 { try lab.copy(try lab.timeline().snapshots, to: target) }
            lab.closeIndex()
            target.closeIndex()
            olds.append(try lab.contents(of: lab.indexDirectory + "/index.mdb"))
            oldTargets.append(try target.contents(of: target.indexDirectory + "/index.mdb"))
        }
        try Self.stale(lab, table, from: olds[2], .table, seed: 1)
        try Self.stale(target, table, from: oldTargets[1], .table, seed: 1)
        try Self.untilDone(lab, target) { try lab.copy(try lab.timeline().snapshots, to: target) }
        for lab in [lab, target] {
            lab.deleteIndex()
            #expect(try lab.check().findings.isEmpty, "\(table)")
            #expect(try lab.restoreAll() == images, "\(table)")
        }
    }

    // MARK: What a history is made of

    /// Five snapshots of one volume and two of another, with the index as each of them left it.
    private final class History {
        private let store = MemoryStore()
        private let lab: Lab
        private var images: [[UInt8]] = []
        private var olds: [[UInt8]] = []
        private let other: VolumeName
        private let objects: [String: [UInt8]]
        private let otherImages: [[UInt8]]
        private var next: [UInt8]

        init(seed: UInt64) throws {
            lab = try Lab(store)
            lab.packByteTarget = 100_000
            guard let disk = VolumeName("disk"), let other = VolumeName("other") else {
                preconditionFailure("no names")
            }
            self.other = other
            var model = ImageModel(byteCount: 300_000, seed: seed)
            var others: [[UInt8]] = []
            for generation in 0..<6 {
                try lab.capture(model.bytes)
                images.append(model.bytes)
                if generation == 1 || generation == 3 {
                    lab.volume = other
                    others.append(model.bytes + model.bytes.prefix(80_000))
                    try lab.capture(others[others.count - 1])
                    lab.volume = disk
                }
                if generation == 2 {
                    try lab.forget([try lab.timeline().snapshots[1].id], isThorough: true)
                    images.remove(at: 1)
                }
                // The live counts are brought up to date again and again.
                if generation >= 2 { try lab.prune() }
                lab.closeIndex()
                olds.append(try lab.contents(of: lab.indexDirectory + "/index.mdb"))
                model.change()
                model.change()
            }
            next = model.bytes
            otherImages = others
            objects = store.objects
        }

        /// Does `work` with tables as they were `age` snapshots ago; then all must be as it should.
        func tryOut(
            _ tables: [String],
            _ extent: Extent,
            age: Int,
            _ work: Work,
            _ title: String
        ) throws {
            store.objects = objects
            try lab.replaceIndex(with: olds[olds.count - 1])
            for (number, table) in tables.enumerated() {
                try StaleIndexTests.stale(
                    lab, table, from: olds[olds.count - 1 - age], extent, seed: UInt64(number))
            }
            var expected = images
            func capture(_ image: [UInt8]) throws {
                try StaleIndexTests.untilDone(lab) { try lab.capture(image) }
                expected.append(image)
            }
            switch work {
            case .captureChange: try capture(next)
            case .captureSame: try capture(images[images.count - 1])
            case .captureEarlier: try capture(images[images.count - 1 - age])
            case .forget, .prune:
                let victim = try lab.timeline().snapshots[2].id
                try StaleIndexTests.untilDone(lab) { try lab.forget([victim], isThorough: true) }
                expected.remove(at: 2)
                guard work == .prune else { break }
                var options = PruneOptions()
                options.maxUnused = .bytes(0)
                options.minimumAgeSeconds = 0
                try StaleIndexTests.untilDone(lab) { try lab.prune(options) }
            }
            // What that left in the index is built upon.
            try capture(images[0])
            lab.deleteIndex()
            #expect(try lab.check().findings.isEmpty, "\(title)")
            #expect(try lab.restoreAll() == expected, "\(title)")
            lab.volume = other
            #expect(try lab.restoreAll() == otherImages, "\(title)")
            guard let disk = VolumeName("disk") else { return }
            lab.volume = disk
        }
    }

    /// Runs `body`, and once more when it finds that the index is wrong, as commands do; where it only
    /// refuses, the index is deleted, as its message advises.
    private static func untilDone(_ labs: Lab..., body: () throws -> Void) throws {
        do {
            try body()
        } catch let error as RepositoryError {
            for lab in labs {
                if error.kind == .index { lab.closeIndex() } else { lab.deleteIndex() }
            }
            try body()
        }
    }

    // MARK: Making a table stale

    private struct Row: Hashable {
        let key: Key
        let value: [UInt8]
    }

    /// Puts back what `old`, an earlier index, has in a table.
    private static func stale(
        _ lab: Lab,
        _ name: String,
        from old: [UInt8],
        _ extent: Extent,
        seed: UInt64,
        key: Key? = nil
    ) throws {
        lab.closeIndex()
        let path = lab.scratch.path + "/old.mdb"
        let file = try FileHandle(path, .create)
        try FileOperation.truncate(file.descriptor, to: 0, subject: path)
        try PositionedIO.write(file.descriptor, old.span.bytes, at: 0, subject: path)
        let before = try rows(name, at: path)
        for file in [path, path + "-lock"] { try FileOperation.remove(file) }
        let current = lab.indexDirectory + "/index.mdb"
        let after = try rows(name, at: current)
        var generator = SeededGenerator(seed: seed)
        let environment = try Environment(path: current, tableLimit: 20)
        let isSorted = sorted.contains(name)
        try environment.write { transaction in
            let table = try transaction.table(name, options: isSorted ? .fixedDuplicates : [])
            switch extent {
            case .table:
                try transaction.clear(table)
                for row in before {
                    try transaction.put(row.value.span.bytes, in: table, for: row.key)
                }
            case .row:
                let kept = Set(after)
                let changed = before.filter { !kept.contains($0) && $0.key == key ?? $0.key }
                guard let row = changed.randomElement(using: &generator) else { return }
                try transaction.put(row.value.span.bytes, in: table, for: row.key)
            case .missingRow:
                let known = Set(before)
                let added = after.filter { !known.contains($0) }
                guard let row = added.randomElement(using: &generator) else { return }
                if isSorted {
                    try transaction.remove(row.value.span.bytes, for: row.key, from: table)
                } else {
                    try transaction.remove(row.key, from: table)
                }
            }
        }
    }

    /// All rows of a table with their seals, as a disk sees them.
    private static func rows(_ name: String, at path: String) throws -> [Row] {
        let environment = try Environment(path: path, tableLimit: 20)
        return try environment.write { transaction in
            let options: Table.Options = sorted.contains(name) ? .fixedDuplicates : []
            let table = try transaction.table(name, options: options)
            return try transaction.withCursor(over: table) { cursor in
                var rows: [Row] = []
                var row = try cursor.first(Self.row)
                while let known = row {
                    rows.append(known)
                    row = try cursor.next(Self.row)
                }
                return rows
            }
        }
    }

    private static func row(_ key: RawSpan, _ value: RawSpan) -> Row {
        var found = Key()
        for offset in 0..<key.byteCount {
            found.append(key.unsafeLoad(fromByteOffset: offset, as: UInt8.self))
        }
        return Row(
            key: found,
            value: (0..<value.byteCount).map {
                value.unsafeLoad(fromByteOffset: $0, as: UInt8.self)
            })
    }
}
