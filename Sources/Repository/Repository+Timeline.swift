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
        let prefix = only.map(ObjectNames.volume) ?? ObjectNames.volumes
        var listings: [VolumeName: VolumeListing] = [:]
        for entry in try store.list(prefix) {
            guard let (volume, kind) = ObjectNames.parse(volumeEntry: entry.name) else { continue }
            listings[volume, default: VolumeListing(volume: volume)].add(kind, entry)
        }
        return try listings.values.sorted { $0.volume < $1.volume }.map {
            try $0.timeline(in: self, cache: cache)
        }
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
private struct VolumeListing {
    let volume: VolumeName
    private var deltas: [(name: DeltaName, byteCount: UInt64)] = []
    private var markers: [String] = []

    init(volume: VolumeName) { self.volume = volume }

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
            unreadableMarkers: unreadableMarkers, forgotten: try repository.forgotten(of: volume))
    }
}
