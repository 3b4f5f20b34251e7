internal import BlockModel
internal import LinuxIO
internal import ObjectStore
package import Repository
internal import RepositoryFormat
internal import RepositoryIndex
package import RepositoryModel
internal import Synchronization

extension Interrupted {
    /// Nothing is known of what was not read.
    static let ofCheck = Interrupted(consequence: "the check is incomplete; run it again")
}

/// Proves the repository whole: its structure from the objects alone, and its data when asked.
///
/// Nothing that the caches say is believed: a scratch index is built from the repository, with the
/// image digest of every snapshot recomputed on the way.
package struct RepositoryCheck {
    private let repository: Repository
    private let scratch: Index
    private var report = CheckReport()
    private var lost = LostBlocks()
    private var damage: [PackProof.Damage] = []
    /// Whether more is damaged than is kept in memory.
    private var isTruncated = false

    /// Prepares a check with its scratch index in an empty directory.
    package init(_ repository: Repository, scratchDirectory: String) throws {
        self.repository = repository
        scratch = try Index(
            directory: scratchDirectory, identity: repository.identity, isScratch: true,
            lookups: repository.lookups)
    }

    package mutating func run(
        _ coverage: DataCoverage,
        workerCount: Int,
        generator: inout some RandomNumberGenerator,
        progress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) throws -> CheckReport {
        var unreadable: [PackProof.Damage] = []
        try scratch.synchronizePacks(with: repository) { id, error in
            unreadable.append(PackProof.Damage(pack: id, frame: nil, reason: error.cause))
        }
        for item in unreadable {
            if let object = try repository.foreign(ObjectNames.pack(item.pack)) {
                add(object)
            } else {
                damage.append(item)
            }
        }
        report.packCount = scratch.knownPacks.count + damage.count
        try checkNames()
        let timelines = try repository.timelines().map { try checkAsListed($0) }
        try collectMissing()
        if coverage != .none {
            try readData(coverage, workerCount, &generator, progress)
        }
        if !lost.isEmpty || !damage.isEmpty { try collectPatchesOnLost() }
        if !lost.isEmpty {
            for timeline in timelines {
                for finding in lost.snapshots(lackingIn: timeline, of: repository) {
                    report.add(finding)
                }
            }
        }
        reportDamage()
        report.lostBlocks = lost.needed
        report.lostBlocksAreTruncated = lost.isTruncated || isTruncated
        return report
    }

    // MARK: Structure

    /// Refuses names that nothing gave, and small objects that do not decode.
    private mutating func checkNames() throws {
        for entry in try repository.store.list("") {
            if !entry.isObject || isOfNoKind(entry.name),
                let object = try repository.foreign(entry.name)
            {
                add(object)
                continue
            }
            if [ObjectNames.configuration, ObjectNames.reserve].contains(entry.name) { continue }
            if entry.name.hasPrefix(ObjectNames.packs) {
                if ObjectNames.packID(of: entry.name) == nil {
                    report.add(entry.name, "not a pack name")
                }
            } else if entry.name.hasPrefix(ObjectNames.volumes) {
                if ObjectNames.parse(volumeEntry: entry.name) == nil {
                    report.add(entry.name, "not a delta or a marker")
                }
            } else if entry.name.hasPrefix(ObjectNames.notes) {
                checkNote(entry.name)
            } else if entry.name.hasPrefix(ObjectNames.features) {
                checkFeatures(entry.name)
            } else if ![ObjectNames.parts, ObjectNames.locks, ObjectNames.pruning].contains(
                where: entry.name.hasPrefix)
            {
                report.add(entry.name, "not a name that a repository uses")
            }
        }
    }

    /// Whether nothing else reads objects of that name in a check.
    private func isOfNoKind(_ name: String) -> Bool {
        [
            ObjectNames.parts, ObjectNames.locks, ObjectNames.pruning, ObjectNames.notes,
            ObjectNames.features,
        ].contains(where: name.hasPrefix)
    }

    /// Lists what is not this repository's own; it is harmless where that is all there is to it.
    private mutating func add(_ object: ForeignObject) {
        report.add(
            Finding(
                subject: object.name,
                reason: object.reason
                    + (object.isUseless ? "; it is kept, but not needed" : ""),
                isHarmless: object.isUseless))
    }

    private mutating func checkFeatures(_ name: String) {
        do {
            let bytes = try repository.store.read(
                name, limit: Repository.configurationByteLimit)
            _ = try FeatureSet(decoding: bytes, name: name, identity: repository.identity)
        } catch let error as ObjectStoreError where error.reason == .notFound {
            // Somebody deleted it after the listing.
        } catch {
            // Its name alone counts.
            report.add(
                Finding(
                    subject: name, reason: "\(error); its name says all that it holds",
                    isHarmless: ObjectNames.features(of: name) != nil))
        }
    }

    private mutating func checkNote(_ name: String) {
        do {
            let bytes = try repository.store.read(name, limit: Format.noteByteLimit)
            let note = try Note(decoding: bytes, name: name, identity: repository.identity)
            guard note.kind == .bootProof else { return }
            _ = try BootProof(note)
            guard note.attachment.isEmpty || note.attachment.starts(with: BootProof.pictureMagic)
            else { return report.add(name, "the picture of a boot proof is not a PNG file") }
        } catch let error as ObjectStoreError where error.reason == .notFound {
            // Somebody deleted it after the listing.
        } catch {
            let snapshot = ObjectNames.noteSnapshot(of: name)?.short ?? "?"
            report.add(
                name,
                "\(error); it is a note on snapshot \(snapshot), which may be protected or tagged: "
                    + "set that again ('varve protect', 'varve tag'), then 'varve repair "
                    + "--forget-lost' deletes this note"
            )
        }
    }

    /// Checks a volume, and gives the listing that was checked.
    ///
    /// When somebody who forgot snapshots deleted deltas meanwhile, it is listed and checked again.
    private mutating func checkAsListed(_ timeline: Timeline) throws -> Timeline {
        var timeline = timeline
        for _ in 0..<Self.attemptLimit {
            let before = report
            let judged = try check(timeline)
            guard report.findings.count > before.findings.count else { return judged }
            let now = try repository.timeline(of: timeline.volume)
            let names = Set(now.deltas.map(\.name))
            if Set(timeline.deltas.map(\.name)).isSubset(of: names) { return judged }
            report = before
            timeline = now
        }
        return timeline
    }

    private static let attemptLimit = 5

    /// Gives the volume without the deltas that are false.
    private mutating func check(_ timeline: Timeline) throws -> Timeline {
        report.volumeCount += 1
        for object in timeline.foreign { add(object) }
        do {
            _ = try scratch.synchronize(
                timeline, with: repository, options: [.verifyingImageDigests])
        } catch let error as RepositoryError {
            report.add("volume \(timeline.volume)", error.cause)
        }
        let judged = try judged(timeline)
        report.snapshotCount += judged.snapshots.count
        for problem in judged.problems { report.add("volume \(timeline.volume)", problem) }
        for snapshot in judged.damaged {
            report.add(
                "\(timeline.volume)@\(snapshot.generation)",
                "cannot be restored: \(snapshot.reason)")
        }
        for snapshot in judged.possibleLosses {
            report.add(
                Finding(
                    subject: "\(timeline.volume)@\(snapshot.generation)",
                    reason: "may be lost: \(snapshot.reason); "
                        + "'varve repair --forget-lost' removes it",
                    isHarmless: true))
        }
        for item in judged.unproved {
            let isHarmless = judged.isReached(item.delta.head.to)
            // What a false one tells of is told above.
            if item.isFalse && !isHarmless { continue }
            report.add(
                Finding(
                    subject: item.delta.name.objectName,
                    reason: item.reason
                        + (isHarmless
                            ? "; its snapshot has another path, and "
                                + (item.isFalse
                                    ? "the next forget deletes this"
                                    : "'varve repair' deletes this")
                            : ""),
                    isHarmless: isHarmless))
        }
        // Forks, and deltas that the finest path leaves out, have maps that nobody looked up yet.
        let path = judged.tip.flatMap { judged.finestPath(to: $0.id) } ?? []
        let read = Set(path.map(\.name))
        let possible = Set(judged.possibleLosses.compactMap(\.id))
        for delta in judged.deltas where !read.contains(delta.name) {
            do {
                try repository.forEachMap(of: delta.name) { map, _ in
                    try scratch.requireKnown(map.digests) { lost.add($0, Self.noPlace) }
                }
            } catch let error as RepositoryError where error.kind == .damaged {
                report.add(
                    Finding(
                        subject: delta.name.objectName, reason: error.cause,
                        isHarmless: possible.contains(delta.head.to)
                            || possible.contains(delta.head.from)))
            }
        }
        return judged
    }

    /// Judges all deltas: each go proves a bounded number of those that need a path of their own.
    private func judged(_ timeline: Timeline) throws -> Timeline {
        var left = Int.max
        while true {
            let judged = try scratch.judged(timeline, with: repository)
            let open = judged.unproved.count { !$0.isFalse }
            if open == 0 || open >= left { return judged }
            left = open
        }
    }

    private mutating func collectMissing() throws {
        for digest in try scratch.digestsWithoutPlace(limit: LostBlocks.limit) {
            lost.add(digest, Self.noPlace)
        }
    }

    private static let noPlace = "no pack holds them"

    /// Adds the blocks that are patches of lost ones and cannot be read any more, in the order of
    /// their depth, so that patches of patches follow.
    private mutating func collectPatchesOnLost() throws {
        let proof = try PackProof(repository, scratch)
        var patches: [(depth: UInt8, digest: Digest, prefixes: [Digest])] = []
        for pack in scratch.knownPacks { patches += try proof.patches(of: pack) }
        var depths: [Digest: UInt8] = [:]
        for patch in patches.sorted(by: { $0.depth < $1.depth }) where !lost.contains(patch.digest)
        {
            let isDoubtful = try patch.prefixes.contains { prefix in
                if lost.contains(prefix) { return true }
                let least = try depths[prefix] ?? leastDepth(of: prefix)
                depths[prefix] = least
                return least >= patch.depth
            }
            guard isDoubtful, !proof.isReadable(patch.digest) else { continue }
            lost.add(patch.digest, "the blocks that their patches need are lost")
        }
    }

    /// The depth of the shallowest place of `digest`, which a patch that is decoded with it is above.
    private func leastDepth(of digest: Digest) throws -> UInt8 {
        guard let number = try scratch.numberOf(digest) else { return .max }
        return try scratch.allPlaces(of: number).map(\.depth).min() ?? .max
    }

    /// Lists what is wrong with packs, and whether any snapshot suffers from it.
    private mutating func reportDamage() {
        for item in damage {
            // What a pack held whose table cannot be read is not known.
            let isHarmless =
                !isTruncated && !lost.isTruncated
                && (item.frame == nil
                    ? lost.needed.isEmpty
                    : item.lost.allSatisfy { !lost.needed.contains($0) })
            // A prune takes what only patches that nobody needs are patches of.
            if isHarmless, item.isBelowPatch { continue }
            let subject = ObjectNames.pack(item.pack)
            var reason = item.reason
            for prefix in ["\(subject) is damaged: ", "\(subject) "] where reason.hasPrefix(prefix)
            {
                reason.removeFirst(prefix.count)
            }
            if let frame = item.frame { reason = "frame at \(frame): \(reason)" }
            if isHarmless { reason += "; no snapshot is affected" }
            report.add(Finding(subject: subject, reason: reason, isHarmless: isHarmless))
            guard let frame = item.frame else {
                report.evidence.unreadable.append(item.pack)
                continue
            }
            report.evidence.badFrames.append(BadFrame(pack: item.pack, byteOffset: frame))
        }
    }

    // MARK: Data

    private mutating func readData(
        _ coverage: DataCoverage,
        _ workerCount: Int,
        _ generator: inout some RandomNumberGenerator,
        _ progress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) throws {
        var packs = scratch.knownPacks.sorted { $0.number < $1.number }
        if case .percent(let percent) = coverage, !packs.isEmpty {
            let count = max(1, Int((Double(packs.count) * percent / 100).rounded(.up)))
            packs = Array(packs.shuffled(using: &generator).prefix(count))
        }
        let total = packs.reduce(0) { $0 + $1.byteCount }
        let selected = packs
        let next = Atomic<Int>(0)
        let done = Atomic<UInt64>(0)
        let found = Mutex(DamageList())
        let failure = SharedFailure()
        let repository = repository
        let scratch = scratch
        let idle = { progress(done.load(ordering: .relaxed), total) }
        try Workers.run(
            count: min(workerCount, max(1, packs.count)), failure: failure, idle: idle
        ) { _ in
            let proof = try PackProof(repository, scratch)
            while !failure.hasFailed {
                if Interruption.isRequested { throw Interrupted.ofCheck }
                let position = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard position < selected.count else { return }
                let damage = try proof.run(selected[position])
                found.withLock { $0.append(damage) }
                done.wrappingAdd(selected[position].byteCount, ordering: .relaxed)
            }
        }
        report.packsRead = packs.count
        report.bytesRead = done.load(ordering: .relaxed)
        let list = found.withLock { $0 }
        isTruncated = list.isTruncated
        // Nothing is taken back where not everything that was found could be kept.
        report.evidence.proved = isTruncated ? [] : packs.map(\.id)
        for item in list.items {
            for digest in item.lost {
                lost.add(digest, "\(ObjectNames.pack(item.pack)) is damaged")
            }
            damage.append(item)
        }
    }
}

/// What the workers of a check found together; bounded, whatever a repository is made of.
private struct DamageList {
    private static let limit = 1 << 20

    private(set) var items: [PackProof.Damage] = []
    private var digestCount = 0
    private(set) var isTruncated = false

    mutating func append(_ damage: [PackProof.Damage]) {
        for item in damage {
            guard items.count < Self.limit, digestCount + item.lost.count <= Self.limit else {
                isTruncated = true
                return
            }
            digestCount += item.lost.count
            items.append(item)
        }
    }
}
