internal import CLMDB
internal import Glibc
internal import LinuxIO

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
    private static let smallestMapByteCount = 1 << 26
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
        var mapByteCount = Self.mapByteCount
        while true {
            do {
                unsafe pointer = try Self.open(path, tableLimit, durability, mapByteCount)
                return
            } catch {
                guard error.code == ENOMEM, mapByteCount > Self.smallestMapByteCount else {
                    throw error
                }
                mapByteCount /= 4
            }
        }
    }

    /// A map as large as the address space allows is never outgrown; where that is limited, buffers and
    /// threads need most of it.
    private static var mapByteCount: Int {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0,
            limit.rlim_cur < UInt64(largestMapByteCount)
        else { return largestMapByteCount }
        var byteCount = largestMapByteCount
        while UInt64(byteCount) > limit.rlim_cur / 4, byteCount > smallestMapByteCount {
            byteCount /= 4
        }
        return byteCount
    }

    /// One attempt: an environment that could not be opened may only be closed.
    private static func open(
        _ path: String,
        _ tableLimit: Int,
        _ durability: Durability,
        _ mapByteCount: Int
    ) throws(LMDBError) -> OpaquePointer {
        var pointer: OpaquePointer?
        try LMDBError.check(unsafe mdb_env_create(&pointer), "create")
        guard let created = unsafe pointer else {
            throw LMDBError(code: ENOMEM, operation: "create")
        }
        do throws(LMDBError) {
            try LMDBError.check(
                unsafe mdb_env_set_maxdbs(created, UInt32(tableLimit)), "set table limit")
            try LMDBError.check(
                unsafe mdb_env_set_maxreaders(created, readerLimit), "set reader limit")
            // NOTLS: a reader belongs to its transaction, not to its thread. NORDAHEAD: look-ups are
            // random.
            let synchronization = durability == .everything ? MDB_NOSYNC : MDB_NOMETASYNC
            let flags = UInt32(MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | synchronization)
            try LMDBError.check(unsafe mdb_env_set_mapsize(created, mapByteCount), "set map size")
            try LMDBError.check(
                unsafe mdb_env_open(created, path.systemBytes, flags, 0o600), "open")
            // The library leaves the file itself to whatever program is started.
            var descriptor: Int32 = -1
            try LMDBError.check(unsafe mdb_env_get_fd(created, &descriptor), "open")
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            // Frees the slots of readers that died; otherwise old pages would never be reused.
            var dead: Int32 = 0
            try LMDBError.check(unsafe mdb_reader_check(created, &dead), "check readers")
        } catch {
            unsafe mdb_env_close(created)
            throw error
        }
        return unsafe created
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
        do {
            try LMDBError.check(unsafe mdb_txn_commit(pointer), "commit")
        } catch {
            throw failing(error)
        }
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

    private func begin(flags: UInt32) throws -> OpaquePointer {
        var transaction: OpaquePointer?
        do {
            try LMDBError.check(unsafe mdb_txn_begin(pointer, nil, flags, &transaction), "begin")
        } catch {
            throw failing(error)
        }
        guard let begun = unsafe transaction else {
            throw LMDBError(code: ENOMEM, operation: "begin")
        }
        return unsafe begun
    }
}
