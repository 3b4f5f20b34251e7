package import BlockModel
internal import ObjectStore
package import RepositoryFormat
internal import RepositoryModel

/// Collects the map of a capture, in block order, and commits it: the delta is the commit.
///
/// A map that outgrows a delta object goes out in parts as it grows.
package final class DeltaWriter {
    private let repository: Repository
    private var map = DeltaMap()
    private var parts: [PartReference] = []
    private let partByteLimit: Int
    private let identifiers: any IdentifierSource

    package private(set) var dataBlockCount: UInt64 = 0
    package private(set) var zeroBlockCount: UInt64 = 0
    package private(set) var freeBlockCount: UInt64 = 0
    package private(set) var partByteCount: UInt64 = 0

    package init(
        repository: Repository,
        partByteLimit: Int = Format.partByteLimit,
        identifiers: any IdentifierSource
    ) {
        self.repository = repository
        self.partByteLimit = min(partByteLimit, Format.partByteLimit)
        self.identifiers = identifiers
    }

    package func append(_ kind: RunKind, firstBlock: UInt64, blockCount: UInt64) throws {
        switch kind {
        case .data: preconditionFailure("a data run needs its digests")
        case .zero: zeroBlockCount += blockCount
        case .free: freeBlockCount += blockCount
        }
        map.append(kind, firstBlock: firstBlock, blockCount: blockCount)
        try flushIfFull()
    }

    package func append(dataBlock block: UInt64, digest: Digest) throws {
        dataBlockCount += 1
        map.append(dataBlock: block, digest: digest)
        try flushIfFull()
    }

    private func flushIfFull() throws {
        // A block adds at most a run and a digest.
        if map.byteCount + 8 + Digest.byteCount > partByteLimit { try flushPart() }
    }

    private func flushPart() throws {
        guard let first = map.runs.first?.firstBlock else { return }
        let id = identifiers.next()
        let encoded = map.encoded()
        let reference = PartReference(
            id: id, firstBlock: first, endBlock: map.endBlock,
            mapByteCount: UInt64(encoded.count), mapChecksum: DeltaMap.checksum(encoded))
        let bytes = try PartObject.encode(
            id: id, identity: repository.identity, encodedMap: encoded)
        let decoded = try PartObject.decode(
            bytes, reference: reference, identity: repository.identity)
        guard decoded == map else { throw FormatError.notReproducible }
        try repository.store.create(ObjectNames.part(id), bytes)
        partByteCount += UInt64(bytes.count)
        parts.append(reference)
        map.removeAll()
    }

    /// Makes the parts durable; the map is complete.
    package func finishMap() throws {
        if !parts.isEmpty || map.byteCount > min(Format.inlineMapByteLimit, partByteLimit) {
            try flushPart()
        }
    }

    /// Writes the delta and gives the size of its object; everything that it names must be durable
    /// by now.
    package func commit(
        _ name: DeltaName,
        head: DeltaHead
    ) throws -> (delta: KnownDelta, byteCount: UInt64) {
        var head = completed(head)
        // All fields have fixed widths, so that the delta can name its own size and the marker's.
        let draft = try DeltaObject.encode(
            name: name, identity: repository.identity, head: head, inlineMap: map)
        let marker = NewestMarker(
            volume: name.volume, generation: name.to, snapshot: head.to, delta: name.id)
        head.facts.bytesStored += UInt64(
            draft.count + (try marker.encoded(identity: repository.identity)).count)
        return try store(name, head)
    }

    /// Writes a delta that leads to a snapshot which others lead to already.
    package func commitAnother(_ name: DeltaName, head: DeltaHead) throws -> KnownDelta {
        try store(name, completed(head)).delta
    }

    private func completed(_ head: DeltaHead) -> DeltaHead {
        var head = head
        head.dataBlockCount = dataBlockCount
        head.zeroBlockCount = zeroBlockCount
        head.freeBlockCount = freeBlockCount
        head.parts = parts
        return head
    }

    private func store(
        _ name: DeltaName,
        _ head: DeltaHead
    ) throws -> (delta: KnownDelta, byteCount: UInt64) {
        let bytes = try DeltaObject.encode(
            name: name, identity: repository.identity, head: head, inlineMap: map)
        try repository.store.create(name.objectName, bytes)
        return (KnownDelta(name: name, head: head), UInt64(bytes.count))
    }
}

