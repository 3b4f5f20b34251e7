import BlockModel
import LMDB
import ObjectStore
import Repository
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// A row of the index at a time is not what was written any more.
@Suite struct IndexRotTests {
    private static let tables = [
        "meta", "packs", "numbers", "digests", "places", "lines", "snapshots", "history", "leaves",
        "tips", "heads", "rot",
    ]

    /// Those without seals.
    private static let sorted = ["digests", "places"]

    private struct Row {
        let key: Key
        let value: [UInt8]
    }

    /// Sealed ones whose every row is read by a backup that changes the volume.
    private static let read = ["numbers", "lines", "leaves"]

    @Test(
        "What rots in a row is found when it is read, and no snapshot is wrong", arguments: tables)
    func rows(table name: String) throws {
        var noticed = 0
        for seed in 0..<(name == "leaves" ? 4 : 12) as Range<UInt64> {
            var generator = SeededGenerator(seed: seed)
            let lab = try Lab(MemoryStore())
            var model = ImageModel(byteCount: 400_000, seed: seed)
            // A page of blocks beside that of those that change.
            let rest = [UInt8](repeating: 0, count: name == "leaves" ? 17 << 20 : 0)
            var images: [[UInt8]] = []
            func capture() throws {
                try lab.capture(model.bytes + rest)
                images.append(model.bytes + rest)
            }
            for _ in 0..<3 {
                try capture()
                model.change()
            }
            lab.closeIndex()
            guard try rot(name, at: lab.indexDirectory + "/index.mdb", &generator) else { continue }
            /// What is noticed is mended; of what has no seal the owner deletes the index.
            func untilDone(_ body: () throws -> Void) throws {
                do {
                    try body()
                } catch let error as RepositoryError
                    where error.kind == .damaged && Self.sorted.contains(name)
                {
                    lab.deleteIndex()
                    try body()
                }
            }
            try untilDone(capture)
            try untilDone {
                let findings = try lab.check().findings
                #expect(findings.isEmpty, "\(name), seed \(seed): \(findings)")
            }
            try untilDone {
                let restored = try lab.restoreAll()
                #expect(restored == images, "\(name), seed \(seed)")
            }
            model.change()
            try untilDone(capture)
            lab.deleteIndex()
            #expect(try lab.check().findings.isEmpty, "\(name), seed \(seed)")
            #expect(try lab.restoreAll() == images, "\(name), seed \(seed)")
            noticed += lab.warnings.count { $0.contains("rebuilding the index") }
        }
        if Self.read.contains(name) { #expect(noticed > 0) }
    }

    /// Changes a byte of a row; false when the table has none.
    private func rot(
        _ name: String,
        at path: String,
        _ generator: inout SeededGenerator
    ) throws -> Bool {
        let environment = try Environment(path: path, tableLimit: 20)
        return try environment.write { transaction in
            let isSorted = Self.sorted.contains(name)
            // Without the seal, as a disk sees it.
            let table = try transaction.table(name, options: isSorted ? .fixedDuplicates : [])
            let rows = try transaction.withCursor(over: table) { cursor in
                var rows: [Row] = []
                var row = try cursor.first(Self.row)
                while let known = row {
                    rows.append(known)
                    row = try cursor.next(Self.row)
                }
                return rows
            }
            guard let row = rows.randomElement(using: &generator) else { return false }
            var value = row.value
            value[Int.random(in: 0..<value.count, using: &generator)] ^= 1
            if isSorted { try transaction.remove(row.value.span.bytes, for: row.key, from: table) }
            try transaction.put(value.span.bytes, in: table, for: row.key)
            return true
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
