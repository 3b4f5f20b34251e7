internal import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import RepositoryFormat
internal import Synchronization

/// One thing that `check` found wrong.
package struct Finding: Hashable, Sendable {
    /// The object, or the snapshot, that is not as it should be.
    package let subject: String
    package let reason: String
}

/// How much of the packs' data is read.
package enum DataCoverage: Hashable, Sendable {
    case none
    case all
    /// A random selection of so many percent of the packs.
    case percent(Double)
}

/// The user asked to stop: nothing is known of what was not read.
package struct CheckInterrupted: Error, CustomStringConvertible {
    package var description: String { "interrupted; the check is incomplete, run it again" }
}

/// What a check looked at, and what it found.
package struct CheckReport: Sendable {
    package var volumeCount = 0
    package var snapshotCount = 0
    package var packCount = 0
    package var packsRead = 0
    package var bytesRead: UInt64 = 0
    package var findings: [Finding] = []

    private static let findingLimit = 10_000

    mutating func add(_ subject: String, _ reason: String) {
        guard findings.count < Self.findingLimit else { return }
        let finding = Finding(subject: subject, reason: reason)
        if !findings.contains(finding) { findings.append(finding) }
    }
}

/// Proves the repository whole: its structure from the objects alone, and its data when asked.
///
/// Nothing that the caches say is believed: a scratch index is built from the repository, with the
/// image digest of every snapshot computed anew on the way.
package struct RepositoryCheck {
    private let repository: Repository
    private let scratch: Index
    private var report = CheckReport()
    /// Digests that no intact pack gives; the snapshots that name them are looked for at the end.
    private var lost: [Digest: String] = [:]

    private static let lostLimit = 1 << 20

    /// Prepares a check with its scratch index in an empty directory.
    package init(_ repository: Repository, scratchDirectory: String) throws {
        self.repository = repository
        scratch = try Index(
            directory: scratchDirectory, identity: repository.identity, isScratch: true)
    }

    package mutating func run(
        _ coverage: DataCoverage,
        workerCount: Int,
        generator: inout some RandomNumberGenerator,
        progress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) throws -> CheckReport {
        var damagedPacks: Set<ObjectID> = []
        var findings: [Finding] = []
        try scratch.synchronizePacks(with: repository) { id, error in
            damagedPacks.insert(id)
            findings.append(
                Finding(subject: ObjectNames.pack(id), reason: error.description))
        }
        for finding in findings { report.add(finding.subject, finding.reason) }
        report.packCount = scratch.knownPacks.count + damagedPacks.count
        try checkNames()
        let timelines = try repository.timelines()
        for timeline in timelines { try check(timeline) }
        try collectMissing()
        if !lost.isEmpty || !damagedPacks.isEmpty { try collectPatchesOnLost() }
        if coverage != .none {
            try readData(coverage, workerCount, &generator, progress)
        }
        try nameLostSnapshots(timelines)
        return report
    }

    // MARK: Structure

    /// Refuses names that nothing gave, and small objects that do not decode.
    private mutating func checkNames() throws {
        for entry in try repository.store.list("") {
            if entry.name == ObjectNames.configuration { continue }
            if entry.name.hasPrefix(ObjectNames.packs) {
                if ObjectNames.packID(of: entry.name) == nil {
                    report.add(entry.name, "not the name of a pack")
                }
            } else if entry.name.hasPrefix(ObjectNames.volumes) {
                if ObjectNames.parse(volumeEntry: entry.name) == nil {
                    report.add(entry.name, "neither a delta nor a marker")
                }
            } else if entry.name.hasPrefix(ObjectNames.notes) {
                checkNote(entry.name)
            } else if ![ObjectNames.parts, ObjectNames.locks, ObjectNames.pruning].contains(
                where: entry.name.hasPrefix)
            {
                report.add(entry.name, "nothing of a repository has such a name")
            }
        }
    }

    private mutating func checkNote(_ name: String) {
        do {
            let bytes = try repository.store.read(name, limit: Format.sectionByteLimit)
            _ = try Note(decoding: bytes, name: name, identity: repository.identity)
        } catch {
            report.add(name, "\(error)")
        }
    }

    private mutating func check(_ timeline: Timeline) throws {
        report.volumeCount += 1
        report.snapshotCount += timeline.snapshots.count
        for problem in timeline.problems { report.add("volume \(timeline.volume)", problem) }
        for snapshot in timeline.damaged {
            report.add(
                "\(timeline.volume)@\(snapshot.generation)",
                "cannot be restored: \(snapshot.reason)")
        }
        do {
            _ = try scratch.synchronize(
                timeline, with: repository, options: [.verifyingImageDigests])
        } catch let error as RepositoryError {
            report.add("volume \(timeline.volume)", error.description)
        }
        // Forks, and deltas that the finest path leaves out, have maps that nobody read yet.
        let path = timeline.tip.flatMap { timeline.finestPath(to: $0.id) } ?? []
        let read = Set(path.map(\.name))
        for delta in timeline.deltas where !read.contains(delta.name) {
            do {
                try repository.forEachMap(of: delta.name) { map, _ in
                    try scratch.requireKnown(map.digests) { lost[$0] = "no pack holds it" }
                }
            } catch let error as RepositoryError where error.kind == .damaged {
                report.add(delta.name.objectName, error.description)
            }
        }
    }

    private mutating func collectMissing() throws {
        for digest in try scratch.digestsWithoutPlace(limit: Self.lostLimit) {
            lost[digest] = "no pack holds it"
        }
    }

    /// Adds the blocks that are patches of lost ones, in the order of their depth.
    private mutating func collectPatchesOnLost() throws {
        let proof = try PackProof(repository, scratch)
        var patches: [(depth: UInt8, digest: Digest, prefixes: [Digest])] = []
        for pack in scratch.knownPacks { patches += try proof.patches(of: pack) }
        // A block is lost when each of its places is a patch of something lost.
        var lostPlaceCounts: [Digest: Int] = [:]
        for patch in patches.sorted(by: { $0.depth < $1.depth }) where lost[patch.digest] == nil {
            let isLost = try patch.prefixes.contains { prefix in
                try lost[prefix] != nil || scratch.find(prefix) == nil
            }
            guard isLost else { continue }
            lostPlaceCounts[patch.digest, default: 0] += 1
            let known = try scratch.find(patch.digest)
            let placeCount = try known.map { try scratch.allPlaces(of: $0.number).count } ?? 0
            if lostPlaceCounts[patch.digest, default: 0] >= placeCount {
                lost[patch.digest] = "the block below its patch is lost"
            }
        }
    }

    /// Says which snapshots need blocks that are lost.
    private mutating func nameLostSnapshots(_ timelines: [Timeline]) throws {
        guard !lost.isEmpty else { return }
        for timeline in timelines {
            for delta in timeline.deltas {
                var count = 0
                var reason = ""
                try? repository.forEachMap(of: delta.name) { map, _ in
                    for digest in map.digests {
                        guard let why = lost[digest] else { continue }
                        count += 1
                        reason = why
                    }
                }
                if count > 0 {
                    report.add(
                        "\(timeline.volume)@\(delta.name.to)",
                        "\(count) blocks that it brought are lost (\(reason)); later snapshots "
                            + "lack them until they were overwritten")
                }
            }
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
        let found = Mutex<[PackProof.Damage]>([])
        let failure = SharedFailure()
        let repository = repository
        let scratch = scratch
        let idle = { progress(done.load(ordering: .relaxed), total) }
        try Workers.run(
            count: min(workerCount, max(1, packs.count)), failure: failure, idle: idle
        ) { _ in
            let proof = try PackProof(repository, scratch)
            while !failure.hasFailed {
                if Interruption.isRequested { throw CheckInterrupted() }
                let position = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard position < selected.count else { return }
                let damage = try proof.run(selected[position])
                found.withLock { $0.append(contentsOf: damage) }
                done.wrappingAdd(selected[position].byteCount, ordering: .relaxed)
            }
        }
        report.packsRead = packs.count
        report.bytesRead = done.load(ordering: .relaxed)
        for damage in found.withLock({ $0 }) {
            report.add(damage.object, damage.reason)
            if let digest = damage.lost, lost.count < Self.lostLimit {
                lost[digest] = "\(damage.object) is damaged"
            }
        }
    }
}
