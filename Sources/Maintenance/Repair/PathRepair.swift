package import BlockModel
internal import ObjectStore
package import Repository
internal import RepositoryFormat
package import RepositoryIndex
package import RepositoryModel

/// Brings back snapshots of a volume to which no path of deltas leads any more.
///
/// Belongs to one thread. The page of documentation `Repair` says where the deltas come from and why they
/// are believed.
package final class PathRepair {
    private let repository: Repository
    private let index: Index
    private let holds: [Hold]
    private let identifiers: any IdentifierSource
    private let now: () -> Timestamp
    package private(set) var mended: [MendedSnapshot] = []
    /// Objects that could not be read and that nothing needs any more.
    package private(set) var deleted: [String] = []
    package var partByteLimit = Format.partByteLimit

    /// - Parameters:
    ///   - repository: where snapshots are lost.
    ///   - index: its index, with its packs.
    ///   - holds: one on the repository, and an exclusive one on the volume.
    ///   - identifiers: gives new ids.
    ///   - now: the time.
    package init(
        _ repository: Repository,
        _ index: Index,
        holds: [Hold],
        identifiers: any IdentifierSource,
        now: @escaping () -> Timestamp
    ) {
        self.repository = repository
        self.index = index
        self.holds = holds
        self.identifiers = identifiers
        self.now = now
    }

    /// Mends what can be mended of a volume.
    ///
    /// - Parameters:
    ///   - volume: the volume.
    ///   - others: copies from other repositories to this one, each with the volume as it is there.
    /// - Returns: the volume as it is now; unreadable deltas that are still needed count as unreadable.
    /// - Throws: what the store throws.
    package func run(
        _ volume: VolumeName,
        others: [(copy: SnapshotCopy, timeline: Timeline)]
    ) throws -> Timeline {
        // No prune that lives stands beside the holds.
        let deadLists = try repository.dropPruneLists()
        for (copy, _) in others { copy.deadLists = deadLists }
        let listed = try listing(of: volume)
        var broken = try repository.brokenDeltas(of: listed)
        var timeline = listed.without(broken)
        let ends = Dictionary(
            listed.deltas.map { ($0.name, $0.head.to) }, uniquingKeysWith: { $1 })
        // What takes the place of an unreadable delta may be of a repair that was stopped before its proof.
        for (name, _) in timeline.unreadable {
            for snapshot in timeline.atEnd(of: name, ends) {
                guard try !isProved(snapshot.id, of: timeline),
                    let delta = timeline.delta(to: snapshot.id)
                else { continue }
                broken[delta.name] = "it does not match the image digest of its snapshot"
            }
        }
        timeline = listed.without(broken)
        var facts = try index.rememberedFacts(of: volume)
        for delta in listed.deltas { facts[delta.head.to] = delta.head.facts }
        for lost in timeline.damaged + timeline.possibleLosses {
            for hold in holds { try hold.renew(now: now()) }
            guard let id = lost.id, !timeline.isReached(id) else { continue }
            var origin: MendedSnapshot.Origin?
            if let facts = lost.facts ?? facts[id],
                try mend(lost.generation, facts, of: timeline, broken: broken)
            {
                origin = .index
            } else if try copy(id, from: others, to: timeline, broken: broken) {
                origin = .otherRepository
            }
            guard let origin else { continue }
            mended.append(MendedSnapshot(snapshot: id, generation: lost.generation, origin: origin))
            timeline = try listing(of: volume).without(broken)
        }
        return try putInOrder(timeline, ends, broken)
    }

    /// The volume as it is now, without relying on deltas that are false.
    private func listing(of volume: VolumeName) throws -> Timeline {
        index.withoutFalse(try repository.timeline(of: volume))
    }

    // MARK: From the index

    /// Writes a delta to the snapshot with these facts from what the index has of it; whether that gave
    /// its image digest.
    private func mend(
        _ generation: Generation,
        _ facts: SnapshotFacts,
        of timeline: Timeline,
        broken: [DeltaName: String]
    ) throws -> Bool {
        let end = Index.HistoryPoint(
            id: facts.snapshotID, generation: generation, byteCount: facts.byteCount)
        do {
            for history in try index.histories(of: timeline.volume, with: end) {
                let start = try newest(before: generation, of: timeline, on: history)
                let delta = try write(facts, on: history, from: start, to: end, timeline.volume)
                if try isProved(delta, broken: broken) { return true }
            }
        } catch  where Index.isOwnFailure(error) {
            // What the index cannot read it does not know.
        } catch let error as RepositoryError where error.kind == .damaged || error.kind == .index {}
        return false
    }

    /// The newest snapshot that can be restored and that the history has.
    private func newest(
        before generation: Generation,
        of timeline: Timeline,
        on history: HistoryNumber
    ) throws -> Index.HistoryPoint {
        let earlier = (timeline.snapshots + timeline.forgotten).sorted {
            ($0.generation, $0.id) > ($1.generation, $1.id)
        }
        for snapshot in earlier where snapshot.generation < generation {
            let point = Index.HistoryPoint(
                id: snapshot.id, generation: snapshot.generation,
                byteCount: snapshot.facts.byteCount)
            if try index.has(point, on: history) { return point }
        }
        return Index.HistoryPoint()
    }

    private func write(
        _ facts: SnapshotFacts,
        on history: HistoryNumber,
        from start: Index.HistoryPoint,
        to end: Index.HistoryPoint,
        _ volume: VolumeName
    ) throws -> KnownDelta {
        let writer = DeltaWriter(
            repository: repository, partByteLimit: partByteLimit, identifiers: identifiers)
        try index.forEachChange(on: history, from: start, to: end) { kind, blocks, digests in
            guard kind == .data else {
                return try writer.append(
                    kind, firstBlock: blocks.lowerBound, blockCount: UInt64(blocks.count))
            }
            for (block, digest) in zip(blocks, digests) {
                try writer.append(dataBlock: block, digest: digest)
            }
        }
        try writer.finishMap()
        let name = DeltaName(
            volume: volume, from: start.generation, to: end.generation, id: identifiers.next())
        let head = DeltaHead(
            from: start.id, fromGeneration: start.generation, fromByteCount: start.byteCount,
            toGeneration: end.generation, facts: facts)
        for hold in holds { try hold.verify() }
        return try writer.commitAnother(name, head: head)
    }

    /// Whether the path through a new delta gives the image digest of its snapshot; where it is proved that
    /// it does not, the delta is deleted again.
    ///
    /// - Throws: what kept it from being proved, except damage.
    private func isProved(_ delta: KnownDelta, broken: [DeltaName: String]) throws -> Bool {
        do {
            let timeline = try listing(of: delta.name.volume).without(broken)
            try index.proveAlone(delta, in: timeline, with: repository)
            return true
        } catch let error as RepositoryError where error.kind == .damaged || error.kind == .index {
            // A delta not known to be false is left: a command that relies on it proves it first.
            if !index.falseDeltas(among: [delta]).isEmpty {
                try repository.store.deleteIfAllowed(delta.name.objectName, .durable)
            }
            return false
        }
    }

    /// Whether the path to a snapshot gives its image digest.
    private func isProved(_ id: SnapshotID, of timeline: Timeline) throws -> Bool {
        guard let delta = timeline.delta(to: id) else { return id == .nothing }
        do {
            try index.proveAlone(delta, in: timeline, with: repository)
            return true
        } catch let error as RepositoryError where error.kind == .damaged || error.kind == .index {
            return false
        }
    }

    // MARK: From other repositories

    private func copy(
        _ id: SnapshotID,
        from others: [(copy: SnapshotCopy, timeline: Timeline)],
        to there: Timeline,
        broken: [DeltaName: String]
    ) throws -> Bool {
        for (copy, timeline) in others {
            guard let snapshot = timeline.snapshot(id) else { continue }
            do {
                let delta = try copy.writeDelta(
                    to: snapshot, of: timeline, from: there, progress: { _ in })
                if try isProved(delta, broken: broken) { return true }
            } catch let error as RepositoryError where error.kind == .damaged {}
        }
        return false
    }

    // MARK: Putting in order

    /// Deletes what cannot be read and is not needed, and sees to the marker.
    private func putInOrder(
        _ timeline: Timeline,
        _ ends: [DeltaName: SnapshotID],
        _ broken: [DeltaName: String]
    ) throws -> Timeline {
        for (name, _) in timeline.unreadable {
            let reached = timeline.atEnd(of: name, ends)
            guard !reached.isEmpty,
                try reached.allSatisfy({ try isProved($0.id, of: timeline) })
            else { continue }
            guard try repository.foreign(name.objectName) == nil else { continue }
            let isMended = mended.contains { $0.generation == name.to }
            if let end = ends[name], !isMended {
                mended.append(
                    MendedSnapshot(snapshot: end, generation: name.to, origin: .otherPath))
            }
            try delete(name.objectName)
        }
        for name in timeline.unreadableMarkers {
            guard let generation = ObjectNames.newestGeneration(of: name),
                generation == 0 || timeline.isReached(generation),
                try repository.foreign(name) == nil
            else { continue }
            try delete(name)
        }
        let left = try listing(of: timeline.volume)
        if left.newest == nil, let tip = left.tip, let delta = left.delta(to: tip.id) {
            _ = try repository.markNewest(delta, left, markers: left.markerNames)
        } else {
            _ = try repository.prepareMarkers(left)
        }
        let judged = try index.judged(
            listing(of: timeline.volume).without(broken), with: repository)
        let gone = try repository.deleteFalse(judged) { _ in
            for hold in holds { try hold.verify(now: now()) }
        }
        try repository.deleteParts(of: gone)
        return try listing(of: timeline.volume).without(broken)
    }

    private func delete(_ name: String) throws {
        for hold in holds { try hold.verify(now: now()) }
        // Beside what is whole it is of no harm where it has to stay.
        if try repository.store.deleteIfAllowed(name, .durable) { deleted.append(name) }
    }
}

extension Timeline {
    /// The snapshots that a delta which cannot be read may have led to: by `ends` where its head was read,
    /// else all of its generation.
    fileprivate func atEnd(of name: DeltaName, _ ends: [DeltaName: SnapshotID]) -> [Snapshot] {
        (snapshots + forgotten).filter { snapshot in
            if let end = ends[name] { return snapshot.id == end }
            return snapshot.generation == name.to
        }
    }
}
