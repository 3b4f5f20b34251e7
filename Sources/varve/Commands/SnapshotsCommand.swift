import ArgumentParser
import BlockModel
import RepositoryModel
import SnapshotService

struct SnapshotsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshots",
        abstract: "List snapshots with time, generation, changed and stored bytes, and method.")

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "Only this volume.")
    var volume: String?

    @Option(help: "Only snapshots with this tag.")
    var tag: String?

    func run() throws {
        let only = try volume.map { text in
            guard let name = VolumeName(text) else {
                throw ServiceError(.usage, "'\(text)' is not a volume name")
            }
            return name
        }
        let service = try repository.open(output)
        let listings = try service.listings(of: only)
        if let only, listings.isEmpty {
            throw ServiceError(.failed, "the repository has no volume '\(only)'")
        }
        var rows = [
            ["volume", "gen", "time", "id", "size", "changed", "stored", "method", "state"]
        ]
        var isDamaged = false
        for listing in listings {
            for snapshot in listing.snapshots {
                let entry = SnapshotEntry(listing.volume, snapshot)
                if let tag, entry.tags?.contains(tag) != true { continue }
                if output.json { JSONLine.write(entry) } else { rows.append(entry.row) }
                isDamaged = isDamaged || entry.blocksLacking != nil
            }
            isDamaged = isDamaged || !listing.isSound
            for notice in listing.notices { Terminal.errorLine("varve: \(notice)") }
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
                "the repository has damage; 'varve check --read-data' shows more, and 'varve "
                    + "repair' recovers what it can")
        }
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

    init(_ volume: VolumeName, _ snapshot: ListedSnapshot) {
        let (facts, standing) = (snapshot.facts, snapshot.standing)
        self.volume = volume.rawValue
        generation = snapshot.generation
        snapshotId = snapshot.id?.hexadecimal
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
        damaged = snapshot.damage != nil && !snapshot.isPossibleLoss
        possibleLoss = snapshot.isPossibleLoss
        outOfTime = snapshot.outOfTime
        reason = snapshot.damage
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
