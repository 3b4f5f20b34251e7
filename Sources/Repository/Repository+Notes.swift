package import BlockModel
internal import ObjectStore
package import RepositoryFormat
package import RepositoryModel

/// What is said of snapshots after their capture.
extension Repository {
    /// What is read of a note of whose attachment nobody wants to know.
    private static let noteBeginningByteCount = 16 << 10

    /// Reads what a note says, and not its attachment.
    package func noteWithoutAttachment(_ name: String) throws -> Note {
        let count = Self.noteBeginningByteCount
        let beginning = try store.read(name, at: 0, byteCount: count)
        do {
            return try Note(decodingBeginning: beginning, name: name, identity: identity)
        } catch {
            guard beginning.count == count else { throw error }
            let bytes = try store.read(name, limit: Format.noteByteLimit)
            return try Note(decodingBeginning: bytes, name: name, identity: identity)
        }
    }

    /// Stores a note that counts before all that the volume has.
    package func add(
        _ note: Note,
        on snapshot: SnapshotID,
        of volume: VolumeName,
        identifiers: any IdentifierSource
    ) throws {
        let numbers = try store.list(ObjectNames.notes(of: volume)).compactMap {
            ObjectNames.noteNumber(of: $0.name)
        }
        let name = ObjectNames.note(
            on: snapshot, of: volume,
            number: Int(min((numbers.max() ?? 0) + 1, ObjectNames.noteNumberLimit)),
            id: identifiers.next())
        try store.create(name, try note.encoded(name: name, identity: identity))
    }

    // MARK: What is said of snapshots

    /// What was said of each snapshot of the volume; of notes of a kind the newest counts.
    package func standings(of volume: VolumeName) throws -> [SnapshotID: Standing] {
        var standings: [SnapshotID: Standing] = [:]
        for (snapshot, name, note) in try notes(of: volume) {
            var standing = standings[snapshot] ?? Standing()
            defer { standings[snapshot] = standing }
            guard let note else {
                standing.hasUnreadableNote = true
                standing.mayBeProtected = true
                continue
            }
            switch note.kind {
            case .tags: standing.tags = note.texts
            case .protection:
                standing.isProtected = !note.texts.isEmpty
                standing.mayBeProtected = false
            case .forgotten: standing.isForgotten = true
            case .bootProof:
                if let proof = try? BootProof(note) {
                    standing.boot = Standing.RecordedBoot(
                        proof: proof, time: note.time, noteName: name)
                }
            case .distrust: continue
            case .damage:
                standing.lackingBlockCount = note.texts.first.flatMap { UInt64($0) }
                standing.damageNoteNames.append(name)
            default: break
            }
            standing.noteNames.append(name)
        }
        return standings.mapValues { standing in
            var standing = standing
            if standing.isProtected { standing.isForgotten = false }
            return standing
        }
    }

    /// The notes of a volume, those that count come last; nil for one that cannot be read.
    package func notes(
        of volume: VolumeName
    ) throws -> [(snapshot: SnapshotID, name: String, note: Note?)] {
        try notes(try store.list(ObjectNames.notes(of: volume)).map(\.name))
    }

    private func notes(
        _ names: [String]
    ) throws -> [(snapshot: SnapshotID, name: String, note: Note?)] {
        var found: [(snapshot: SnapshotID, name: String, note: Note?)] = []
        for name in names {
            guard let snapshot = ObjectNames.noteSnapshot(of: name) else { continue }
            do {
                found.append((snapshot, name, try noteWithoutAttachment(name)))
            } catch let error as ObjectStoreError where error.reason == .notFound {
                continue
            } catch {
                // What is said of another repository's snapshots is none of ours.
                if try foreign(name)?.isUseless == true { continue }
                found.append((snapshot, name, nil))
            }
        }
        return found.sorted { a, b in
            let numbers = (
                ObjectNames.noteNumber(of: a.name) ?? 0, ObjectNames.noteNumber(of: b.name) ?? 0
            )
            guard numbers.0 == numbers.1 else { return numbers.0 < numbers.1 }
            return (a.note?.time ?? Timestamp(seconds: 0), a.name)
                < (b.note?.time ?? Timestamp(seconds: 0), b.name)
        }
    }

    /// Snapshots that nobody is to be shown any more, by the notes of a volume.
    func forgotten(amongNotes names: [String]) throws -> Set<SnapshotID> {
        var forgotten: Set<SnapshotID> = []
        var protected: Set<SnapshotID> = []
        for (snapshot, _, note) in try notes(names) {
            switch note?.kind {
            case .forgotten: forgotten.insert(snapshot)
            case .protection where note?.texts.isEmpty == true: protected.remove(snapshot)
            case .protection: protected.insert(snapshot)
            default: continue
            }
        }
        // Who protected it at the same time wins, whichever note came first.
        return forgotten.subtracting(protected)
    }

    /// The picture of the screen that a record has, as PNG; empty when it has none.
    package func picture(of boot: Standing.RecordedBoot) throws -> [UInt8] {
        let bytes = try store.read(boot.noteName, limit: Format.noteByteLimit)
        return try Note(decoding: bytes, name: boot.noteName, identity: identity).attachment
    }

    /// Records for good what became of a snapshot.
    package func record(
        _ proof: BootProof,
        picture: [UInt8],
        on snapshot: SnapshotID,
        of volume: VolumeName,
        time: Timestamp,
        identifiers: any IdentifierSource
    ) throws {
        try add(
            proof.note(time: time, picture: picture), on: snapshot, of: volume,
            identifiers: identifiers)
    }

    /// Says that a snapshot is protected from being forgotten, or that it is not any more.
    package func setProtected(
        _ isProtected: Bool,
        on snapshot: SnapshotID,
        of volume: VolumeName,
        time: Timestamp,
        identifiers: any IdentifierSource
    ) throws {
        try say(
            Note(kind: .protection, time: time, texts: isProtected ? ["protected"] : []),
            on: snapshot, of: volume, identifiers: identifiers)
    }

    /// Shows a forgotten snapshot again; false if this user may not delete the note.
    package func show(_ snapshot: SnapshotID, of volume: VolumeName) throws -> Bool {
        var isShown = true
        for (id, name, note) in try notes(of: volume)
        where id == snapshot && note?.kind == .forgotten {
            isShown = try store.deleteIfAllowed(name, .durable) && isShown
        }
        return isShown
    }

    /// Gives a snapshot other tags than it has.
    package func setTags(
        _ tags: [String],
        on snapshot: SnapshotID,
        of volume: VolumeName,
        time: Timestamp,
        identifiers: any IdentifierSource
    ) throws {
        try say(
            Note(kind: .tags, time: time, texts: tags), on: snapshot, of: volume,
            identifiers: identifiers)
    }

    /// Stores a note, and deletes those of its kind that it stands for.
    package func say(
        _ note: Note,
        on snapshot: SnapshotID,
        of volume: VolumeName,
        identifiers: any IdentifierSource
    ) throws {
        let older = try notes(of: volume).filter {
            $0.snapshot == snapshot && $0.note?.kind == note.kind
        }
        try add(note, on: snapshot, of: volume, identifiers: identifiers)
        // One that stays is older, and what is newest counts.
        for (_, name, _) in older { try store.deleteIfAllowed(name, .eventual) }
    }
}
