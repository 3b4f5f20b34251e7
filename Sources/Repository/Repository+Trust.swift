package import BlockModel
internal import ObjectStore
internal import RepositoryFormat

/// Whether what says that blocks did not change is believed, for a volume: a note says that it was
/// found lying, and holds until another one takes that back.
extension Repository {
    /// Why evidence for the volume is not believed any more; nil when it is.
    package func distrust(of volume: VolumeName) throws -> String? {
        var newest: (number: UInt64, time: Timestamp, reason: String?)?
        for entry in try store.list(ObjectNames.notes(of: volume)) {
            let number = ObjectNames.noteNumber(of: entry.name) ?? 0
            var time = Timestamp(seconds: .max)
            var reason: String?
            do {
                let note = try noteWithoutAttachment(entry.name)
                guard note.kind == .distrust else { continue }
                (time, reason) = (note.time, note.texts.first)
            } catch {
                if try foreign(entry.name)?.isUseless == true { continue }
                // It may have been one of distrust.
                reason = "\(entry.name) cannot be read (\(error))"
            }
            if let newest, (newest.number, newest.time) > (number, time) { continue }
            newest = (number, time, reason)
        }
        return newest?.reason
    }

    /// Says for good that evidence for the volume is not believed, for `reason`; or, with nil, that
    /// it is again.
    package func setDistrust(
        _ reason: String?,
        of volume: VolumeName,
        on snapshot: SnapshotID,
        time: Timestamp,
        identifiers: any IdentifierSource
    ) throws {
        try add(
            Note(kind: .distrust, time: time, texts: reason.map { [$0] } ?? []), on: snapshot,
            of: volume, identifiers: identifiers)
    }
}