extension Repository {
    /// Brings the markers of a volume in order before a commit, and gives their names.
    ///
    /// The first marker is there before the first delta, so that from then on the loss of any shows;
    /// that of a finished commit is written now if its writer died before it could. The volume is held exclusively since `timeline` was listed.
    package func prepareMarkers(_ timeline: Timeline) throws -> [String] {
        guard let newest = timeline.newest else {
            guard timeline.deltas.isEmpty else { return timeline.markerNames }
            let marker = NewestMarker(
                volume: timeline.volume, generation: 0, snapshot: .nothing, delta: .zero)
            try create(marker)
            return timeline.markerNames + [marker.objectName]
        }
        guard let tip = timeline.tip, tip.generation > newest.generation,
            let delta = timeline.deltas.last(where: { $0.head.to == tip.id })
        else { return timeline.markerNames }
        return try markNewest(delta, timeline, markers: timeline.markerNames)
    }

    /// Names `delta` as the newest commit of its volume, and drops older `markers`.
    ///
    /// Those of snapshots that are lost stay, and keep the loss in sight. Gives the names of what is
    /// left.
    package func markNewest(
        _ delta: KnownDelta,
        _ timeline: Timeline,
        markers: [String]
    ) throws -> [String] {
        let marker = NewestMarker(
            volume: delta.name.volume, generation: delta.name.to, snapshot: delta.head.to,
            delta: delta.name.id)
        try create(marker)
        var left = [marker.objectName]
        let superseded = Self.superseded(
            markers, by: delta.name.to, timeline, ends: timeline.ends(besides: delta.head.from))
        var mayDelete = true
        for name in markers where name != marker.objectName {
            // An old marker that a crash brings back says nothing that is not so, and neither does
            // one that this user may not delete.
            if mayDelete, superseded.contains(name) {
                mayDelete = try store.deleteIfAllowed(name, .eventual)
                if mayDelete { continue }
            }
            left.append(name)
        }
        return left
    }

    /// Those of `markers` that tell of nothing since the snapshot of that generation is marked.
    ///
    /// What tells of `ends`, at which nothing begins, stays.
    private static func superseded(
        _ markers: [String],
        by newest: Generation,
        _ timeline: Timeline,
        ends: [SnapshotID: Generation]
    ) -> Set<String> {
        // Not by its number alone: that of a snapshot that was given up names the one before it.
        let known = Dictionary(
            timeline.markers.map { ($0.objectName, $0.snapshot) }, uniquingKeysWith: { $1 })
        return Set(
            markers.filter { name in
                guard let generation = ObjectNames.newestGeneration(of: name),
                    generation < newest
                else { return false }
                if timeline.marksAny(of: ends, name) { return false }
                return generation == 0 || timeline.isReached(generation)
                    || known[name].map(timeline.isReached) == true
            })
    }

    /// Deletes the markers that clients have left which may not delete.
    ///
    /// The volume, or the repository, is held exclusively since `timeline` was listed.
    package func dropSupersededMarkers(_ timeline: Timeline) throws {
        guard let newest = timeline.newest, timeline.markerNames.count > 1 else { return }
        let names = Self.superseded(
            timeline.markerNames, by: newest.generation, timeline, ends: timeline.ends())
        for name in names.sorted() {
            guard try store.deleteIfAllowed(name, .eventual) else { return }
        }
    }

    package func create(_ marker: NewestMarker) throws {
        do throws(ObjectStoreError) {
            try store.create(marker.objectName, Self.encode(marker, identity))
        } catch {
            guard error.reason == .alreadyExists else { throw error }
        }
    }

    private static func encode(
        _ marker: NewestMarker,
        _ identity: RepositoryIdentity
    ) -> [UInt8] {
        // A marker's fields have fixed sizes, and its name is that of a valid volume.
        guard let bytes = try? marker.encoded(identity: identity) else {
            preconditionFailure("a marker could not be encoded")
        }
        return bytes
    }
}

extension Timeline {
    /// Snapshots that are shown and at which nothing begins, neither a delta nor, where that is given, the
    /// next one, and their numbers: should the last delta to one be lost, only a marker tells of it.
    package func ends(besides start: SnapshotID = .nothing) -> [SnapshotID: Generation] {
        let starts = Set(deltas.map(\.head.from)).union([start])
        return Dictionary(
            snapshots.filter { !starts.contains($0.id) }.map { ($0.id, $0.generation) },
            uniquingKeysWith: { $1 })
    }

    /// Whether the marker of that name tells of one of the snapshots; of several with one number, as where
    /// a history forks, it may tell of another.
    package func marksAny(of snapshots: [SnapshotID: Generation], _ name: String) -> Bool {
        if let marker = markers.first(where: { $0.objectName == name }) {
            return snapshots[marker.snapshot] != nil
        }
        return ObjectNames.newestGeneration(of: name).map(snapshots.values.contains) ?? false
    }
}
