internal import CLMDB

/// A failure that LMDB reported.
package struct LMDBError: Error, Hashable, CustomStringConvertible {
    package let code: Int32
    package let operation: String

    /// Whether the code is the system's: of a call on the file that failed.
    package var isOfSystem: Bool { code > 0 }
    package var isMapFull: Bool { code == MDB_MAP_FULL }
    /// Whether the file itself is not usable, as opposed to a full disk or a missing right.
    package var isDamage: Bool {
        [
            MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_PANIC, MDB_VERSION_MISMATCH, MDB_INVALID,
            MDB_INCOMPATIBLE, MDB_BAD_VALSIZE, MDB_PAGE_FULL, MDB_CURSOR_FULL, MDB_BAD_TXN,
        ].contains(code)
    }

    package var description: String {
        if self == Self.brokenSeal { return "a row differs from what was written" }
        let reason = unsafe String(cString: mdb_strerror(code))
        return "LMDB \(operation): \(reason)"
    }

    /// A value of a sealed table that is not what was put there.
    static let brokenSeal = LMDBError(code: MDB_CORRUPTED, operation: "verify")

    static func check(_ code: Int32, _ operation: String) throws(LMDBError) {
        guard code == MDB_SUCCESS else { throw LMDBError(code: code, operation: operation) }
    }
}
