package import BlockModel
internal import ObjectStore
package import RepositoryFormat

/// Remembers the heads of deltas, so that a listing need not read thousands of objects.
package protocol DeltaHeadCache {
    /// One for each of `deltas`, whose objects have that size; nil for those it does not know.
    func heads(of deltas: [(name: DeltaName, byteCount: UInt64)]) -> [DeltaHead?]
    func remember(_ heads: [(delta: KnownDelta, byteCount: UInt64)])
}

extension Repository {
    /// The volumes of the repository and what their listing says, in order of name.
    package func timelines(
        _ only: VolumeName? = nil,
        cache: (any DeltaHeadCache)? = nil
    ) throws -> [Timeline] {
        var timelines: [Timeline] = []
        for listing in try listings(only) {
            var listing = listing
            var timeline = try listing.timeline(in: self, cache: cache)
            // Somebody who forgets snapshots deletes deltas while the listing goes on: what looks like
            // damage is damage only if it looks the same again.
            for _ in 0..<Self.listingLimit where !timeline.isSound {
                guard let again = try listings(listing.volume).first, again != listing else {
                    break
                }
                listing = again
                timeline = try listing.timeline(in: self, cache: cache)
            }
            timelines.append(timeline)
        }
        return timelines
    }

    private static let listingLimit = 10

    /// What the volumes have, in order of name; what is said of them is older than what is listed, for
    /// a note goes after the deltas that it is about.
    private func listings(_ only: VolumeName?) throws -> [VolumeListing] {
        var notes: [VolumeName: [String]] = [:]
        for entry in try store.list(only.map(ObjectNames.notes) ?? ObjectNames.notes) {
            guard let volume = ObjectNames.noteVolume(of: entry.name) else { continue }
            notes[volume, default: []].append(entry.name)
        }
        let forgotten = try notes.mapValues { try self.forgotten(amongNotes: $0) }
        var listings: [VolumeName: VolumeListing] = [:]
        for entry in try store.list(only.map(ObjectNames.volume) ?? ObjectNames.volumes) {
            guard let (volume, kind) = ObjectNames.parse(volumeEntry: entry.name) else { continue }
            listings[
                volume, default: VolumeListing(volume: volume, forgotten: forgotten[volume] ?? [])
            ].add(kind, entry)
        }
        return listings.values.sorted { $0.volume < $1.volume }
    }

    /// Names of all deltas, of all volumes.
    package func deltaNames() throws -> Set<String> {
        Set(
            try store.list(ObjectNames.volumes).map(\.name).filter {
                if case .delta = ObjectNames.parse(volumeEntry: $0)?.1 { true } else { false }
            })
    }

    /// The timeline of one volume; empty when the repository has none of it.
    package func timeline(
        of volume: VolumeName,
        cache: (any DeltaHeadCache)? = nil
    ) throws -> Timeline {
        try timelines(volume, cache: cache).first
            ?? Timeline(
                volume: volume, deltas: [], unreadable: [], markers: [], unreadableMarkers: [])
    }
}

/// What a listing shows of one volume, before anything is read.
private struct VolumeListing: Equatable {
    let volume: VolumeName
    private let forgotten: Set<SnapshotID>
    private var deltas: [(name: DeltaName, byteCount: UInt64)] = []
    private var markers: [String] = []

    init(volume: VolumeName, forgotten: Set<SnapshotID>) {
        self.volume = volume
        self.forgotten = forgotten
    }

    static func == (left: Self, right: Self) -> Bool {
        left.volume == right.volume && left.forgotten == right.forgotten
            && left.markers == right.markers
            && left.deltas.elementsEqual(right.deltas, by: { $0.name == $1.name })
    }

    mutating func add(_ kind: ObjectNames.VolumeEntry, _ entry: ObjectEntry) {
        switch kind {
        case .delta(let name): deltas.append((name, entry.byteCount))
        case .newest: markers.append(entry.name)
        }
    }

    func timeline(in repository: Repository, cache: (any DeltaHeadCache)?) throws -> Timeline {
        var known: [KnownDelta] = []
        var unreadable: [(name: DeltaName, reason: String)] = []
        var learned: [(delta: KnownDelta, byteCount: UInt64)] = []
        let cached = cache?.heads(of: deltas) ?? []
        for (position, (name, byteCount)) in deltas.enumerated() {
            if position < cached.count, let head = cached[position] {
                known.append(KnownDelta(name: name, head: head))
                continue
            }
            do {
                let head = try repository.readDeltaHead(name, byteCount: byteCount)
                known.append(KnownDelta(name: name, head: head))
                learned.append((KnownDelta(name: name, head: head), byteCount))
            } catch let error as RepositoryError where error.kind == .damaged {
                unreadable.append((name, error.description))
            }
        }
        cache?.remember(learned)
        var readMarkers: [NewestMarker] = []
        var unreadableMarkers: [String] = []
        for name in markers {
            do {
                let bytes = try repository.store.read(name, limit: 1 << 16)
                readMarkers.append(
                    try NewestMarker(
                        decoding: bytes, volume: volume, name: name,
                        identity: repository.identity))
            } catch is FormatError {
                unreadableMarkers.append(name)
            } catch let error as ObjectStoreError where error.reason == .notFound {
                // Another process has just replaced it by a newer one.
                continue
            } catch let error as ObjectStoreError where error.isDamage {
                unreadableMarkers.append(name)
            }
        }
        return Timeline(
            volume: volume, deltas: known, unreadable: unreadable, markers: readMarkers,
            unreadableMarkers: unreadableMarkers, forgotten: forgotten)
    }
}
