internal import CLMDB
internal import Glibc

/// A named table inside an environment.
package struct Table: Sendable {
    package struct Options: OptionSet, Sendable {
        package let rawValue: Int
        package init(rawValue: Int) { self.rawValue = rawValue }
        /// Many values of one fixed size under a key, sorted as bytes.
        package static let fixedDuplicates = Options(rawValue: 1)
        /// Each value is followed by a checksum of it and its key, which every reading verifies.
        ///
        /// LMDB takes its file for whole. Not together with ``fixedDuplicates``.
        package static let sealed = Options(rawValue: 2)
    }

    let handle: UInt32
    let isSealed: Bool
}

/// An open LMDB environment: one file, many tables, one writer at a time, any number of readers.
///
/// A process opens a file once only (LMDB's own rule); transactions are synchronous closures, so
/// that none can outlive its thread's turn. Source: <http://www.lmdb.tech/doc/>.
@safe
package final class Environment: @unchecked Sendable {
    // Safe to share: LMDB's environment is thread-safe, and the pointer is set once.
    private let pointer: OpaquePointer
    private let failing: @Sendable (any Error) -> any Error

    /// What a crash of the machine may take; a crash of the process takes nothing that was committed.
    package enum Durability: Sendable {
        /// The last transaction at most: one sync each, of data, which the next one's makes lasting.
        case lastTransaction
        /// Everything: for files that do not outlive their process.
        case everything
    }

    /// The address space that is set aside for the file; costs no memory until the file grows.
    private static let largestMapByteCount = 1 << 40
    private static let smallestMapByteCount = 1 << 28
    private static let readerLimit: UInt32 = 510

    /// Opens or creates the file at `path` and its lock file beside it.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - tableLimit: how many tables it may have.
    ///   - durability: what a crash may take.
    ///   - failing: is told of the error that a transaction ends with, and gives the one to throw.
    /// - Throws: ``LMDBError``.
    package init(
        path: String,
        tableLimit: Int,
        durability: Durability = .lastTransaction,
        failing: @escaping @Sendable (any Error) -> any Error = { $0 }
    ) throws(LMDBError) {
        self.failing = failing
        var pointer: OpaquePointer?
        try LMDBError.check(unsafe mdb_env_create(&pointer), "create")
        guard let created = unsafe pointer else {
            throw LMDBError(code: ENOMEM, operation: "create")
        }
        unsafe self.pointer = created
        try LMDBError.check(
            unsafe mdb_env_set_maxdbs(created, UInt32(tableLimit)), "set table limit")
        try LMDBError.check(
            unsafe mdb_env_set_maxreaders(created, Self.readerLimit), "set reader limit")
        // NOTLS: a reader belongs to its transaction, not to its thread. NORDAHEAD: look-ups are
        // random. A map as large as the address space allows is never outgrown.
        let synchronization = durability == .everything ? MDB_NOSYNC : MDB_NOMETASYNC
        let flags = UInt32(MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | synchronization)
        var mapByteCount = Self.largestMapByteCount
        while true {
            try LMDBError.check(unsafe mdb_env_set_mapsize(created, mapByteCount), "set map size")
            let code = unsafe mdb_env_open(created, path, flags, 0o600)
            if code == ENOMEM, mapByteCount > Self.smallestMapByteCount {
                mapByteCount /= 4
                continue
            }
            try LMDBError.check(code, "open")
            break
        }
        // Frees the slots of readers that died; otherwise old pages would never be reused.
        var dead: Int32 = 0
        try LMDBError.check(unsafe mdb_reader_check(created, &dead), "check readers")
    }

    deinit { unsafe mdb_env_close(pointer) }

    /// Runs `body` in a write transaction: committed on return, aborted on a throw.
    package func write<Result>(_ body: (borrowing Transaction) throws -> Result) throws -> Result {
        let pointer = unsafe try begin(flags: 0)
        let result: Result
        do {
            result = try body(unsafe Transaction(pointer: pointer))
        } catch {
            unsafe mdb_txn_abort(pointer)
            throw failing(error)
        }
        try LMDBError.check(unsafe mdb_txn_commit(pointer), "commit")
        return result
    }

    /// Runs `body` in a read transaction; keep it short, since it holds back the reuse of pages.
    package func read<Result>(_ body: (borrowing Transaction) throws -> Result) throws -> Result {
        let pointer = unsafe try begin(flags: UInt32(MDB_RDONLY))
        defer { unsafe mdb_txn_abort(pointer) }
        do {
            return try body(unsafe Transaction(pointer: pointer))
        } catch {
            throw failing(error)
        }
    }

    /// Bytes of the file in use: pages of 4 KiB up to the last one that was ever written.
    package var usedByteCount: UInt64 {
        var information = unsafe MDB_envinfo()
        var statistics = MDB_stat()
        guard unsafe mdb_env_info(pointer, &information) == MDB_SUCCESS,
            unsafe mdb_env_stat(pointer, &statistics) == MDB_SUCCESS
        else { return 0 }
        return UInt64(unsafe information.me_last_pgno + 1) * UInt64(statistics.ms_psize)
    }

    private func begin(flags: UInt32) throws(LMDBError) -> OpaquePointer {
        var transaction: OpaquePointer?
        try LMDBError.check(unsafe mdb_txn_begin(pointer, nil, flags, &transaction), "begin")
        guard let begun = unsafe transaction else {
            throw LMDBError(code: ENOMEM, operation: "begin")
        }
        return unsafe begun
    }
}
