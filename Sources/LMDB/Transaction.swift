internal import CLMDB
internal import Glibc
internal import Hashing

/// One transaction, lent to the closure that runs in it; it cannot be copied out of there.
@safe
package struct Transaction: ~Copyable {
    private let pointer: OpaquePointer

    init(pointer: OpaquePointer) { unsafe self.pointer = pointer }

    /// Opens the table `name`, creating it when the transaction may write.
    package func table(
        _ name: String,
        options: Table.Options = [],
        creating: Bool = true
    ) throws(LMDBError) -> Table {
        var handle: UInt32 = 0
        var flags: UInt32 = creating ? UInt32(MDB_CREATE) : 0
        if options.contains(.fixedDuplicates) { flags |= UInt32(MDB_DUPSORT | MDB_DUPFIXED) }
        try LMDBError.check(unsafe mdb_dbi_open(pointer, name, flags, &handle), "open table")
        return Table(handle: handle, isSealed: options.contains(.sealed))
    }

    /// Lends the value under `key` to `body`; nil when there is none.
    package func value<Result>(
        in table: Table,
        for key: Key,
        _ body: (RawSpan) throws -> Result
    ) throws -> Result? {
        var value = unsafe MDB_val()
        let code = key.withBytes { bytes in
            unsafe Self.withValue(bytes) { key in
                unsafe mdb_get(pointer, table.handle, key, &value)
            }
        }
        if code == MDB_NOTFOUND { return nil }
        try LMDBError.check(code, "get")
        let span = unsafe Self.span(value)
        guard table.isSealed else { return try body(span) }
        guard key.withBytes({ Seal.isWhole(span, of: $0) }) else { throw LMDBError.brokenSeal }
        return try body(span.extracting(droppingLast: Seal.byteCount))
    }

    package func contains(_ key: Key, in table: Table) throws -> Bool {
        try value(in: table, for: key) { _ in true } ?? false
    }

    /// Stores `value` under `key`, replacing what was there (or beside it, in a duplicate table).
    package func put(_ value: RawSpan, in table: Table, for key: Key) throws(LMDBError) {
        guard !table.isSealed else { return try putSealed(value, in: table, for: key) }
        let code = key.withBytes { bytes in
            unsafe Self.withValue(bytes) { key in
                unsafe Self.withValue(value) { unsafe mdb_put(pointer, table.handle, key, $0, 0) }
            }
        }
        try LMDBError.check(code, "put")
    }

    private func putSealed(_ value: RawSpan, in table: Table, for key: Key) throws(LMDBError) {
        // Written where LMDB keeps it, without a copy in between.
        var room = unsafe MDB_val(mv_size: value.byteCount + Seal.byteCount, mv_data: nil)
        let code = key.withBytes { bytes in
            unsafe Self.withValue(bytes) { key in
                unsafe mdb_put(pointer, table.handle, key, &room, UInt32(MDB_RESERVE))
            }
        }
        try LMDBError.check(code, "put")
        let target = unsafe UnsafeMutableRawBufferPointer(
            start: room.mv_data, count: value.byteCount + Seal.byteCount)
        // Safe: LMDB reserved as many bytes as were asked for.
        unsafe value.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
        let seal = key.withBytes { Seal.value(of: value, $0) }
        unsafe target.storeBytes(
            of: seal.littleEndian, toByteOffset: value.byteCount, as: UInt64.self)
    }

    /// Removes `key` with all its values; does nothing when it is not there.
    package func remove(_ key: Key, from table: Table) throws(LMDBError) {
        let code = key.withBytes { bytes in
            unsafe Self.withValue(bytes) { unsafe mdb_del(pointer, table.handle, $0, nil) }
        }
        if code != MDB_NOTFOUND { try LMDBError.check(code, "delete") }
    }

    /// Removes one of the values that a duplicate table holds under `key`.
    package func remove(_ value: RawSpan, for key: Key, from table: Table) throws(LMDBError) {
        let code = key.withBytes { bytes in
            unsafe Self.withValue(bytes) { key in
                unsafe Self.withValue(value) { unsafe mdb_del(pointer, table.handle, key, $0) }
            }
        }
        if code != MDB_NOTFOUND { try LMDBError.check(code, "delete") }
    }

    /// Removes every entry of `table`.
    package func clear(_ table: Table) throws(LMDBError) {
        try LMDBError.check(unsafe mdb_drop(pointer, table.handle, 0), "clear")
    }

    /// Number of entries in `table`.
    package func entryCount(of table: Table) throws(LMDBError) -> Int {
        var statistics = MDB_stat()
        try LMDBError.check(unsafe mdb_stat(pointer, table.handle, &statistics), "count")
        return statistics.ms_entries
    }

    /// Lends a cursor over `table`.
    package func withCursor<Result>(
        over table: Table,
        _ body: (borrowing Cursor) throws -> Result
    ) throws -> Result {
        var cursor: OpaquePointer?
        try LMDBError.check(
            unsafe mdb_cursor_open(pointer, table.handle, &cursor), "open cursor")
        guard let opened = unsafe cursor else {
            throw LMDBError(code: ENOMEM, operation: "open cursor")
        }
        defer { unsafe mdb_cursor_close(opened) }
        return try body(unsafe Cursor(pointer: opened, isSealed: table.isSealed))
    }

    static func withValue<Result>(
        _ bytes: RawSpan,
        _ body: (UnsafeMutablePointer<MDB_val>) -> Result
    ) -> Result {
        // Safe: LMDB only reads through the pointer, and only during the call.
        unsafe bytes.withUnsafeBytes { buffer in
            var value = unsafe MDB_val(
                mv_size: buffer.count,
                mv_data: UnsafeMutableRawPointer(mutating: buffer.baseAddress))
            return unsafe body(&value)
        }
    }

    @_lifetime(immortal)
    static func span(_ value: MDB_val) -> RawSpan {
        // Valid until the transaction ends or writes; callers lend it to a closure only.
        let buffer = unsafe UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size)
        return unsafe _overrideLifetime(RawSpan(_unsafeBytes: buffer), copying: ())
    }
}

