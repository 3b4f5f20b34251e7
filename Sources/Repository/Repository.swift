package import BlockModel
package import ObjectStore
package import RepositoryFormat
internal import RepositoryModel

/// An open repository: its store, and what its configuration says.
package final class Repository: Sendable {
    package let store: any ObjectStore
    package let configuration: RepositoryConfiguration
    /// Those of the configuration, and those that were added to the repository later.
    package let features: FeatureSet
    /// What indexes of the repository went through.
    package let lookups = Lookups()

    package var identity: RepositoryIdentity { configuration.identity }
    package var blockSize: BlockSize { configuration.identity.blockSize }

    package static let configurationByteLimit = 1 << 16
    /// A delta holds its head (with up to a few hundred part references) and an inline map.
    static let deltaByteLimit = 64 << 20

    /// Creates a repository in an empty store.
    package init(
        creatingIn store: any ObjectStore,
        blockSize: BlockSize,
        created: Timestamp,
        generator: inout some RandomNumberGenerator
    ) throws {
        let identity = RepositoryIdentity(id: ObjectID(from: &generator), blockSize: blockSize)
        configuration = RepositoryConfiguration(identity: identity, created: created)
        features = configuration.features
        self.store = store
        let bytes = try configuration.encoded()
        do throws(ObjectStoreError) {
            try store.create(ObjectNames.configuration, bytes)
        } catch {
            guard error.reason == .alreadyExists else { throw error }
            throw RepositoryError(
                .alreadyExists,
                "\(store.location) is already a repository; choose another place, or use this one"
            )
        }
    }

    /// Opens the repository that `store` holds.
    package init(openingIn store: any ObjectStore) throws {
        self.store = store
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try store.read(
                ObjectNames.configuration, limit: Self.configurationByteLimit)
        } catch {
            if error.reason == .tooLarge { throw Self.damagedConfiguration(error, store) }
            guard error.reason == .notFound else { throw error }
            try Self.requireNoObjects(store)
            throw RepositoryError(
                .noRepository,
                "there is no repository at \(store.location); create one with 'varve init'")
        }
        do throws(FormatError) {
            configuration = try RepositoryConfiguration(decoding: bytes)
        } catch {
            switch error {
            // A version whose header does not fit its checksum is a damaged one.
            case .unsupportedVersion where ObjectOrigin(bytes) == nil:
                throw Self.damagedConfiguration(error, store)
            case .unknownFeatures, .unsupportedVersion:
                throw RepositoryError(
                    .unsupported, "the repository at \(store.location) \(error); update varve")
            default: throw Self.damagedConfiguration(error, store)
            }
        }
        features = try Self.allFeatures(configuration, store)
    }

    /// The features of the configuration, and those that were added.
    ///
    /// - Throws: ``RepositoryError`` of kind `unsupported` where this version may not read the repository.
    private static func allFeatures(
        _ configuration: RepositoryConfiguration,
        _ store: any ObjectStore
    ) throws -> FeatureSet {
        var features = configuration.features
        for entry in try store.list(ObjectNames.features) where entry.isObject {
            guard let added = ObjectNames.features(of: entry.name) else { continue }
            // Only where it matters is it read whether it was copied here from another repository.
            if added.unknown != FeatureSet(),
                let bytes = try? store.read(entry.name, limit: configurationByteLimit),
                let origin = ObjectOrigin(bytes),
                origin.repository != configuration.identity.id
            {
                continue
            }
            features.formUnion(added)
        }
        let unknown = features.unknown.required
        guard unknown == 0 else {
            throw RepositoryError(
                .unsupported,
                "the repository at \(store.location) \(FormatError.unknownFeatures(unknown)); "
                    + "update varve")
        }
        return features
    }

    private static func damagedConfiguration(
        _ cause: any Error,
        _ store: any ObjectStore
    ) -> RepositoryError {
        RepositoryError(
            .damaged,
            "config of the repository at \(store.location) is damaged: \(cause); run 'varve repair' to "
                + "restore it")
    }

    /// Says so where only `config` is missing of a repository.
    private static func requireNoObjects(_ store: any ObjectStore) throws {
        guard let found = try foundObjects(store) else { return }
        throw RepositoryError(
            .damaged,
            "the repository at \(store.location) has lost its config (found: \(found)); run 'varve "
                + "repair' to restore it")
    }

    /// What a store without `config` has of a repository, in words; nil for nothing.
    package static func foundObjects(_ store: any ObjectStore) throws -> String? {
        let deltas = try store.list(ObjectNames.volumes).count {
            ObjectNames.parse(volumeEntry: $0.name) != nil
        }
        let packs = try store.list(ObjectNames.packs).count {
            ObjectNames.packID(of: $0.name) != nil
        }
        guard deltas + packs > 0 else { return nil }
        return "\(packs) packs, and \(deltas) deltas and markers"
    }

    /// Refuses to write where a newer version keeps something that this one would not know of.
    package func requireWritable() throws {
        guard features.unknown.optional == 0 else {
            throw RepositoryError(
                .unsupported,
                "the repository at \(store.location) uses optional features of a newer version; "
                    + "it can be read but not written: update varve")
        }
    }

    /// The whole delta: its head and its inline map.
    package func readDelta(_ name: DeltaName) throws -> (head: DeltaHead, inlineMap: DeltaMap) {
        let bytes = try readObject(name.objectName, limit: Self.deltaByteLimit)
        do throws(FormatError) {
            return try DeltaObject.decode(bytes, name: name, identity: identity)
        } catch {
            throw RepositoryError.damaged(name.objectName, error)
        }
    }

    /// The head of a delta, read without its map where that is long.
    package func readDeltaHead(_ name: DeltaName, byteCount: UInt64) throws -> DeltaHead {
        let prefixByteCount = 16 << 10
        guard byteCount > UInt64(prefixByteCount) else { return try readDelta(name).head }
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try store.read(name.objectName, at: 0, byteCount: prefixByteCount)
        } catch {
            throw error.isDamage ? RepositoryError.damaged(name.objectName, error) : error
        }
        if let head = try? DeltaObject.decodeHead(
            fromPrefix: bytes, byteCount: byteCount, name: name, identity: identity)
        {
            return head
        }
        return try readDelta(name).head
    }

    /// The head of a delta whose map is damaged; nil where not even that can be read, or believed.
    func headBeforeDamage(_ name: DeltaName, byteCount: UInt64) throws -> DeltaHead? {
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try store.read(name.objectName, at: 0, byteCount: 16 << 10)
        } catch {
            guard error.isDamage else { throw error }
            return nil
        }
        let head = try? DeltaObject.decodeHead(
            fromPrefix: bytes, byteCount: byteCount, name: name, identity: identity)
        guard let head, name.to > head.facts.parentGeneration,
            blockSize.blockCount(coveringByteCount: max(head.fromByteCount, head.toByteCount))
                <= Format.volumeBlockLimit
        else { return nil }
        return head
    }

    /// Lends the map of a delta to `body`, piece by piece in block order.
    package func forEachMap(
        of name: DeltaName,
        _ body: (DeltaMap, DeltaHead) throws -> Void
    ) throws {
        let (head, inlineMap) = try readDelta(name)
        guard !head.parts.isEmpty else {
            if !inlineMap.isEmpty { try body(inlineMap, head) }
            return
        }
        for reference in head.parts { try body(readPart(reference, of: head), head) }
    }

    /// A piece of the map of a delta.
    package func readPart(_ reference: PartReference, of head: DeltaHead) throws -> DeltaMap {
        let name = ObjectNames.part(reference.id)
        let bytes = try readObject(name, limit: Format.sectionByteLimit)
        let map: DeltaMap
        do throws(FormatError) {
            map = try PartObject.decode(bytes, reference: reference, identity: identity)
        } catch {
            throw RepositoryError.damaged(name, error)
        }
        guard map.endBlock <= head.mapBlockLimit(blockSize) else {
            throw RepositoryError.damaged(name, FormatError.badValue("part"))
        }
        return map
    }

    /// Reads a whole object; one that is gone is damage, since something names it.
    func readObject(_ name: String, limit: Int) throws -> [UInt8] {
        do throws(ObjectStoreError) {
            return try store.read(name, limit: limit)
        } catch {
            if error.isDamage { throw RepositoryError.damaged(name, error) }
            throw error
        }
    }

    /// Reads and verifies the table of a pack.
    package func readPackTable(_ id: ObjectID, byteCount: UInt64) throws -> PackTable {
        let name = ObjectNames.pack(id)
        do {
            return try PackTable(
                readingFrom: store, id: id, byteCount: byteCount, identity: identity)
        } catch let error as FormatError {
            throw RepositoryError.damaged(name, error)
        } catch let error as ObjectStoreError where error.isDamage {
            throw RepositoryError.damaged(name, error)
        }
    }

    /// Ids and sizes of all packs.
    package func listPacks() throws -> [(id: ObjectID, byteCount: UInt64)] {
        try store.list(ObjectNames.packs).compactMap { entry in
            ObjectNames.packID(of: entry.name).map { ($0, entry.byteCount) }
        }
    }

    /// Bytes of all objects, by the first component of their names.
    package func storedByteCounts() throws -> [String: UInt64] {
        var counts: [String: UInt64] = [:]
        for entry in try store.list("") where entry.name != ObjectNames.reserve {
            let group = entry.name.split(separator: "/").first.map(String.init) ?? entry.name
            counts[group] = SaturatingMath.sum(counts[group] ?? 0, entry.byteCount)
        }
        return counts
    }
}

