package import BlockModel
internal import ObjectStore
package import RepositoryFormat
internal import RepositoryModel

/// Remembers the heads of deltas, so that a listing need not read thousands of objects.
package protocol DeltaHeadCache {
    /// One for each of `deltas`, whose objects have that size; nil for those it does not know.
    func heads(of deltas: [(name: DeltaName, byteCount: UInt64)]) -> [DeltaHead?]
    func remember(_ heads: [(delta: KnownDelta, byteCount: UInt64)])
    /// Those that were proved to be false.
    func falseDeltas(among deltas: [KnownDelta]) -> Set<DeltaName>
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
        var links: [VolumeName: [String]] = [:]
        for entry in try entries(only, of: only.map(ObjectNames.notes) ?? ObjectNames.notes, &links)
        {
            guard let volume = ObjectNames.noteVolume(of: entry.name) else {
                if !entry.isObject { note(entry.name, below: ObjectNames.notes, &links) }
                continue
            }
            notes[volume, default: []].append(entry.name)
        }
        let forgotten = try notes.mapValues { try self.forgotten(amongNotes: $0) }
        var listings: [VolumeName: VolumeListing] = [:]
        for entry in try entries(
            only, of: only.map(ObjectNames.volume) ?? ObjectNames.volumes, &links)
        {
            guard let (volume, kind) = ObjectNames.parse(volumeEntry: entry.name) else {
                if !entry.isObject { note(entry.name, below: ObjectNames.volumes, &links) }
                continue
            }
            listings[
                volume, default: VolumeListing(volume: volume, forgotten: forgotten[volume] ?? [])
            ].add(kind, entry)
        }
        for (volume, names) in links {
            listings[
                volume, default: VolumeListing(volume: volume, forgotten: forgotten[volume] ?? [])
            ].links = names
        }
        return listings.values.sorted { $0.volume < $1.volume }
    }

    /// What is listed; of a volume whose directory is a link, nothing, and that is taken note of.
    private func entries(
        _ only: VolumeName?,
        of prefix: String,
        _ links: inout [VolumeName: [String]]
    ) throws(ObjectStoreError) -> [ObjectEntry] {
        do throws(ObjectStoreError) {
            return try store.list(prefix)
        } catch {
            guard let only, case .notAnObject = error.reason else { throw error }
            links[only, default: []].append(String(prefix.dropLast()))
            return []
        }
    }

    /// Takes note of a link where a volume's directory would be.
    private func note(_ name: String, below prefix: String, _ links: inout [VolumeName: [String]]) {
        if let volume = VolumeName(String(name.dropFirst(prefix.utf8.count))) {
            links[volume, default: []].append(name)
        }
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
    private var storedSeconds: [DeltaName: Int64] = [:]
    private var markers: [String] = []
    /// What stands where a directory of the volume would be, and is none.
    var links: [String] = []

    init(volume: VolumeName, forgotten: Set<SnapshotID>) {
        self.volume = volume
        self.forgotten = forgotten
    }

    static func == (left: Self, right: Self) -> Bool {
        left.volume == right.volume && left.forgotten == right.forgotten
            && left.markers == right.markers && left.links == right.links
            && left.deltas.elementsEqual(right.deltas, by: { $0.name == $1.name })
    }

    mutating func add(_ kind: ObjectNames.VolumeEntry, _ entry: ObjectEntry) {
        switch kind {
        case .delta(let name):
            deltas.append((name, entry.byteCount))
            storedSeconds[name] = entry.storedSeconds
        case .newest: markers.append(entry.name)
        }
    }

    func timeline(in repository: Repository, cache: (any DeltaHeadCache)?) throws -> Timeline {
        var known: [KnownDelta] = []
        var unreadable: [(name: DeltaName, reason: String)] = []
        var unreadableHeads: [DeltaName: DeltaHead] = [:]
        var foreign: [ForeignObject] = []
        var learned: [(delta: KnownDelta, byteCount: UInt64)] = []
        let cached = cache?.heads(of: deltas) ?? []
        // Its snapshot's facts name the number of the one below: no honest delta has a lower one.
        var misnumbered: [Timeline.Unproved] = []
        func take(_ head: DeltaHead, _ name: DeltaName) {
            guard name.to > head.facts.parentGeneration else {
                misnumbered.append(
                    Timeline.Unproved(
                        delta: KnownDelta(name: name, head: head),
                        reason: "its number is not higher than that of the previous snapshot",
                        isFalse: true))
                return
            }
            let size = max(head.fromByteCount, head.toByteCount)
            let blockCount = repository.blockSize.blockCount(coveringByteCount: size)
            guard blockCount <= Format.volumeBlockLimit else {
                return unreadable.append((name, "it claims that its volume has \(size) bytes"))
            }
            known.append(KnownDelta(name: name, head: head))
        }
        for (position, (name, byteCount)) in deltas.enumerated() {
            if position < cached.count, let head = cached[position] {
                take(head, name)
                continue
            }
            do {
                let head = try repository.readDeltaHead(name, byteCount: byteCount)
                take(head, name)
                learned.append((KnownDelta(name: name, head: head), byteCount))
            } catch let error as RepositoryError where error.kind == .damaged {
                if let object = try repository.foreign(name.objectName), object.isUseless {
                    foreign.append(object)
                    continue
                }
                unreadable.append((name, error.description))
                unreadableHeads[name] = try repository.headBeforeDamage(name, byteCount: byteCount)
            }
        }
        cache?.remember(learned)
        let found = try readMarkers(beside: known, in: repository)
        foreign += found.foreign
        var stored: [SnapshotID: Int64] = [:]
        for delta in known {
            guard let seconds = storedSeconds[delta.name] else { continue }
            stored[delta.head.to] = min(seconds, stored[delta.head.to] ?? .max)
        }
        let timeline = Timeline(
            volume: volume, deltas: known, unreadable: unreadable, markers: found.read,
            unreadableMarkers: found.unreadable, supersededMarkers: found.superseded,
            storedSeconds: stored, forgotten: forgotten, foreign: foreign, links: links,
            unreadableHeads: unreadableHeads)
        let names = cache?.falseDeltas(among: known) ?? []
        let falseDeltas = known.filter { names.contains($0.name) }
        return timeline.excluding(
            misnumbered + falseDeltas.map { Timeline.Unproved(FalseDelta($0)) })
    }

    /// What the markers of a volume are.
    private struct FoundMarkers {
        var read: [NewestMarker] = []
        var unreadable: [String] = []
        var superseded: [String] = []
        var foreign: [ForeignObject] = []
    }

    /// Reads the markers that may tell of more than the deltas do.
    ///
    /// A store that deletes nothing keeps one for each commit. Where a delta with the number of a
    /// marker was read, the marker tells of nothing more and is not read, except where several have
    /// one number, and except the newest, which shows that the volume is marked at all.
    private func readMarkers(
        beside deltas: [KnownDelta],
        in repository: Repository
    ) throws -> FoundMarkers {
        var told = Set(deltas.map(\.name.to))
        if !deltas.isEmpty { told.insert(0) }
        var names: [Generation: [String]] = [:]
        for name in markers {
            if let generation = ObjectNames.newestGeneration(of: name) {
                names[generation, default: []].append(name)
            }
        }
        let last = names.keys.filter(told.contains).max()
        var found = FoundMarkers()
        for (generation, names) in names.sorted(by: { $0.key < $1.key }) {
            let isTold = told.contains(generation)
            if isTold, generation != last, names.count == 1 {
                found.superseded += names
                continue
            }
            var damaged: [String] = []
            let before = found.read.count
            for name in names {
                do {
                    if let marker = try readMarker(name, in: repository) {
                        found.read.append(marker)
                    }
                } catch is FormatError {
                    if let object = try repository.foreign(name), object.isUseless {
                        found.foreign.append(object)
                    } else {
                        damaged.append(name)
                    }
                } catch let error as ObjectStoreError where error.isDamage {
                    damaged.append(name)
                }
            }
            // Beside what is whole it says nothing.
            if isTold, generation != last || found.read.count > before {
                found.superseded += damaged
            } else {
                found.unreadable += damaged
            }
        }
        return found
    }

    /// Reads a marker; nil where another process has just replaced it by a newer one.
    private func readMarker(
        _ name: String,
        in repository: Repository
    ) throws -> NewestMarker? {
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try repository.store.read(name, limit: 1 << 16)
        } catch {
            if error.reason == .notFound { return nil }
            throw error
        }
        return try NewestMarker(
            decoding: bytes, volume: volume, name: name, identity: repository.identity)
    }
}
