package import BlockModel
package import ObjectStore
internal import Repository
internal import RepositoryFormat
package import RepositoryModel

/// Writes the object `config` again, where it is lost or damaged, from what all other objects say in their
/// headers.
///
/// The headers have the repository's id, the block size and the kind of digest. Nothing else is in a `config`
/// of this version but the features that a program has to know; where the damaged one, or any object, may ask
/// for such, nothing is written.
package enum ConfigurationRescue {
    /// Looks at the store, and writes `config` if that is needed.
    ///
    /// - Parameters:
    ///   - store: where the objects are.
    ///   - now: the time.
    /// - Returns: what was written; nil where `config` is whole.
    /// - Throws: ``RepositoryError``: `noRepository` where nothing tells of one, `damaged` where the objects
    ///   do not agree, `unsupported` where a newer version wrote them.
    package static func run(
        in store: any ObjectStore,
        now: Timestamp
    ) throws -> ConfigurationReport? {
        // One that is misread once is read again before it is called damaged.
        guard let first = try damaged(in: store), let found = try damaged(in: store) else {
            return nil
        }
        let votes = try Votes(in: store)
        let (origin, count) = try votes.winner(store.location)
        try requireNothingMore(found.bytes.isEmpty ? first.bytes : found.bytes, origin, store)
        guard let identity = origin.identity else { throw Self.unsupported(store) }
        let created = min(votes.oldestSeconds ?? now.seconds, now.seconds)
        let configuration = RepositoryConfiguration(
            identity: identity, created: Timestamp(seconds: created))
        let bytes = try configuration.encoded()
        if found.isThere { try store.delete(ObjectNames.configuration, .durable) }
        try store.create(ObjectNames.configuration, bytes)
        return ConfigurationReport(
            repository: identity.id, blockByteCount: identity.blockSize.byteCount,
            objectCount: count, foreignCount: votes.total - count)
    }

    /// The bytes of a `config` that cannot be used, none where it is not there; nil for one that can.
    private static func damaged(
        in store: any ObjectStore
    ) throws -> (bytes: [UInt8], isThere: Bool)? {
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try store.read(
                ObjectNames.configuration, limit: Repository.configurationByteLimit)
        } catch {
            switch error.reason {
            case .notFound: return ([], false)
            case .tooLarge, .failed: return ([], true)
            default: throw error
            }
        }
        do throws(FormatError) {
            _ = try RepositoryConfiguration(decoding: bytes)
            return nil
        } catch {
            if case .unknownFeatures = error { throw unsupported(store) }
            return (bytes, true)
        }
    }

    /// Refuses where the damaged `config` may say what no other object does.
    private static func requireNothingMore(
        _ bytes: [UInt8],
        _ origin: ObjectOrigin,
        _ store: any ObjectStore
    ) throws {
        if let old = ObjectOrigin(bytes) {
            guard old.isKnown else { throw unsupported(store) }
            guard old.repository == origin.repository else {
                throw RepositoryError(
                    .damaged,
                    "the damaged config at \(store.location) is of repository "
                        + "\(old.repository.hexadecimal), but the objects there are of "
                        + "\(origin.repository.hexadecimal); move away what does not belong there, and "
                        + "repair again")
            }
        }
        let start =
            ObjectHeader.fixedByteCount + ObjectNames.configuration.utf8.count
            + ObjectHeader.checksumByteCount + 8
        let protection = bytes.dropFirst(start).prefix(17)
        guard protection.allSatisfy({ $0 == 0 }) else {
            throw RepositoryError(
                .damaged,
                "the damaged config at \(store.location) may ask for features or sealing that this "
                    + "version does not know; if this version made the repository, move 'config' away "
                    + "and repair again, else update varve")
        }
    }

    private static func unsupported(_ store: any ObjectStore) -> RepositoryError {
        RepositoryError(
            .unsupported,
            "the repository at \(store.location) was written by a newer version; update varve")
    }

    /// What the headers say.
    private struct Votes {
        private struct Count {
            var all = 0
            /// Those of deltas and markers, without which packs say nothing.
            var volumes = 0
        }

        private var counts: [ObjectOrigin: Count] = [:]
        private(set) var oldestSeconds: Int64?

        var total: Int { counts.values.reduce(0) { $0 + $1.all } }

        init(in store: any ObjectStore) throws {
            for prefix in [
                ObjectNames.volumes, ObjectNames.packs, ObjectNames.parts, ObjectNames.notes,
            ] {
                for entry in try store.list(prefix) where entry.isObject {
                    guard let origin = try Self.origin(entry.name, store) else { continue }
                    counts[origin, default: Count()].all += 1
                    if prefix == ObjectNames.volumes { counts[origin]?.volumes += 1 }
                    if let seconds = entry.storedSeconds {
                        oldestSeconds = min(oldestSeconds ?? seconds, seconds)
                    }
                }
            }
        }

        /// Without name and kind, by which objects of one repository differ.
        private static func origin(
            _ name: String,
            _ store: any ObjectStore
        ) throws -> ObjectOrigin? {
            do throws(ObjectStoreError) {
                return ObjectOrigin(
                    try store.read(name, at: 0, byteCount: ObjectHeader.byteLimit))?.anonymous
            } catch {
                guard error.isDamage else { throw error }
                return nil
            }
        }

        /// The origin that more than half of all objects have, and of those of volumes where there are any.
        func winner(_ location: String) throws -> (ObjectOrigin, count: Int) {
            guard let most = counts.max(by: { $0.value.all < $1.value.all }) else {
                throw RepositoryError(
                    .noRepository,
                    "there is no repository at \(location), and no object mentions one; create "
                        + "one with 'varve init'")
            }
            let volumes = counts.values.reduce(0) { $0 + $1.volumes }
            let isMost =
                most.value.all * 2 > total
                && (volumes == 0 || most.value.volumes * 2 > volumes)
            guard isMost else {
                let list = counts.map {
                    "\($0.key.repository.hexadecimal) (\($0.value.all) objects, "
                        + "\($0.key.blockByteCount) bytes a block)"
                }.sorted().joined(separator: ", ")
                throw RepositoryError(
                    .damaged,
                    "config is lost, and the objects at \(location) do not agree on one repository: "
                        + "\(list); move away those that do not belong there, and repair again")
            }
            let isOlder = counts.keys.allSatisfy {
                $0.repository != most.key.repository || $0.isKnown
            }
            guard isOlder else {
                throw RepositoryError(
                    .unsupported,
                    "config is lost, and objects at \(location) were written by a newer version; "
                        + "update varve")
            }
            return (most.key, most.value.all)
        }
    }
}
