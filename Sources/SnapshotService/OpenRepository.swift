package import BlockModel
internal import LinuxIO
package import Logging
internal import Maintenance
package import ObjectStore
package import Repository
internal import RepositoryFormat
package import RepositoryIndex
package import RepositoryModel

/// A repository that is open, with its index: what every command works on.
package final class OpenRepository {
    package let repository: Repository
    package let logger: Logger
    package var clock: RepositoryClock
    /// Where the ids of new objects come from.
    package let identifiers: any IdentifierSource
    /// Sizes of what is written.
    package var sizes = ObjectSizes()
    /// Renews the holds of all commands that go on here; nil where nobody does.
    package let holdKeeper: HoldKeeper?
    let owner: HoldOwner
    private let indexDirectoryIfNamed: Result<String, RepositoryError>
    private var openIndex: Index?
    /// Why the open index is one for this process alone; nil when it is the one that is kept.
    package private(set) var indexProblem: RepositoryError?

    /// Opens the repository in `store`.
    ///
    /// - Parameters:
    ///   - store: where its objects are.
    ///   - indexDirectory: gives where the index of the repository with that id is kept.
    ///   - clock: the time.
    ///   - identifiers: where the ids of new objects come from.
    ///   - owner: whose holds are taken.
    ///   - holdKeeper: what renews them.
    ///   - logger: gets what is of note.
    /// - Throws: ``RepositoryError``; `Trust.Refusal` for an index that others can change.
    package init(
        _ store: any ObjectStore,
        indexDirectory: (ObjectID) throws -> String,
        clock: RepositoryClock = .system,
        identifiers: any IdentifierSource = RandomIdentifiers(),
        owner: HoldOwner = .current(),
        holdKeeper: HoldKeeper? = HoldKeeper(),
        logger: Logger
    ) throws {
        repository = try Repository(openingIn: store)
        do {
            indexDirectoryIfNamed = .success(try indexDirectory(repository.identity.id))
        } catch {
            indexDirectoryIfNamed = .failure(RepositoryError(.cache, "\(error)"))
        }
        // What the index says is believed.
        if case .success(let directory) = indexDirectoryIfNamed {
            try Trust.require(directory, as: "the index")
        }
        self.clock = clock
        self.identifiers = identifiers
        self.owner = owner
        self.holdKeeper = holdKeeper
        self.logger = logger
    }

    /// Opens the repository at `location`, to be used at no more than so many bytes a second.
    package convenience init(
        location: String,
        environment: [String: String],
        logger: Logger,
        bytesPerSecond: UInt64? = nil
    ) throws {
        let store = try RepositoryLocation.store(location, creating: false)
        try self.init(
            bytesPerSecond.map { ThrottledStore(store, bytesPerSecond: $0) } ?? store,
            indexDirectory: {
                try RepositoryLocation.indexDirectory(
                    of: $0.hexadecimal, environment: environment)
            }, logger: logger)
    }

    /// Where the index is kept.
    package var indexDirectory: String {
        get throws { try indexDirectoryIfNamed.get() }
    }

    /// What the repository is called, for people.
    package var location: String { repository.store.location }

    /// Creates a repository at `location`; gives its id.
    package static func create(location: String, blockSize: BlockSize) throws -> ObjectID {
        var generator = SystemRandomNumberGenerator()
        let store = try RepositoryLocation.store(location, creating: true)
        let found = try store.list("")
        if found.contains(where: { $0.name == ObjectNames.configuration }) {
            // A damaged one is mended, not made again.
            _ = try Repository(openingIn: store)
        } else if let objects = try Repository.foundObjects(store) {
            throw ServiceError(
                .failed,
                "\(location) holds a repository that has lost its config (\(objects)); run 'varve repair' "
                    + "to restore it, or choose an empty directory")
        }
        guard found.isEmpty || found.contains(where: { $0.name == ObjectNames.configuration })
        else {
            throw ServiceError(
                .failed,
                "\(location) is neither empty nor a repository; choose an empty directory")
        }
        let repository = try Repository(
            creatingIn: store, blockSize: blockSize, created: Moment.now(), generator: &generator)
        store.fillReserve()
        return repository.identity.id
    }

    /// Writes the object `config` of a repository again where it is lost or damaged.
    ///
    /// - Returns: what was written; nil where nothing was needed.
    package static func rescueConfiguration(location: String) throws -> ConfigurationReport? {
        try ConfigurationRescue.run(
            in: RepositoryLocation.store(location, creating: false), now: Moment.now())
    }

    /// The index, opened when first needed.
    ///
    /// Where its directory cannot be used, it is one for this process alone, which is built from the
    /// repository and kept nowhere: then `isKept` asks for an error instead.
    package func index(isKept: Bool = false) throws -> Index {
        if let openIndex {
            if isKept, let indexProblem { throw indexProblem }
            return openIndex
        }
        do {
            let index = try openKeptIndex()
            openIndex = index
            return index
        } catch let error as RepositoryError where error.kind == .cache && !isKept {
            return try openTransientIndex(for: error)
        }
    }

    /// Opens the index that is kept; once more where that finds that it is damaged, and marks it.
    private func openKeptIndex() throws -> Index {
        let directory = try indexDirectory
        // It may have been made just now, where anybody might have made it.
        try Trust.require(directory, as: "the index")
        do {
            return try Index(
                directory: directory, identity: repository.identity, lookups: repository.lookups)
        } catch let error as RepositoryError where error.kind == .index {
            logger.warning("\(error.cause); rebuilding the index")
            return try Index(
                directory: directory, identity: repository.identity, lookups: repository.lookups)
        }
    }

    /// Lets go of the index, as the end of a process does.
    package func closeIndex() {
        openIndex = nil
        indexProblem = nil
    }

    @discardableResult
    package func openTransientIndex(for problem: RepositoryError) throws -> Index {
        guard let index = try? Index(transientOf: repository) else { throw problem }
        logger.warning("\(problem.cause); this command continues with a temporary index")
        openIndex = index
        indexProblem = problem
        return index
    }

    /// The index with the packs of the repository as they are now.
    package func currentIndex(isKept: Bool = false) throws -> Index {
        let index = try index(isKept: isKept)
        try index.synchronizePacks(with: repository) { id, error in
            logger.warning("\(error)", metadata: ["pack": "\(id.hexadecimal)"])
        }
        return index
    }

    /// Runs `body`, and once more with a new index when it ends because the index is damaged, or because
    /// its directory fails: unless it is to be kept, one for this process alone then.
    ///
    /// What it reads has to be there a second time, so it reads no stream. With `other`, whose index may
    /// be the damaged one, that is opened again too.
    package func retryingWithFreshIndex<Result>(
        and other: OpenRepository? = nil,
        isKept: Bool = false,
        _ body: () throws -> Result
    ) throws -> Result {
        do {
            return try body()
        } catch let error as RepositoryError where error.kind == .index {
            logger.warning("\(error.cause); rebuilding the index")
            for repository in [self, other] { repository?.closeIndex() }
            return try body()
        } catch let error as RepositoryError where error.kind == .cache && !isKept {
            for service in [self, other] {
                guard let service, service.indexProblem == nil else { continue }
                try service.openTransientIndex(for: error)
            }
            return try body()
        }
    }

    package func timelines(_ volume: VolumeName? = nil) throws -> [Timeline] {
        try repository.timelines(volume, cache: try? index()).map { timeline in
            // One that is false may hide others, which begin at the snapshot's true number.
            guard timeline.hasTwoNumbers, let index = try? currentIndex() else { return timeline }
            _ = try? index.judged(timeline, with: repository)
            return index.withoutFalse(timeline)
        }
    }

    /// Runs what lists volumes and reads their deltas: again, where somebody who forgets snapshots has
    /// deleted some of them in between.
    package func whileListed<Result>(_ body: () throws -> Result) throws -> Result {
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

    // MARK: Index

    /// Throws the index away and builds it from the repository; with `isLenient` as far as that can be
    /// read.
    package func rebuildIndex(
        isLenient: Bool = false
    ) throws -> (volumes: Int, snapshots: Int, byteCount: UInt64) {
        try withReadingHold(purpose: "index rebuild") { _ in
            let index = try index(isKept: true)
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
}