/// A position in a table; every move says whether there is an entry.
@safe
package struct Cursor: ~Copyable {
    private let pointer: OpaquePointer
    private let isSealed: Bool

    init(pointer: OpaquePointer, isSealed: Bool) {
        unsafe self.pointer = pointer
        self.isSealed = isSealed
    }

    /// Moves to the first entry whose key is not below `key`.
    package func seek<Result>(
        atLeast key: Key,
        _ body: (RawSpan, RawSpan) throws -> Result
    ) throws -> Result? {
        try move(MDB_SET_RANGE, key: key, body)
    }

    /// Moves to the first value under `key` that is not below `value` (duplicate tables only).
    package func seek<Result>(
        _ key: Key,
        atLeast value: RawSpan,
        _ body: (RawSpan) throws -> Result
    ) throws -> Result? {
        var found = unsafe MDB_val()
        let code = key.withBytes { bytes in
            unsafe Transaction.withValue(bytes) { key in
                unsafe Transaction.withValue(value) { sought in
                    let code = unsafe mdb_cursor_get(pointer, key, sought, MDB_GET_BOTH_RANGE)
                    unsafe found = sought.pointee
                    return code
                }
            }
        }
        if code == MDB_NOTFOUND { return nil }
        try LMDBError.check(code, "seek")
        return try body(unsafe Transaction.span(found))
    }

    package func first<Result>(_ body: (RawSpan, RawSpan) throws -> Result) throws -> Result? {
        try move(MDB_FIRST, key: nil, body)
    }

    package func last<Result>(_ body: (RawSpan, RawSpan) throws -> Result) throws -> Result? {
        try move(MDB_LAST, key: nil, body)
    }

    package func next<Result>(_ body: (RawSpan, RawSpan) throws -> Result) throws -> Result? {
        try move(MDB_NEXT, key: nil, body)
    }

    /// The next value under the same key (duplicate tables only).
    package func nextDuplicate<Result>(
        _ body: (RawSpan, RawSpan) throws -> Result
    ) throws -> Result? {
        try move(MDB_NEXT_DUP, key: nil, body)
    }

    package func previous<Result>(_ body: (RawSpan, RawSpan) throws -> Result) throws -> Result? {
        try move(MDB_PREV, key: nil, body)
    }

    private func move<Result>(
        _ operation: MDB_cursor_op,
        key: Key?,
        _ body: (RawSpan, RawSpan) throws -> Result
    ) throws -> Result? {
        var found = (unsafe MDB_val(), unsafe MDB_val())
        let code: Int32
        if let key {
            code = key.withBytes { bytes in
                unsafe Transaction.withValue(bytes) { sought in
                    let code = unsafe mdb_cursor_get(pointer, sought, &found.1, operation)
                    unsafe found.0 = sought.pointee
                    return code
                }
            }
        } else {
            unsafe code = mdb_cursor_get(pointer, &found.0, &found.1, operation)
        }
        if code == MDB_NOTFOUND { return nil }
        try LMDBError.check(code, "move")
        let (key, value) = (unsafe Transaction.span(found.0), unsafe Transaction.span(found.1))
        guard isSealed else { return try body(key, value) }
        guard Seal.isWhole(value, of: key) else { throw LMDBError.brokenSeal }
        return try body(key, value.extracting(droppingLast: Seal.byteCount))
    }
}

/// What follows a value of a sealed table.
enum Seal {
    static let byteCount = 8

    static func value(of value: RawSpan, _ key: RawSpan) -> UInt64 {
        XXH3.hash64(value) &+ XXH3.hash64(key) &* 0x9E37_79B9_7F4A_7C15
    }

    /// Whether the end of `bytes` is the seal of the rest under this key.
    static func isWhole(_ bytes: RawSpan, of key: RawSpan) -> Bool {
        let count = bytes.byteCount - byteCount
        guard count >= 0 else { return false }
        // Safe: the eight bytes behind the value are within the span.
        let seal = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: count, as: UInt64.self)
        return UInt64(littleEndian: seal) == value(of: bytes.extracting(0..<count), key)
    }
}
