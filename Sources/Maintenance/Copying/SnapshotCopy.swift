package import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import Packs
package import Repository
internal import RepositoryFormat
package import RepositoryIndex
package import RepositoryModel

extension Interrupted {
    static let ofCopy = Interrupted(consequence: "the next copy resumes it")
}

/// Copies snapshots of a volume from one repository to another, the oldest first.
///
/// A snapshot keeps its generation and its id. It is written as a delta from the newest one before it
/// that the other repository has; of its blocks those are stored that are not there. Every block is proved
/// by its digest when it is read, and every snapshot by its image digest before the next is begun.
///
/// Order, always: packs durable → parts durable → delta durable → proof → `newest`. What is found not to
/// be what it should is deleted again.
package final class SnapshotCopy {
    private let source: Repository
    private let sourceIndex: Index
    private let target: Repository
    private let targetIndex: Index
    private let holds: [Hold]
    private let identifiers: any IdentifierSource
    private let now: () -> Timestamp
    private let reader: BlockReader
    private let scratch: AlignedBuffer
    /// Blocks that the other repository is said to have.
    private let reliance: RelianceProof
    package private(set) var summary = CopySummary()
    private var copied: Set<SnapshotID> = []
    /// Of prunes that are dead, where they cannot be deleted.
    var deadLists: Set<String> = []
    private var known: Set<SnapshotID> = []
    package var packByteTarget = Format.packByteTarget
    package var partByteLimit = Format.partByteLimit

    /// Prepares a copy between repositories whose packs the indexes know.
    ///
    /// - Parameters:
    ///   - source: where snapshots are.
    ///   - sourceIndex: its index.
    ///   - target: where they are to be too.
    ///   - targetIndex: its index.
    ///   - holds: those on the target, its volume's exclusively.
    ///   - identifiers: gives new ids.
    ///   - now: the time.
    /// - Throws: ``RepositoryError`` when the repositories do not fit together.
    package init(
        from source: Repository,
        _ sourceIndex: Index,
        to target: Repository,
        _ targetIndex: Index,
        holds: [Hold],
        identifiers: any IdentifierSource,
        now: @escaping () -> Timestamp
    ) throws {
        guard source.identity.id != target.identity.id else {
            throw RepositoryError(
                .failed, "\(source.store.location) and \(target.store.location) are one repository")
        }
        guard source.blockSize == target.blockSize else {
            throw RepositoryError(
                .failed,
                "\(source.store.location) has blocks of \(source.blockSize.byteCount) bytes, but "
                    + "\(target.store.location) of \(target.blockSize.byteCount), and blocks are "
                    + "copied as they are; create a repository with the same --block-size, or "
                    + "restore and back up again")
        }
        self.source = source
        self.sourceIndex = sourceIndex
        self.target = target
        self.targetIndex = targetIndex
        self.holds = holds
        self.identifiers = identifiers
        self.now = now
        reader = try BlockReader(
            repository: source, index: sourceIndex, cachedFrameCount: 8, readsWholeFrames: true)
        scratch = try AlignedBuffer(byteCount: source.blockSize.byteCount)
        reliance = RelianceProof(repository: target, index: targetIndex)
    }

    /// Copies those of `snapshots` that the other repository lacks; may be run again with another listing.
    ///
    /// - Parameters:
    ///   - snapshots: snapshots of the timeline, oldest first.
    ///   - timeline: the volume as the source has it.
    ///   - progress: gets bytes of blocks that were looked at.
    ///   - done: gets each snapshot that was copied.
    /// - Throws: ``RepositoryError``, of kind `damaged` where either side is.
    package func run(
        _ snapshots: [Snapshot],
        of timeline: Timeline,
        progress: (UInt64) -> Void,
        done: (Snapshot) -> Void
    ) throws {
        try target.requireWritable()
        deadLists = try target.dropPruneLists()
        let timeline = try sourceIndex.judged(timeline, with: source)
        for snapshot in snapshots {
            let there = try targetIndex.judged(
                target.timeline(of: timeline.volume), with: target)
            guard there.isSound else {
                throw RepositoryError(
                    .damaged,
                    "volume '\(timeline.volume)' in \(target.store.location) has damage, so "
                        + "nothing is copied to it; run 'varve check'")
            }
            if there.snapshot(snapshot.id) != nil {
                try mark(snapshot, there)
                if !copied.contains(snapshot.id) { known.insert(snapshot.id) }
                summary.knownCount = known.count
                continue
            }
            // One that is wanted again is shown again, but not by who may not delete there.
            guard try target.show(snapshot.id, of: timeline.volume) else {
                known.insert(snapshot.id)
                summary.knownCount = known.count
                continue
            }
            if there.forgotten.contains(where: { $0.id == snapshot.id }) {
                count(snapshot, done)
                continue
            }
            guard !there.isReached(snapshot.generation) else {
                throw RepositoryError(
                    .failed,
                    "volume '\(timeline.volume)' in \(target.store.location) has a different "
                        + "snapshot \(snapshot.generation): it is a different volume, and the two "
                        + "cannot be combined")
            }
            try copy(snapshot, of: timeline, to: there, progress)
            count(snapshot, done)
        }
        for hold in holds { try hold.verify(now: now()) }
        try target.dropSupersededMarkers(target.timeline(of: timeline.volume))
    }

    private func count(_ snapshot: Snapshot, _ done: (Snapshot) -> Void) {
        copied.insert(snapshot.id)
        summary.copiedCount = copied.count
        done(snapshot)
    }

    private func copy(
        _ snapshot: Snapshot,
        of timeline: Timeline,
        to there: Timeline,
        _ progress: (UInt64) -> Void
    ) throws {
        let markers = try target.prepareMarkers(there)
        let delta = try writeDelta(to: snapshot, of: timeline, from: there, progress: progress)
        for hold in holds { try hold.verify(now: now()) }
        let after = try target.timeline(of: timeline.volume)
        do {
            _ = try targetIndex.prove(delta, in: after, with: target)
        } catch let error as RepositoryError where error.kind == .damaged {
            // It is false, and known to be: it stays where nothing may be deleted.
            for hold in holds { try hold.verify(now: now()) }
            _ = try? target.store.deleteIfAllowed(delta.name.objectName, .durable)
            throw error
        }
        for hold in holds { try hold.verify(now: now()) }
        guard snapshot.generation > there.newest?.generation ?? 0 else {
            return try mark(snapshot, target.timeline(of: timeline.volume))
        }
        _ = try target.markNewest(delta, there, markers: markers)
    }

    /// Lets a marker tell of a snapshot below the newest at which nothing begins: nothing else would tell
    /// that its delta was lost.
    private func mark(_ snapshot: Snapshot, _ there: Timeline) throws {
        guard snapshot.generation < there.newest?.generation ?? 0,
            there.ends()[snapshot.id] != nil,
            !there.markerNames.contains(where: {
                there.marksAny(of: [snapshot.id: snapshot.generation], $0)
            }), let delta = there.delta(to: snapshot.id)
        else { return }
        try target.create(
            NewestMarker(
                volume: there.volume, generation: snapshot.generation, snapshot: snapshot.id,
                delta: delta.name.id))
    }

    /// Writes a delta to a snapshot from the newest one before it that the other repository can restore, and
    /// what that lacks of its blocks; the delta is durable, and not proved.
    func writeDelta(
        to snapshot: Snapshot,
        of timeline: Timeline,
        from there: Timeline,
        progress: (UInt64) -> Void
    ) throws -> KnownDelta {
        var timeline = timeline
        while true {
            do {
                return try writeDeltaAlongOnePath(
                    to: snapshot, of: timeline, from: there, progress: progress)
            } catch let error as UnreadableDelta {
                timeline = timeline.excluding([Timeline.Unproved(error)])
                guard timeline.isReached(snapshot.id) else { throw error.error }
            }
        }
    }

    private func writeDeltaAlongOnePath(
        to snapshot: Snapshot,
        of timeline: Timeline,
        from there: Timeline,
        progress: (UInt64) -> Void
    ) throws -> KnownDelta {
        let path = try path(to: snapshot, of: timeline, there)
        guard let first = path.first else { preconditionFailure("a snapshot without a delta") }
        let writer = DeltaWriter(
            repository: target, partByteLimit: partByteLimit, identifiers: identifiers)
        var merge = try DeltaMerge(path, of: source)
        var missing: [Digest] = []
        var seen: UInt64 = 0
        let copier = try FrameCopier(
            blockSize: target.blockSize,
            packs: PackWriter(
                repository: target, index: targetIndex, targetByteCount: packByteTarget,
                identifiers: identifiers))
        try merge.forEachRun { kind, blocks, digests in
            guard kind == .data else {
                return try writer.append(
                    kind, firstBlock: blocks.lowerBound, blockCount: UInt64(blocks.count))
            }
            for (offset, digest) in digests.enumerated() {
                try writer.append(dataBlock: blocks.lowerBound + UInt64(offset), digest: digest)
                if try needs(digest) { missing.append(digest) }
            }
            seen += UInt64(blocks.count)
            if missing.count >= Self.digestsTogether {
                try store(missing, copier)
                missing.removeAll(keepingCapacity: true)
            }
            progress(seen * UInt64(source.blockSize.byteCount))
        }
        try store(missing, copier)
        summary.storedByteCount += copier.storedByteCount
        try reliance.finish()
        try writer.finishMap()
        try target.verifyForCommit(holds, now: now(), ignoring: deadLists)
        let head = DeltaHead(
            from: first.head.from, fromGeneration: first.name.from,
            fromByteCount: first.head.fromByteCount, toGeneration: snapshot.generation,
            facts: snapshot.facts)
        let name = DeltaName(
            volume: timeline.volume, from: first.name.from, to: snapshot.generation,
            id: identifiers.next())
        return try writer.commitAnother(name, head: head)
    }

    /// Blocks that are looked for and stored together.
    private static let digestsTogether = 1 << 16

    /// The deltas from the newest earlier snapshot that both have, or from nothing.
    private func path(
        to snapshot: Snapshot,
        of timeline: Timeline,
        _ there: Timeline
    ) throws -> [KnownDelta] {
        let known = Set((there.snapshots + there.forgotten).map(\.id))
        let starts = timeline.snapshots.reversed().filter {
            $0.generation < snapshot.generation && known.contains($0.id)
        }
        for start in starts {
            if let path = timeline.cheapestPath(from: start.id, to: snapshot.id) { return path }
        }
        guard let path = timeline.cheapestPath(to: snapshot.id) else {
            throw RepositoryError(
                .damaged,
                "no path of deltas leads to snapshot \(snapshot.id.short) of '\(timeline.volume)'")
        }
        return path
    }

    // MARK: Blocks

    /// Whether the other repository cannot give the block.
    private func needs(_ digest: Digest) throws -> Bool {
        guard let known = try targetIndex.find(digest) else { return true }
        guard let place = known.plainPlace else {
            return (try? provenThere(known.number, digest)) == nil
        }
        try reliance.add(digest, at: place)
        return false
    }

    private lazy var targetReader = try? BlockReader(repository: target, index: targetIndex)

    private func provenThere(_ number: BlockNumber, _ digest: Digest) throws {
        guard let targetReader else { throw FormatError.badValue("reader") }
        try scratch.withMutableBytes { try targetReader.read(number, digest: digest, into: &$0) }
    }

    private func isProvenThere(_ digest: Digest, at place: Place) -> Bool {
        (try? targetReader?.prove(place, digest, scratch: scratch)) != nil
    }

    /// Stores blocks that are missing there, in the order of the packs that they come from, plain ones
    /// before patches; then the index of the other repository knows them.
    private func store(_ missing: [Digest], _ copier: FrameCopier) throws {
        guard !missing.isEmpty else { return }
        var blocks: [(digest: Digest, place: Place)] = []
        for digest in Set(missing) {
            guard let number = try sourceIndex.find(digest)?.number,
                let place = try sourceIndex.allPlaces(of: number).first
            else {
                throw RepositoryError(
                    .damaged,
                    "block \(digest.hexadecimal.prefix(12)) is in no pack of "
                        + "\(source.store.location); run 'varve check'")
            }
            blocks.append((digest, place))
        }
        blocks.sort {
            ($0.place.depth, $0.place.pack, $0.place.byteOffset, $0.place.slot)
                < ($1.place.depth, $1.place.pack, $1.place.byteOffset, $1.place.slot)
        }
        /// Depths of what was stored and the index does not know yet.
        var stored: [Digest: UInt8] = [:]
        for (digest, place) in blocks {
            if Interruption.isRequested { throw Interrupted.ofCopy }
            for hold in holds { try? hold.renew(now: now()) }
            if place.kind.isPatch, try copyPatch(digest, place, copier, &stored) { continue }
            guard let number = try sourceIndex.find(digest)?.number else { continue }
            try scratch.withMutableBytes { try reader.read(number, digest: digest, into: &$0) }
            let scratch = scratch
            try copier.add(scratch.bytes, digest)
            stored[digest] = 0
        }
        try copier.finish()
        summary.blockCount += UInt64(blocks.count)
    }

    /// Copies a patch as it is, if what it is a patch of is there and no deeper than it is here; whether it
    /// was.
    private func copyPatch(
        _ digest: Digest,
        _ place: Place,
        _ copier: FrameCopier,
        _ stored: inout [Digest: UInt8]
    ) throws -> Bool {
        do {
            try reader.prove(place, digest, scratch: scratch)
        } catch {
            // Another place of it may be better.
            return false
        }
        // What this is a patch of may wait for its frame.
        try copier.flush()
        let prefixes = try reader.prefixes(of: place)
        for prefix in prefixes {
            if let depth = stored[prefix], depth < place.depth { continue }
            guard let known = try targetIndex.find(prefix),
                try targetIndex.allPlaces(of: known.number).contains(where: {
                    $0.depth < place.depth && isProvenThere(prefix, at: $0)
                })
            else { return false }
        }
        guard let record = sourceIndex.pack(place.pack),
            let depth = try copier.copyFrame(at: place, of: record.id, in: source, [digest])
        else { return false }
        stored[digest] = depth
        return true
    }
}
