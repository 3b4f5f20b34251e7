internal import BlockModel
internal import Glibc
package import Hashing
internal import LMDB
internal import LinuxIO
package import Repository
package import RepositoryFormat
internal import RepositoryModel
internal import Synchronization

/// The LMDB database beside the user's caches: derived, disposable, rebuilt from the repository.
///
/// It is bound to the repository's id; one that belongs elsewhere is thrown away. One that is damaged, or
/// with which a process crashed, is put aside for a week. Nothing in it is the only copy of anything.
package final class Index: Sendable {
    static let formatVersion: UInt32 = 7

    let environment: Environment
    let tables: IndexTables
    let blockSize: BlockSize
    /// Digest of a block of zeros.
    let zeroDigest: Digest
    /// Fingerprints under this index's own secret.
    package let fingerprints: KeyedXXH3
    package let directory: String
    /// Whether this process built it from the repository, so that no earlier write can be missing in it.
    package var isNew: Bool { newness.load(ordering: .relaxed) }
    private let newness: Atomic<Bool>
    /// Where an index lies that goes with its process.
    private let home: TransientDirectory?
    private let use: IndexUse
    private let crashMark: CrashMark?
    let packsByNumber = Mutex<[UInt32: PackRecord]>([:])
    let badFrameState = Mutex(BadFrameState())
    package let failures = FailedPlaces()
    /// Of readers that read every frame to its end.
    package let failuresOfWholeFrames = FailedPlaces()
    let lookups: Lookups

    private static let metaKey = Key("index")

    /// Opens the index of `identity` in `directory`, making both where they are missing.
    ///
    /// A scratch index is not kept, and nothing of it is synced: its file has no name, and goes with it.
    package convenience init(
        directory: String,
        identity: RepositoryIdentity,
        isScratch: Bool = false,
        lookups: Lookups = Lookups()
    ) throws {
        try self.init(directory, identity, isScratch: isScratch, nil, lookups)
    }

    /// Makes an index for this process alone, in a place of its own.
    package convenience init(transientOf repository: Repository) throws {
        let home = try TransientDirectory("varve-index")
        try self.init(home.path, repository.identity, isScratch: true, home, repository.lookups)
    }

    private init(
        _ directory: String,
        _ identity: RepositoryIdentity,
        isScratch: Bool,
        _ home: TransientDirectory?,
        _ lookups: Lookups
    ) throws {
        self.home = home
        self.lookups = lookups
        self.directory = directory
        blockSize = identity.blockSize
        zeroDigest = ImageDigestTree(blockSize: blockSize).zeroBlock
        let opened: Opened
        do {
            try Directory.makeAll(directory)
            use = try IndexUse(directory: directory)
            opened = try Self.prepare(directory, identity, isScratch: isScratch)
        } catch {
            throw IndexPlace.failure(error, in: directory)
        }
        crashMark = opened.crashMark
        (environment, tables, fingerprints) = (opened.environment, opened.tables, opened.hash)
        newness = Atomic(opened.isNew)
        if isScratch { try Self.remove(directory + "/index.mdb") }
        try loadPacks()
    }

    /// Thrown where the file is whole but another repository's or another format's.
    private struct IndexMismatch: Error {}

    private struct Opened {
        let environment: Environment
        let tables: IndexTables
        let hash: KeyedXXH3
        let isNew: Bool
        var crashMark: CrashMark?
    }

    /// Puts aside or removes what cannot be used, and opens what is there, or a new index.
    private static func prepare(
        _ directory: String,
        _ identity: RepositoryIdentity,
        isScratch: Bool
    ) throws -> Opened {
        try withUpdateLock(directory) {
            let path = directory + "/index.mdb"
            let durability: Environment.Durability = isScratch ? .everything : .lastTransaction
            let suspicion = suspicion(directory)
            let isSuspected = try FileStatus(path: suspicion) != nil
            try removeOldAside(path)
            if isSuspected || Environment.isCutShort(path) {
                try putAside(path)
                try FileOperation.remove(suspicion)
            }
            let crashMark = isScratch ? nil : CrashMark(suspicion)
            var opened: Opened
            do {
                opened = try open(path, identity, durability)
            } catch {
                guard error is IndexMismatch || isDamage(error) else { throw error }
                try error is IndexMismatch ? remove(path) : putAside(path)
                try FileOperation.remove(suspicion)
                opened = try open(path, identity, durability)
            }
            opened.crashMark = crashMark
            return opened
        }
    }

    private static func open(
        _ path: String,
        _ identity: RepositoryIdentity,
        _ durability: Environment.Durability
    ) throws -> Opened {
        let directory = Directory.parent(of: path)
        try IndexPlace.reserveLockFile(of: path)
        let environment = try Environment(
            path: path, tableLimit: IndexTables.count, durability: durability
        ) { error in
            guard isDamage(error) else { return IndexPlace.failure(error, in: directory) }
            return distrust(directory, error as? RepositoryError ?? broken("\(error)"))
        }
        return try environment.write { transaction in
            let tables = try IndexTables(transaction)
            let known = try transaction.value(in: tables.meta, for: metaKey) {
                [UInt8](copying: $0)
            }
            if let known {
                guard let secret = decodeMeta(known, identity) else { throw IndexMismatch() }
                return Opened(
                    environment: environment, tables: tables, hash: KeyedXXH3(secret: secret),
                    isNew: false)
            }
            var generator = SystemRandomNumberGenerator()
            let secret = (0..<KeyedXXH3.secretByteCount).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            var writer = ByteWriter()
            writer.append(formatVersion)
            writer.append(identity.id)
            writer.append(UInt32(identity.blockSize.byteCount))
            writer.append(secret)
            try transaction.put(writer.bytes.rawSpan, in: tables.meta, for: metaKey)
            return Opened(
                environment: environment, tables: tables, hash: KeyedXXH3(secret: secret),
                isNew: true)
        }
    }

    /// Makes the next process that opens the index rebuild it, as the returned error says.
    private static func distrust(_ directory: String, _ error: RepositoryError) -> RepositoryError {
        _ = try? FileHandle(suspicion(directory), .create, mode: 0o600)
        return RepositoryError(
            .index, "\(error.cause); the next command rebuilds it, which loses nothing",
            cause: error.cause)
    }

    /// The error for an index that is proved to be wrong; it is rebuilt when it is next opened.
    package func wrong(_ why: String) -> RepositoryError {
        Self.distrust(directory, Self.broken(why))
    }

    /// The file that says so.
    private static func suspicion(_ directory: String) -> String { directory + "/damaged" }

    /// Whether an error is of the index's own files, not of the repository.
    package static func isOwnFailure(_ error: any Error) -> Bool { error is LMDBError }

    private static func isDamage(_ error: any Error) -> Bool {
        // A row of another table, which a lost write can lead to, has a good seal and says nothing.
        if error is FormatError { return true }
        return (error as? LMDBError)?.isDamage ?? ((error as? RepositoryError)?.kind == .index)
    }

    private static func decodeMeta(_ bytes: [UInt8], _ identity: RepositoryIdentity) -> [UInt8]? {
        var reader = ByteReader(bytes)
        guard (try? reader.integer(UInt32.self)) == formatVersion,
            (try? reader.objectID()) == identity.id,
            (try? reader.integer(UInt32.self)) == UInt32(identity.blockSize.byteCount),
            let secret = try? reader.take(KeyedXXH3.secretByteCount)
        else { return nil }
        return Array(secret)
    }

    /// How long a damaged index is kept.
    private static let asideSeconds: Int64 = 7 * 86_400

    /// Keeps a damaged index: where deltas were lost too, it may be the one that knows them.
    private static func putAside(_ path: String) throws {
        if try FileStatus(path: aside(path)) == nil {
            _ = unsafe rename(path.systemBytes, aside(path).systemBytes)
            _ = unsafe utimensat(AT_FDCWD, aside(path).systemBytes, nil, 0)
        }
        try remove(path)
    }

    private static func aside(_ path: String) -> String { path + ".damaged" }

    private static func removeOldAside(_ path: String) throws {
        guard let status = try FileStatus(path: aside(path)),
            status.modifiedSeconds + asideSeconds < SystemClock.now().seconds
        else { return }
        try FileOperation.remove(aside(path))
    }

    private static func remove(_ path: String) throws {
        for file in [path, path + "-lock"] { _ = unsafe unlink(file.systemBytes) }
    }

    /// The secret of the order in which samples of unchanged blocks are taken.
    package var sampleSecret: (low: UInt64, high: UInt64) {
        fingerprints.hash128(Array("varve sample order".utf8).rawSpan)
    }

    /// Bytes of the database file in use.
    package var usedByteCount: UInt64 { environment.usedByteCount }

    /// Empties the index and runs `rebuild`, which fills it from the repository alone; nobody else
    /// may use the index meanwhile.
    package func rebuild(_ rebuild: () throws -> Void) throws {
        try use.alone {
            try clear()
            newness.store(true, ordering: .relaxed)
            try rebuild()
        }
    }

    func clear() throws {
        try environment.write { transaction in
            for table in [
                tables.packs, tables.numbers, tables.digests, tables.places, tables.histories,
                tables.snapshots, tables.history, tables.leaves, tables.tips, tables.staged,
                tables.heads, tables.failures, tables.verdicts,
            ] {
                try transaction.clear(table)
            }
            try clearLiveCounts(transaction)
            // What was found bad stays known: nothing but reading it again would show it.
            if try transaction.entryCount(of: tables.rot) == 0 {
                try transaction.remove(Self.lossKey, from: tables.meta)
            }
        }
        packsByNumber.withLock { $0.removeAll() }
    }

    /// Refuses what a damaged file may have cut of a row's key or value.
    static func require(_ byteCount: Int, of bytes: RawSpan) throws {
        guard bytes.byteCount >= byteCount else { throw broken("a row has the wrong length") }
    }

    /// A number that is a value of its own.
    static func number<Number: FixedWidthInteger & BitwiseCopyable>(
        _ value: RawSpan,
        as type: Number.Type
    ) throws -> Number {
        try require(MemoryLayout<Number>.size, of: value)
        return value.littleEndian(at: 0, as: type)
    }

    // MARK: Packs

    /// The record of a pack that is in the repository; nil for one that is gone.
    package func pack(_ number: UInt32) -> PackRecord? {
        packsByNumber.withLock { $0[number] }
    }

    package var knownPacks: [PackRecord] { packsByNumber.withLock { Array($0.values) } }

    func remember(_ record: PackRecord) {
        var record = record
        record.badFrames = badFrameState.withLock { $0.known[record.id] ?? [] }
        packsByNumber.withLock { $0[record.number] = record }
    }

    func forgetPack(_ number: UInt32) {
        packsByNumber.withLock { _ = $0.removeValue(forKey: number) }
    }

    /// Reads all pack records again; another process may have added some.
    package func loadPacks() throws {
        let (records, badFrames, losses) = try environment.read { transaction in
            let badFrames = try loadRot(transaction)
            let records = try transaction.withCursor(over: tables.packs) { cursor in
                var records: [UInt32: PackRecord] = [:]
                var record = try cursor.first(Self.packRecord)
                while var known = record {
                    known.badFrames = badFrames[known.id] ?? []
                    if known.byteCount > 0 { records[known.number] = known }
                    record = try cursor.next(Self.packRecord)
                }
                return records
            }
            return (records, badFrames, try lossCount(transaction))
        }
        packsByNumber.withLock { $0 = records }
        let unsaved = badFrameState.withLock { state in
            state.known = badFrames
            state.lossCount = losses
            for frame in state.unsaved {
                state.known[frame.pack, default: []].insert(frame.byteOffset)
            }
            return !state.unsaved.isEmpty
        }
        if unsaved { for record in records.values { remember(record) } }
    }

    private static func packRecord(_ key: RawSpan, _ value: RawSpan) throws -> PackRecord {
        try require(4, of: key)
        try require(32, of: value)
        return PackRecord(
            number: key.littleEndian(at: 0, as: UInt32.self).byteSwapped,
            id: ObjectID(
                high: value.littleEndian(at: 0, as: UInt64.self),
                low: value.littleEndian(at: 8, as: UInt64.self)),
            byteCount: value.littleEndian(at: 16, as: UInt64.self),
            isOwn: value.littleEndian(at: 24, as: UInt64.self) == 1)
    }

    /// Writes a pack's record; a size of zero says that the pack is gone.
    func putPack(_ record: PackRecord, _ transaction: borrowing Transaction) throws {
        var writer = ByteWriter()
        writer.append(record.id.high)
        writer.append(record.id.low)
        writer.append(record.byteCount)
        writer.append(UInt64(record.isOwn ? 1 : 0))
        try transaction.put(
            writer.bytes.rawSpan, in: tables.packs, for: Key().appending(record.number))
    }
}
