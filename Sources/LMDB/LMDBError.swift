internal import CLMDB

/// A failure that LMDB reported.
package struct LMDBError: Error, Hashable, CustomStringConvertible {
    package let code: Int32
    package let operation: String

    package var isMapFull: Bool { code == MDB_MAP_FULL }
    /// Whether the file itself is not usable, as opposed to a full disk or a missing right.
    package var isDamage: Bool {
        [
            MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_PANIC, MDB_VERSION_MISMATCH, MDB_INVALID,
            MDB_INCOMPATIBLE, MDB_BAD_VALSIZE,
        ].contains(code)
    }

    package var description: String {
        let reason = unsafe String(cString: mdb_strerror(code))
        return "LMDB \(operation): \(reason)"
    }

    static func check(_ code: Int32, _ operation: String) throws(LMDBError) {
        guard code == MDB_SUCCESS else { throw LMDBError(code: code, operation: operation) }
    }
}
