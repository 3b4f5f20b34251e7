import LMDB
import LinuxIO
import TestKit
import Testing

struct LMDBTests {
    private let directory: TemporaryDirectory
    private let environment: Environment
    private let table: Table
    private let duplicates: Table

    private struct Stop: Error {}

    init() throws {
        let directory = try TemporaryDirectory()
        let environment = try Environment(path: directory.path + "/data", tableLimit: 4)
        (table, duplicates) = try environment.write { transaction in
            (
                try transaction.table("plain"),
                try transaction.table("duplicates", options: .fixedDuplicates)
            )
        }
        self.directory = directory
        self.environment = environment
    }

    // MARK: Transactions

    @Test("What a transaction wrote is read by the next one")
    func commit() throws {
        try put([1, 2, 3], for: 7)
        #expect(try value(for: 7) == [1, 2, 3])
        #expect(try value(for: 8) == nil)
        try put([], for: 7)
        #expect(try value(for: 7) == [])
        #expect(try environment.read { try $0.contains(Self.key(7), in: table) })
        #expect(try !environment.read { try $0.contains(Self.key(8), in: table) })
        #expect(try environment.read { try $0.entryCount(of: table) } == 1)
    }

    @Test("A sealed value is what was put under that key, or an error")
    func seals() throws {
        let sealed = try environment.write { try $0.table("sealed", options: .sealed) }
        let plain = try environment.write { try $0.table("sealed") }
        let values: [[UInt8]] = [[], [1, 2, 3], [UInt8](repeating: 7, count: 5000)]
        for (number, value) in values.enumerated() {
            let key = Self.key(UInt32(number))
            try environment.write { try $0.put(value.span.bytes, in: sealed, for: key) }
            #expect(
                try environment.read { try $0.value(in: sealed, for: key, Self.bytes) } == value)
            let stored = try #require(
                try environment.read { try $0.value(in: plain, for: key, Self.bytes) })
            #expect(stored.count == value.count + 8)
            let other = Self.key(9)
            for position in Set([0, stored.count / 2, stored.count - 1]) {
                var wrong = stored
                wrong[position] ^= 0x10
                try environment.write { try $0.put(wrong.span.bytes, in: plain, for: key) }
                try expectDamage(sealed, key)
            }
            // Cut, and under another key.
            let cut = Array(stored.dropLast(4))
            try environment.write {
                try $0.put(cut.span.bytes, in: plain, for: key)
                try $0.put(stored.span.bytes, in: plain, for: other)
            }
            try expectDamage(sealed, key)
            try expectDamage(sealed, other)
            try environment.write {
                try $0.remove(other, from: plain)
                try $0.put(value.span.bytes, in: sealed, for: key)
            }
        }
        let all = try environment.read {
            try $0.withCursor(over: sealed) { cursor in
                var found: [[UInt8]] = []
                var value = try cursor.first { Self.bytes($1) }
                while let known = value {
                    found.append(known)
                    value = try cursor.next { Self.bytes($1) }
                }
                return found
            }
        }
        #expect(all == values)
    }

    private func expectDamage(_ table: Table, _ key: Key) throws {
        for isCursor in [false, true] {
            let error = #expect(throws: LMDBError.self) {
                try environment.read {
                    if isCursor {
                        _ = try $0.withCursor(over: table) { try $0.seek(atLeast: key) { _, _ in } }
                    } else {
                        _ = try $0.contains(key, in: table)
                    }
                }
            }
            #expect(error?.isDamage == true)
            #expect(error?.description == "a row differs from what was written")
        }
    }

    @Test("A transaction that throws leaves no trace")
    func abort() throws {
        try put([1], for: 1)
        #expect(throws: Stop.self) {
            try environment.write { transaction in
                try transaction.put([UInt8]([2]).span.bytes, in: table, for: Self.key(1))
                try transaction.put([UInt8]([2]).span.bytes, in: table, for: Self.key(2))
                _ = try transaction.table("never")
                throw Stop()
            }
        }
        #expect(try value(for: 1) == [1])
        #expect(try value(for: 2) == nil)
        #expect(throws: LMDBError.self) {
            try environment.write { _ = try $0.table("never", creating: false) }
        }
        try put([3], for: 3)
        #expect(try value(for: 3) == [3])
    }

    @Test("A reader sees the state in which it began, whatever is committed meanwhile")
    func isolation() throws {
        try put([1], for: 1)
        let seen = try environment.read { reader in
            try put([2], for: 1)
            return try reader.value(in: table, for: Self.key(1)) { Self.bytes($0) }
        }
        #expect(seen == [1])
        #expect(try value(for: 1) == [2])
    }

    @Test("Writing in a reader's transaction is refused")
    func readOnly() throws {
        #expect(throws: LMDBError.self) {
            try environment.read {
                try $0.put([UInt8]([1]).span.bytes, in: table, for: Self.key(1))
            }
        }
        #expect(try value(for: 1) == nil)
    }

    @Test("An entry is removed once, a table is cleared whole")
    func removal() throws {
        for number in 0..<10 as Range<UInt32> { try put([UInt8(number)], for: number) }
        try environment.write { transaction in
            try transaction.remove(Self.key(3), from: table)
            try transaction.remove(Self.key(3), from: table)
            try transaction.remove(Self.key(99), from: table)
        }
        #expect(try entries().map(\.0) == [0, 1, 2, 4, 5, 6, 7, 8, 9])
        try environment.write { try $0.clear(table) }
        #expect(try entries().isEmpty)
        #expect(try environment.read { try $0.entryCount(of: table) } == 0)
    }

    @Test("Entries survive the closing of the environment")
    func reopening() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/data"
        do {
            let environment = try Environment(path: path, tableLimit: 1)
            try environment.write { transaction in
                let table = try transaction.table("t")
                try transaction.put([UInt8]([5]).span.bytes, in: table, for: Self.key(1))
            }
            #expect(environment.usedByteCount >= 8192)
        }
        let environment = try Environment(path: path, tableLimit: 1)
        let value = try environment.write { transaction in
            let table = try transaction.table("t", creating: false)
            return try transaction.value(in: table, for: Self.key(1)) { Self.bytes($0) }
        }
        #expect(value == [5])
    }

    @Test("A file of something else is refused as damage")
    func garbage() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/data"
        try environment.write { _ in }
        try Self.write([UInt8](repeating: 0x5A, count: 16_384), to: path)
        let error = #expect(throws: LMDBError.self) {
            _ = try Environment(path: path, tableLimit: 1)
        }
        #expect(error?.isDamage == true)
        #expect(error?.isMapFull == false)
        let missing = #expect(throws: LMDBError.self) {
            _ = try Environment(path: directory.path + "/none/data", tableLimit: 1)
        }
        #expect(missing?.isDamage == false)
        #expect(missing?.description == "LMDB open: No such file or directory")
    }

    // MARK: Cursors

    @Test("A cursor moves through keys in the order of their fields")
    func cursorMoves() throws {
        for number in [0x0200, 1, 0xFFFF_FFFF, 0x0100, 0] as [UInt32] {
            try put([UInt8(truncatingIfNeeded: number >> 8)], for: number)
        }
        #expect(try entries().map(\.0) == [0, 1, 0x0100, 0x0200, 0xFFFF_FFFF])
        let moves = try environment.read { transaction in
            try transaction.withCursor(over: table) { cursor in
                [
                    try cursor.last(Self.number), try cursor.previous(Self.number),
                    try cursor.seek(atLeast: Self.key(2), Self.number),
                    try cursor.previous(Self.number), try cursor.previous(Self.number),
                    try cursor.previous(Self.number),
                    try cursor.seek(atLeast: Self.key(1), Self.number),
                    try cursor.next(Self.number), try cursor.first(Self.number),
                ]
            }
        }
        #expect(moves == [0xFFFF_FFFF, 0x0200, 0x0100, 1, 0, nil, 1, 0x0100, 0])
    }

    @Test("A cursor over nothing, or past the end, finds nothing")
    func cursorEnds() throws {
        let moves = try environment.read { transaction in
            try transaction.withCursor(over: table) { cursor in
                [
                    try cursor.first(Self.number), try cursor.last(Self.number),
                    try cursor.seek(atLeast: Self.key(0), Self.number),
                ]
            }
        }
        #expect(moves == [nil, nil, nil])
        try put([1], for: 5)
        let past = try environment.read { transaction in
            try transaction.withCursor(over: table) { cursor in
                try cursor.seek(atLeast: Self.key(6), Self.number)
            }
        }
        #expect(past == nil)
    }

    @Test("A cursor agrees with a sorted dictionary", arguments: 1...5)
    func cursorModel(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var model: [UInt32: [UInt8]] = [:]
        try environment.write { transaction in
            for _ in 0..<2000 {
                let number = UInt32.random(in: 0..<700, using: &generator) << 12
                if generator.next() % 3 == 0 {
                    model[number] = nil
                    try transaction.remove(Self.key(number), from: table)
                } else {
                    let bytes = generator.bytes(Int.random(in: 0...5000, using: &generator) / 10)
                    model[number] = bytes
                    try transaction.put(bytes.span.bytes, in: table, for: Self.key(number))
                }
            }
        }
        let found = try entries()
        #expect(found.map(\.0) == model.keys.sorted())
        #expect(found.map(\.1) == model.keys.sorted().map { model[$0] })
        for _ in 0..<200 {
            let sought = UInt32.random(in: 0..<700 << 12, using: &generator)
            let number = try environment.read { transaction in
                try transaction.withCursor(over: table) { cursor in
                    try cursor.seek(atLeast: Self.key(sought), Self.number)
                }
            }
            #expect(number == model.keys.filter { $0 >= sought }.min(), "seed \(seed)")
        }
    }

    // MARK: Duplicates

    @Test("A duplicate table keeps several values under a key, sorted, each once")
    func duplicateValues() throws {
        try environment.write { transaction in
            for value in [3, 1, 2, 1] as [UInt8] { try put([value, 9], transaction, key: 1) }
            try put([0, 0], transaction, key: 0)
            try put([7, 7], transaction, key: 2)
        }
        #expect(try values(under: 1) == [[1, 9], [2, 9], [3, 9]])
        #expect(try values(under: 0) == [[0, 0]])
        #expect(try values(under: 3) == [])
        #expect(try environment.read { try $0.entryCount(of: duplicates) } == 5)
    }

    @Test("A search in a duplicate table begins at a value and stays under its key")
    func duplicateSearch() throws {
        try environment.write { transaction in
            for value in [10, 20, 30] as [UInt8] { try put([value, 0], transaction, key: 1) }
            try put([40, 0], transaction, key: 2)
        }
        for (sought, expected) in [
            (0, [10, 20, 30]), (10, [10, 20, 30]), (11, [20, 30]), (30, [30]), (31, []),
        ] as [(UInt8, [UInt8])] {
            #expect(try values(under: 1, from: [sought, 0]).map { $0[0] } == expected)
        }
    }

    @Test("One duplicate is removed alone, a key with all of its own")
    func duplicateRemoval() throws {
        try environment.write { transaction in
            for value in [1, 2, 3] as [UInt8] { try put([value, 0], transaction, key: 1) }
            try put([1, 0], transaction, key: 2)
            try transaction.remove([UInt8]([2, 0]).span.bytes, for: Self.key(1), from: duplicates)
            try transaction.remove([UInt8]([9, 0]).span.bytes, for: Self.key(1), from: duplicates)
        }
        #expect(try values(under: 1) == [[1, 0], [3, 0]])
        try environment.write { try $0.remove(Self.key(1), from: duplicates) }
        #expect(try values(under: 1) == [])
        #expect(try values(under: 2) == [[1, 0]])
    }

    // MARK: Keys

    @Test("A key is its fields in big-endian order")
    func keys() {
        let key = Key().appending(UInt8(1)).appending(UInt16(0x0203)).appending(UInt32(0x0405_0607))
            .appending(UInt64(0x08)).appending(UInt64(0x09))
        #expect(
            key.withBytes { Self.bytes($0) }.hexadecimal
                == "01020304050607" + "0000000000000008" + "0000000000000009")
        #expect(key.byteCount == 23)
        #expect(Key("meta").withBytes { Self.bytes($0) } == Array("meta".utf8))
        #expect(Key() != Key().appending(UInt8(0)))
        #expect(Key().appending(UInt16(1)) == Key().appending(UInt8(0)).appending(UInt8(1)))
        #expect(Set([Key("a"), Key("a"), Key("b")]).count == 2)
    }

    @Test("A key that would be too long stops the program")
    func longKey() async {
        await #expect(processExitsWith: .failure) {
            _ = Key().appending(UInt64(0)).appending(UInt64(0)).appending(UInt64(0))
                .appending(UInt8(0))
        }
    }

    // MARK: Helpers

    private static func key(_ number: UInt32) -> Key { Key().appending(number) }

    private static func bytes(_ span: RawSpan) -> [UInt8] { span.withUnsafeBytes { Array($0) } }

    private static func number(_ key: RawSpan, _ value: RawSpan) -> UInt32 {
        bytes(key).reduce(0) { $0 << 8 | UInt32($1) }
    }

    private func put(_ bytes: [UInt8], for number: UInt32) throws {
        try environment.write { transaction in
            try transaction.put(bytes.span.bytes, in: table, for: Self.key(number))
        }
    }

    private func put(
        _ bytes: [UInt8],
        _ transaction: borrowing Transaction,
        key: UInt32
    ) throws {
        try transaction.put(bytes.span.bytes, in: duplicates, for: Self.key(key))
    }

    private func value(for number: UInt32) throws -> [UInt8]? {
        try environment.read { transaction in
            try transaction.value(in: table, for: Self.key(number)) { Self.bytes($0) }
        }
    }

    private func entries() throws -> [(UInt32, [UInt8])] {
        try environment.read { transaction in
            try transaction.withCursor(over: table) { cursor in
                var entries: [(UInt32, [UInt8])] = []
                var entry = try cursor.first { (Self.number($0, $1), Self.bytes($1)) }
                while let found = entry {
                    entries.append(found)
                    entry = try cursor.next { (Self.number($0, $1), Self.bytes($1)) }
                }
                return entries
            }
        }
    }

    private func values(under number: UInt32, from lowest: [UInt8] = [0, 0]) throws -> [[UInt8]] {
        try environment.read { transaction in
            try transaction.withCursor(over: duplicates) { cursor in
                var values: [[UInt8]] = []
                var value = try cursor.seek(
                    Self.key(number), atLeast: lowest.span.bytes
                ) { Self.bytes($0) }
                while let found = value {
                    values.append(found)
                    value = try cursor.nextDuplicate { Self.bytes($1) }
                }
                return values
            }
        }
    }

    private static func write(_ bytes: [UInt8], to path: String) throws {
        let file = try FileHandle(path, .create)
        try PositionedIO.write(file.descriptor, bytes.span.bytes, at: 0, subject: path)
    }
}
