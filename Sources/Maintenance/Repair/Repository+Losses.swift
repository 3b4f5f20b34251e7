package import BlockModel
internal import ObjectStore
package import Repository
package import RepositoryFormat
internal import RepositoryModel

/// What is lost for good, and what is said of it.
extension Repository {
    /// Deltas whose head can be read and whose map cannot, and why.
    package func brokenDeltas(of timeline: Timeline) throws -> [DeltaName: String] {
        var broken: [DeltaName: String] = [:]
        for delta in timeline.deltas {
            do {
                try forEachMap(of: delta.name) { _, _ in }
            } catch let error as RepositoryError where error.kind == .damaged {
                broken[delta.name] = error.cause
            }
        }
        return broken
    }

    /// How many blocks each snapshot of the volume lacks that can be restored but for them.
    package func lacks(of lost: Set<Digest>, in timeline: Timeline) -> [SnapshotID: UInt64] {
        guard !lost.isEmpty else { return [:] }
        var blocks = LostBlocks()
        for digest in lost { blocks.add(digest, "") }
        return blocks.counts(in: timeline, of: self)
    }

    /// Says of each snapshot of the volume how many blocks it lacks, and takes back what was said of others.
    ///
    /// - Parameters:
    ///   - lacks: what ``lacks(of:in:)`` gave.
    ///   - timeline: the volume.
    ///   - isAll: whether there are no other lost blocks than were looked for: nothing is taken back if not.
    ///   - time: now.
    ///   - identifiers: gives ids of notes.
    /// - Throws: what the store throws.
    package func noteLacks(
        _ lacks: [SnapshotID: UInt64],
        in timeline: Timeline,
        isAll: Bool = true,
        time: Timestamp,
        identifiers: any IdentifierSource
    ) throws {
        let standings = try standings(of: timeline.volume)
        for snapshot in timeline.snapshots + timeline.forgotten {
            let known = standings[snapshot.id]?.lackingBlockCount
            guard known != lacks[snapshot.id] else { continue }
            if let count = lacks[snapshot.id] {
                try say(
                    Note(kind: .damage, time: time, texts: ["\(count)"]), on: snapshot.id,
                    of: timeline.volume, identifiers: identifiers)
            } else if isAll, let standing = standings[snapshot.id] {
                try takeBackLack(
                    standing, on: snapshot.id, of: timeline.volume, time: time,
                    identifiers: identifiers)
            }
        }
    }

    /// Takes back that a snapshot lacks blocks; where nothing may be deleted, by a note that says so.
    func takeBackLack(
        _ standing: Standing,
        on snapshot: SnapshotID,
        of volume: VolumeName,
        time: Timestamp,
        identifiers: any IdentifierSource
    ) throws {
        var isRefused = false
        for name in standing.damageNoteNames {
            isRefused = try !store.deleteIfAllowed(name, .eventual) || isRefused
        }
        guard isRefused else { return }
        try add(
            Note(kind: .damage, time: time, texts: []), on: snapshot, of: volume,
            identifiers: identifiers)
    }

    /// Gives up the snapshots of a volume that no path leads to, and what cannot be read of it.
    ///
    /// A new marker comes first, so that the numbers of what is given up are not used again; the markers
    /// that tell of it go last, so that it stays damage until all of it is gone. The volume is held
    /// exclusively.
    ///
    /// - Parameters:
    ///   - timeline: the volume, as ``PathRepair/run(_:others:)`` left it.
    ///   - holds: one on the repository, and an exclusive one on the volume.
    ///   - now: the time.
    /// - Returns: names of the objects that were deleted.
    /// - Throws: what the store throws.
    package func giveUpLost(
        of timeline: Timeline,
        holds: [Hold],
        now: () -> Timestamp
    ) throws -> [String] {
        try requireWritable()
        // What is lost here may be where a link leads.
        try requireObjectsOnly([
            ObjectNames.volumes, ObjectNames.parts, ObjectNames.packs, ObjectNames.notes,
        ])
        for name in timeline.unreadable.map(\.name.objectName) + timeline.unreadableMarkers {
            guard let object = try foreign(name) else { continue }
            throw RepositoryError(
                .damaged,
                "\(name) is kept: \(object.reason); use that version, or move it away")
        }
        var deleted: [String] = []
        func delete(_ name: String) throws {
            for hold in holds { try hold.verify(now: now()) }
            try store.delete(name, .durable)
            deleted.append(name)
        }
        let tip = timeline.tip
        let marker = NewestMarker(
            volume: timeline.volume, generation: timeline.highestGeneration,
            snapshot: tip?.id ?? .nothing,
            delta: tip.flatMap { timeline.delta(to: $0.id) }?.name.id ?? .zero)
        if timeline.unreadableMarkers.contains(marker.objectName) {
            try delete(marker.objectName)
        }
        if !timeline.markers.contains(marker) { try create(marker) }
        let unreached = timeline.deltas.filter {
            !timeline.isReached($0.head.from) || !timeline.isReached($0.head.to)
        }
        // The last one first, so that what is left goes on to tell of what is lost.
        let names =
            unreached.map(\.name) + timeline.unreadable.map(\.name)
            // What has another number says what is so: it goes where the others were proved.
            + timeline.unproved.filter { $0.isFalse && !$0.isRenumbered }.map(\.delta.name)
        for name in names.sorted(by: { ($0.to, $0.from, $0.id) > ($1.to, $1.from, $1.id) }) {
            try delete(name.objectName)
        }
        for name in try damagedNotes(of: timeline.volume) { try delete(name) }
        for name in timeline.markerNames where name != marker.objectName { try delete(name) }
        try deleteLeftNotes(try self.timeline(of: timeline.volume))
        return deleted
    }

    /// Notes on snapshots of the volume whose bytes say nothing; those that may be read another time are
    /// not among them.
    package func damagedNotes(of volume: VolumeName) throws -> [String] {
        try notes(of: volume).filter { $0.note == nil }.map(\.name).filter { name in
            do {
                _ = try noteWithoutAttachment(name)
                return false
            } catch {
                return error is FormatError
            }
        }
    }
}

extension Timeline {
    /// A delta that leads to the snapshot on a path from nothing.
    func delta(to id: SnapshotID) -> KnownDelta? { cheapestPath(to: id)?.last }
}