extension PackTable {
    /// Reads header, footer and table of a pack, in two reads of its ends.
    init(
        readingFrom store: any ObjectStore,
        id: ObjectID,
        byteCount: UInt64,
        identity: RepositoryIdentity
    ) throws {
        let name = ObjectNames.pack(id)
        let headerByteCount = ObjectHeader(kind: .pack, name: name, identity: identity).byteCount
        // What is no object has no bytes; the store says what it is.
        if byteCount == 0 { _ = try store.byteCount(of: name) }
        guard byteCount <= UInt64(Format.packByteLimit),
            byteCount >= UInt64(headerByteCount + PackFooter.byteCount)
        else {
            throw FormatError.truncated(
                expectedByteCount: headerByteCount + PackFooter.byteCount,
                actualByteCount: Int(clamping: byteCount))
        }
        let start = try store.read(name, at: 0, byteCount: headerByteCount)
        var reader = ByteReader(start)
        try ObjectHeader(decoding: &reader).verify(kind: .pack, name: name, identity: identity)

        let tailByteCount = min(Int(byteCount), 64 << 10)
        var tailStart = Int(byteCount) - tailByteCount
        var tail = try store.read(name, at: UInt64(tailStart), byteCount: tailByteCount)
        guard tail.count == tailByteCount else {
            throw FormatError.truncated(
                expectedByteCount: tailByteCount, actualByteCount: tail.count)
        }
        let footer = try PackFooter(
            decoding: tail.suffix(PackFooter.byteCount), packByteCount: Int(byteCount))
        if footer.tableByteOffset < tailStart {
            tailStart = footer.tableByteOffset
            tail = try store.read(
                name, at: UInt64(tailStart), byteCount: Int(byteCount) - tailStart)
        }
        let first = footer.tableByteOffset - tailStart
        guard first + footer.tableByteCount <= tail.count else {
            throw FormatError.truncated(
                expectedByteCount: first + footer.tableByteCount, actualByteCount: tail.count)
        }
        try self.init(
            decoding: tail.rawSpan.extracting(first..<first + footer.tableByteCount),
            footer: footer, framesStart: headerByteCount, blockSize: identity.blockSize)
    }
}
