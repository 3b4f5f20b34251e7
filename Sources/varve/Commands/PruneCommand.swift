import ArgumentParser
import BlockModel
import Configuration
import RepositoryModel
import Retention
import SnapshotService
import Workflows

struct PruneCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune",
        abstract: "Reclaim the space that no snapshot needs.",
        discussion: """
            Deletes packs that are not needed. Repacks the rest of partly needed packs \
            if more than --max-unused would stay unused. Prints the plan and its bytes \
            first; -n prints only the plan. No other command can use the repository \
            meanwhile. The next prune resumes an interrupted one.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var pruning: PruningOptions

    @Flag(name: [.customShort("n"), .long], help: "Show what would be done, but do nothing.")
    var dryRun = false

    func run() throws {
        try pruning.run(try repository.open(output), output, isDryRun: dryRun)
    }
}

/// How space is given back.
struct PruningOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Space that may stay unused: a share of the remaining bytes, a size, or "
                + "'unlimited' to repack nothing.", valueName: "5%|size|unlimited"))
    var maxUnused = UnusedLimit(value: .percent(5))

    @Option(
        help: ArgumentHelp("Repack at most this much, such as 10G.", valueName: "size"))
    var maxRepackSize: ByteCount?

    @Flag(help: "Combine small packs, if there are more than 64.")
    var repackSmall = false

    @Option(
        help: ArgumentHelp(
            "Keep the packs of an interrupted backup this long, such as 12h or 7d.",
            valueName: "duration"))
    var minAge = ShortDuration(seconds: 7 * 86_400)

    @Flag(
        help: "Recount what is needed from all deltas, and report whether the count was right.")
    var recount = false

    private var options: PruneOptions {
        var options = PruneOptions()
        options.maxUnused = maxUnused.value
        options.maxRepackByteCount = maxRepackSize?.value
        options.minimumAgeSeconds = minAge.seconds
        options.repacksSmallPacks = repackSmall
        options.isRecount = recount
        return options
    }

    private struct Plan: Encodable {
        var messageType = "plan"
        let totalBytes: UInt64
        let unusedBytes: UInt64
        let packsToDelete: Int
        let bytesToDelete: UInt64
        let packsToRepack: Int
        let bytesToRepack: UInt64
        let bytesFreedByRepack: UInt64
        let unusedBytesLeft: UInt64
        let packsUnfinished: Int
        let packsUnreadable: Int
        let bytesUnreadable: UInt64
        let recounted: Bool
        let recountReason: String?
        let packsCountedWrong: Int?
    }

    private struct Summary: Encodable {
        var messageType = "summary"
        let packsDeleted: Int
        let packsRepacked: Int
        let bytesDeleted: UInt64
        let bytesWritten: UInt64
        let bytesFreed: Int64
        let packsDamaged: [String]
        let outOfSpace: Bool
        let dryRun: Bool
    }

    func run(_ service: OpenRepository, _ output: OutputOptions, isDryRun: Bool) throws {
        let line = ProgressLine("pruned", output)
        let summary = try service.prune(
            options, isDryRun: isDryRun,
            planned: { show($0, $1, output) },
            progress: { line.update(done: $0, total: $1) })
        line.clear()
        let done = summary ?? PruneSummary()
        if output.json {
            JSONLine.write(
                Summary(
                    packsDeleted: done.deletedPackCount, packsRepacked: done.repackedPackCount,
                    bytesDeleted: done.deletedByteCount, bytesWritten: done.writtenByteCount,
                    bytesFreed: done.freedByteCount,
                    packsDamaged: done.damagedPacks.map(\.hexadecimal),
                    outOfSpace: done.isOutOfSpace, dryRun: isDryRun))
        }
        guard !isDryRun else { return output.say("nothing was changed") }
        let freed = done.freedByteCount
        output.say(
            freed < 0
                ? "\(Human.bytes(freed.magnitude)) more are in use; the next prune reclaims them"
                : "\(Human.bytes(freed.magnitude)) freed: "
                    + "\(Human.count(done.deletedPackCount, "pack")) deleted, "
                    + "\(done.repackedPackCount) repacked "
                    + "(\(Human.bytes(done.writtenByteCount)))")
        guard done.damagedPacks.isEmpty else {
            throw ServiceError(
                .damaged,
                "\(Human.count(done.damagedPacks.count, "pack")) hold blocks that cannot be read, and "
                    + "stay as they are; run 'varve check --read-data'")
        }
        guard !done.isOutOfSpace else {
            throw ServiceError(
                .partial,
                "there was no space to repack the rest; free some and prune again, or use "
                    + "--max-unused unlimited")
        }
    }

    private func show(_ plan: PruneForecast, _ counts: LiveCountReport, _ output: OutputOptions) {
        guard !output.json else {
            return JSONLine.write(
                Plan(
                    totalBytes: plan.byteCount, unusedBytes: plan.unusedByteCount,
                    packsToDelete: plan.deadPackCount, bytesToDelete: plan.deadByteCount,
                    packsToRepack: plan.repackedPackCount, bytesToRepack: plan.repackedByteCount,
                    bytesFreedByRepack: plan.repackFreedByteCount,
                    unusedBytesLeft: plan.remainingUnusedByteCount,
                    packsUnfinished: plan.unfinishedPackCount,
                    packsUnreadable: plan.unreadablePackCount,
                    bytesUnreadable: plan.unreadableByteCount,
                    recounted: counts.reason != nil, recountReason: counts.reason,
                    packsCountedWrong: counts.differenceCount))
        }
        if let count = counts.differenceCount {
            output.say(
                count == 0
                    ? "recounted: the count of needed blocks was right"
                    : "recounted: the count of needed blocks was wrong for "
                        + Human.count(count, "pack"))
        } else if let reason = counts.reason, output.verbose {
            output.say("recounted what is needed: \(reason)")
        }
        output.say(
            "\(Human.bytes(plan.unusedByteCount)) of "
                + "\(Human.bytes(plan.byteCount)) can be reclaimed")
        output.say(
            "delete        \(Human.count(plan.deadPackCount, "pack")), \(plan.deadByteCount) bytes")
        output.say(
            "repack        \(Human.count(plan.repackedPackCount, "pack")), \(plan.repackedByteCount) "
                + "bytes, frees \(plan.repackFreedByteCount) bytes")
        if plan.unreadablePackCount > 0 {
            output.say(
                "delete        \(Human.count(plan.unreadablePackCount, "pack")), "
                    + "\(plan.unreadableByteCount) bytes: damaged and not needed")
        }
        let allowance = plan.remainingUnusedByteCount > 0 ? ", allowed by --max-unused" : ""
        output.say("still unused  \(plan.remainingUnusedByteCount) bytes\(allowance)")
        if plan.unfinishedPackCount > 0 {
            output.say(
                "skip          \(Human.count(plan.unfinishedPackCount, "pack")), "
                    + "\(plan.unfinishedByteCount) bytes: from an unfinished backup (--min-age)")
        }
    }
}

/// How much that nothing needs may be left.
struct UnusedLimit: ExpressibleByArgument {
    let value: PruneOptions.UnusedLimit

    init(value: PruneOptions.UnusedLimit) { self.value = value }

    init?(argument: String) {
        switch UnusedShare(argument) {
        case .percent(let percent): value = .percent(percent)
        case .bytes(let count): value = .bytes(count)
        case .unlimited: value = .unlimited
        case nil: return nil
        }
    }

    var defaultValueDescription: String { "5%" }
}

/// A time such as 90s, 15m, 12h, 7d or 2w.
struct ShortDuration: ExpressibleByArgument {
    let seconds: Int64

    init(seconds: Int64) { self.seconds = seconds }

    init?(argument: String) {
        guard let seconds = Quantity.seconds(argument) else { return nil }
        self.seconds = seconds
    }

    var defaultValueDescription: String {
        seconds % 86_400 == 0 ? "\(seconds / 86_400)d" : "\(seconds)s"
    }
}
