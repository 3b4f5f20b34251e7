package import BlockModel
internal import LinuxIO
package import Logging
internal import ObjectStore
package import Repository
package import RepositoryFormat

/// A repository that is open, with its index: what every command works on.
package final class SnapshotService {
    package let repository: Repository
    package let indexDirectory: String
    package let logger: Logger
    /// The time, of snapshots and for retention.
    package var clock: () -> Timestamp = Moment.now
    private let owner = HoldOwner.current()
    private var openIndex: Index?

    /// Opens the repository at `location`, to be used at no more than so many bytes a second.
    package init(
        location: String,
        environment: [String: String],
        logger: Logger,
        bytesPerSecond: UInt64? = nil
    ) throws {
        let store = try RepositoryLocation.store(location, creating: false)
        repository = try Repository(
            openingIn: bytesPerSecond.map { ThrottledStore(store, bytesPerSecond: $0) } ?? store)
        indexDirectory = try RepositoryLocation.indexDirectory(
            of: repository.identity.id.hexadecimal, environment: environment)
        self.logger = logger
    }

    /// Creates a repository at `location`.
    package static func create(location: String, blockSize: BlockSize) throws -> Repository {
        var generator = SystemRandomNumberGenerator()
        let store = try RepositoryLocation.store(location, creating: true)
        let found = try store.list("")
        guard found.isEmpty || found.contains(where: { $0.name == ObjectNames.configuration })
        else {
            throw ServiceError(
                .failed,
                "\(location) is not empty and no repository; choose an empty directory")
        }
        let repository = try Repository(
            creatingIn: store, blockSize: blockSize, created: Moment.now(), generator: &generator)
        store.fillReserve()
        return repository
    }

    /// The index, opened when first needed.
    package func index() throws -> Index {
        if let openIndex { return openIndex }
        let index: Index
        do {
            index = try Index(directory: indexDirectory, identity: repository.identity)
        } catch let error as SystemError where error.errno == SystemError.readOnly {
            throw ServiceError(
                .failed,
                "\(error); set VARVE_CACHE_DIR to a directory that can be written")
        }
        openIndex = index
        return index
    }

    /// The index with the packs of the repository as they are now.
    package func currentIndex() throws -> Index {
        let index = try index()
        try index.synchronizePacks(with: repository) { id, error in
            logger.warning("\(error)", metadata: ["pack": "\(id.hexadecimal)"])
        }
        return index
    }

    /// Runs `body`, and once more with a new index when it ends because the index is damaged.
    ///
    /// What it reads has to be there a second time, so it reads no stream.
    package func mendingIndex<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as RepositoryError where error.kind == .index {
            logger.warning("\(error.cause); it is built anew")
            openIndex = nil
            return try body()
        }
    }

    package func timelines(_ volume: VolumeName? = nil) throws -> [Timeline] {
        try repository.timelines(volume, cache: try? index())
    }

    /// Runs what lists volumes and reads their deltas: again, where somebody who forgets snapshots has
    /// deleted some of them in between.
    func whileListed<Result>(_ body: () throws -> Result) throws -> Result {
        var listed = try repository.deltaNames()
        for _ in 0..<Self.listingLimit {
            do {
                return try body()
            } catch let error as RepositoryError where error.kind == .damaged {
                let now = try repository.deltaNames()
                guard !listed.isSubset(of: now) else { throw error }
                listed = now
            }
        }
        return try body()
    }

    private static let listingLimit = 20

    // MARK: Holds

    /// Takes a hold; a repository that cannot be written is read without one.
    package func hold(_ scope: HoldScope, _ kind: HoldKind, purpose: String) throws -> Hold {
        try repository.hold(
            scope, kind, purpose: purpose, owner: owner, now: Moment.now)
    }

    /// Gives up what the repository sets aside, if that is what is left of its disk.
    func useReserveIfFull() {
        if repository.store.releaseReserve() {
            logger.info("the repository is nearly full: its reserve is used")
        }
    }

    package func holdForReading(purpose: String) throws -> Hold? {
        do {
            return try hold(.repository, .shared, purpose: purpose)
        } catch let error as ObjectStoreError where error.reason == .denied {
            logger.info("the repository cannot be written, so it is read without a hold")
            return nil
        }
    }

    /// Removes holds whose owners are gone, or all of them.
    package func unlock(all: Bool) throws -> (removed: [ForeignHold], kept: [ForeignHold]) {
        var removed: [ForeignHold] = []
        var kept: [ForeignHold] = []
        for hold in try repository.allHolds(now: Moment.now()) {
            if hold.state != .live || all {
                try repository.remove(hold)
                removed.append(hold)
            } else {
                kept.append(hold)
            }
        }
        return (removed, kept)
    }

    // MARK: Index

    /// Throws the index away and builds it from the repository; with `isLenient` as far as that can be
    /// read.
    package func rebuildIndex(
        isLenient: Bool = false
    ) throws -> (volumes: Int, snapshots: Int, byteCount: UInt64) {
        let hold = try holdForReading(purpose: "index rebuild")
        defer { withExtendedLifetime(hold) {} }
        let index = try index()
        var timelines: [Timeline] = []
        try index.rebuild {
            try index.synchronizePacks(with: repository) { _, error in
                logger.warning("\(error)")
            }
            timelines = try self.timelines()
            for timeline in timelines {
                if isLenient {
                    try index.bringForward(timeline, with: repository)
                } else {
                    _ = try index.synchronize(timeline, with: repository)
                }
            }
        }
        let snapshots = timelines.reduce(0) { $0 + $1.snapshots.count }
        return (timelines.count, snapshots, index.usedByteCount)
    }
}
