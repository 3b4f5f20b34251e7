package import BlockModel
internal import ObjectStore
package import RepositoryFormat

/// What is said of snapshots after their capture.
extension Repository {
    /// What is read of a note of whose attachment nobody wants to know.
    private static let noteBeginningByteCount = 16 << 10

    /// Reads what a note says, and not its attachment.
    func noteWithoutAttachment(_ name: String) throws -> Note {
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
    func add(
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

    // MARK: Boot proofs

    /// What became of a snapshot when it was started, and where that is stored.
    package struct RecordedBoot: Hashable, Sendable {
        package let proof: BootProof
        package let time: Timestamp
        fileprivate let name: String
    }

    /// What became of each snapshot of the volume that was started, when it was last started.
    ///
    /// A note that cannot be read says nothing; `check` tells of it.
    package func boots(of volume: VolumeName) throws -> [SnapshotID: RecordedBoot] {
        var newest: [SnapshotID: (number: UInt64, boot: RecordedBoot)] = [:]
        for entry in try store.list(ObjectNames.notes(of: volume)) {
            guard let snapshot = ObjectNames.noteSnapshot(of: entry.name),
                let note = try? noteWithoutAttachment(entry.name),
                let proof = try? BootProof(note)
            else { continue }
            let number = ObjectNames.noteNumber(of: entry.name) ?? 0
            if let other = newest[snapshot], (other.number, other.boot.time) > (number, note.time) {
                continue
            }
            newest[snapshot] = (
                number, RecordedBoot(proof: proof, time: note.time, name: entry.name)
            )
        }
        return newest.mapValues(\.boot)
    }

    /// The picture of the screen that a record has, as PNG; empty when it has none.
    package func picture(of boot: RecordedBoot) throws -> [UInt8] {
        let bytes = try store.read(boot.name, limit: Format.noteByteLimit)
        return try Note(decoding: bytes, name: boot.name, identity: identity).attachment
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
}
