import ArgumentParser
import BlockModel
import Repository
import RepositoryFormat
import SnapshotService

struct Snapshots: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the timeline: when, generation, changed, stored, how detected.")

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "Only this volume.")
    var volume: String?

    @Option(help: "Only snapshots with this tag.")
    var tag: String?

    func run() throws {
        let only = try volume.map { text in
            guard let name = VolumeName(text) else {
                throw ServiceError(.usage, "'\(text)' is no volume name")
            }
            return name
        }
        let service = try repository.open(output)
        let timelines = try service.timelines(only)
        if let only, timelines.isEmpty {
            throw ServiceError(.failed, "the repository has no volume '\(only)'")
        }
        var rows = [
            ["volume", "gen", "time", "id", "size", "changed", "stored", "method", "state"]
        ]
        var isDamaged = false
        for timeline in timelines {
            let standings = try service.repository.standings(of: timeline.volume)
            let order = service.order(of: timeline)
            for entry in Self.entries(of: timeline, standings, order) {
                if let tag, entry.tags?.contains(tag) != true { continue }
                if output.json { JSONLine.write(entry) } else { rows.append(entry.row) }
                isDamaged = isDamaged || entry.blocksLacking != nil
            }
            isDamaged = isDamaged || !timeline.isSound
            for problem in timeline.problems { Terminal.errorLine("varve: \(problem)") }
            for item in timeline.unproved {
                Terminal.errorLine(
                    "varve: \(item.delta.name.objectName) is not relied on: \(item.reason)")
            }
        }
        if !output.json {
            if rows.count > 1 {
                Human.table(rows, right: [1, 4, 5, 6]).forEach(Terminal.line)
            } else if !isDamaged {
                output.note(tag == nil ? "no snapshots yet" : "no snapshot has this tag")
            }
        }
        if isDamaged {
            throw ServiceError(
                .damaged,
                "the repository has damage; 'varve check --read-data' tells more, and 'varve repair' "
                    + "brings back what it can")
        }
    }

    private static func entries(
        of timeline: Timeline,
        _ standings: [SnapshotID: Repository.Standing],
        _ order: SnapshotOrder
    ) -> [SnapshotEntry] {
        let sound = timeline.snapshots.map {
            SnapshotEntry(
                timeline.volume, $0, standings[$0.id] ?? Repository.Standing(),
                outOfTime: order.outOfTime[$0.id])
        }
        let damaged = timeline.damaged.map { SnapshotEntry(timeline.volume, $0) }
        let far = timeline.possibleLosses.map {
            SnapshotEntry(timeline.volume, $0, isPossible: true)
        }
        return (sound + damaged + far).sorted { $0.generation < $1.generation }
    }
}

/// One snapshot as `snapshots` shows it.
struct SnapshotEntry: Encodable {
    var messageType = "snapshot"
    let volume: String
    let generation: UInt64
    let snapshotId: String?
    let time: String?
    let localTime: String?
    let parentGeneration: UInt64?
    let volumeBytes: UInt64?
    let bytesRead: UInt64?
    let blocksChanged: UInt64?
    let bytesChanged: UInt64?
    let bytesStored: UInt64?
    let durationSeconds: Double?
    let method: String?
    let proof: String?
    let consistency: String?
    let source: String?
    let imageDigest: String?
    let tags: [String]?
    let protected: Bool
    let protectionUnknown: Bool
    /// What the last boot-test found, and when.
    let boot: String?
    let bootMeans: String?
    let bootSeconds: Double?
    let bootTime: String?
    let damaged: Bool
    /// Whether nothing but a number tells of it that is far above all others.
    let possibleLoss: Bool
    let reason: String?
    /// Why its time does not fit its place in the chain.
    let outOfTime: String?
    /// What a repair did not find; a restore fails where it needs them.
    let blocksLacking: UInt64?

    init(
        _ volume: VolumeName,
        _ snapshot: Timeline.Snapshot,
        _ standing: Repository.Standing,
        outOfTime: String? = nil
    ) {
        self.init(
            volume, snapshot.generation, snapshot.id, snapshot.facts, standing,
            damage: standing.lackingBlockCount.map {
                "lacks \(Human.count(Int(clamping: $0), "block"))"
            }, outOfTime: outOfTime)
    }

    init(
        _ volume: VolumeName,
        _ snapshot: Timeline.DamagedSnapshot,
        isPossible: Bool = false
    ) {
        self.init(
            volume, snapshot.generation, snapshot.id, snapshot.facts, Repository.Standing(),
            damage: snapshot.reason, isPossible: isPossible)
    }

    private init(
        _ volume: VolumeName,
        _ generation: Generation,
        _ id: SnapshotID?,
        _ facts: SnapshotFacts?,
        _ standing: Repository.Standing,
        damage: String?,
        isPossible: Bool = false,
        outOfTime: String? = nil
    ) {
        self.volume = volume.rawValue
        self.generation = generation
        snapshotId = id?.hexadecimal
        time = facts?.time.rfc3339
        localTime = facts.map { Moment.local($0.time) }
        parentGeneration = facts.flatMap { $0.parentGeneration == 0 ? nil : $0.parentGeneration }
        volumeBytes = facts?.byteCount
        bytesRead = facts?.bytesRead
        blocksChanged = facts?.blocksChanged
        bytesChanged = facts?.bytesChanged
        bytesStored = facts?.bytesStored
        durationSeconds = facts.map { Double($0.durationNanoseconds) / 1e9 }
        method = facts?.method.name
        proof = facts?.proof.name
        consistency = facts?.consistency.name
        source = facts?.source.path
        imageDigest = facts?.imageDigest.hexadecimal
        tags = standing.tags ?? facts?.tags
        protected = standing.isProtected
        protectionUnknown = standing.mayBeProtected
        let boot = standing.boot
        self.boot = boot?.proof.result.rawValue
        bootMeans = boot?.proof.means.rawValue
        bootSeconds = boot.map { Double($0.proof.milliseconds) / 1000 }
        bootTime = boot?.time.rfc3339
        damaged = damage != nil && !isPossible
        possibleLoss = isPossible
        self.outOfTime = outOfTime
        reason = damage
        blocksLacking = standing.lackingBlockCount
    }

    private var bootState: String {
        guard boot == "proved" else { return boot == nil ? "" : "DOES-NOT-BOOT" }
        return bootMeans == "stable-screen" ? "boots(screen)" : "boots"
    }

    var row: [String] {
        let state =
            possibleLoss || damaged && blocksLacking == nil
            ? possibleLoss ? "POSSIBLY-LOST" : "DAMAGED"
            : ([
                blocksLacking == nil ? "" : "LACKS-BLOCKS",
                outOfTime == nil ? "" : "OUT-OF-TIME",
                consistency == "at-rest" ? "" : consistency ?? "",
                protected ? "protected" : protectionUnknown ? "protected?" : "", bootState,
            ] + (tags ?? []))
            .filter { !$0.isEmpty }.joined(separator: " ")
        return [
            volume, "\(generation)", localTime ?? "?", String(snapshotId?.prefix(12) ?? "?"),
            volumeBytes.map(Human.bytes) ?? "?", bytesChanged.map(Human.bytes) ?? "?",
            bytesStored.map(Human.bytes) ?? "?",
            (method ?? "?") + (proof == "sampled" ? ", sampled" : ""), state,
        ]
    }
}
