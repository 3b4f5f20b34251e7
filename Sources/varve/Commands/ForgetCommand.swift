import ArgumentParser
import BlockModel
import RepositoryModel
import Retention
import SnapshotService
import Workflows

struct ForgetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget",
        abstract: "Forget snapshots by a policy, or by name.",
        discussion: """
            With --keep-… options, each volume keeps what they select, and the rest is \
            forgotten. Each interval keeps its newest snapshot; empty intervals do not count. \
            NUMBER can be 'unlimited'; DURATION is a time such as 1y6m, 30d or 12h, ending at the \
            newest snapshot. Always kept: the newest, protected ones, ones from the future, and \
            the newest one proved to boot, if no other such snapshot is kept.

            Or forgets the named SNAPSHOTs, each \(SnapshotSelector.help).

            A forgotten snapshot can no longer be used. Its deltas are merged with others as soon \
            as that pays off.
            """)

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "Snapshots to forget, instead of a policy.")
    var snapshots: [String] = []

    @Option(help: "Only this volume; can be repeated.")
    var volume: [String] = []

    @Option(help: ArgumentHelp("Keep the last NUMBER snapshots.", valueName: "number"))
    var keepLast: KeepCount?
    @Option(help: ArgumentHelp("Keep one for each of the last NUMBER hours.", valueName: "number"))
    var keepHourly: KeepCount?
    @Option(help: ArgumentHelp("Keep one for each of the last NUMBER days.", valueName: "number"))
    var keepDaily: KeepCount?
    @Option(help: ArgumentHelp("Keep one for each of the last NUMBER weeks.", valueName: "number"))
    var keepWeekly: KeepCount?
    @Option(help: ArgumentHelp("Keep one for each of the last NUMBER months.", valueName: "number"))
    var keepMonthly: KeepCount?
    @Option(help: ArgumentHelp("Keep one for each of the last NUMBER years.", valueName: "number"))
    var keepYearly: KeepCount?
    @Option(help: ArgumentHelp("Keep all snapshots within DURATION.", valueName: "duration"))
    var keepWithin: CalendarSpan?
    @Option(help: ArgumentHelp("Keep one for each hour within DURATION.", valueName: "duration"))
    var keepWithinHourly: CalendarSpan?
    @Option(help: ArgumentHelp("Keep one for each day within DURATION.", valueName: "duration"))
    var keepWithinDaily: CalendarSpan?
    @Option(help: ArgumentHelp("Keep one for each week within DURATION.", valueName: "duration"))
    var keepWithinWeekly: CalendarSpan?
    @Option(help: ArgumentHelp("Keep one for each month within DURATION.", valueName: "duration"))
    var keepWithinMonthly: CalendarSpan?
    @Option(help: ArgumentHelp("Keep one for each year within DURATION.", valueName: "duration"))
    var keepWithinYearly: CalendarSpan?
    @Option(
        help: ArgumentHelp(
            "Keep snapshots with all these tags; can be repeated.",
            valueName: "tag,tag"))
    var keepTag: [String] = []

    @Option(
        help: "Time zone for days, such as Europe/Berlin or UTC (default: that of this system).")
    var timeZone: String?

    @Flag(name: [.customShort("n"), .long], help: "Show what would be done, but do nothing.")
    var dryRun = false

    @Flag(help: "Merge and delete the deltas of all forgotten snapshots, even if it is expensive.")
    var now = false

    @Flag(help: "Reclaim the freed space, like 'varve prune'.")
    var prune = false

    @OptionGroup(title: "With --prune") var pruning: PruningOptions

    private struct Line: Encodable {
        var messageType = "retention"
        let volume: String
        let generation: UInt64
        let snapshotId: String
        let time: String
        let keep: Bool
        let reasons: [String]
    }

    private struct Summary: Encodable {
        var messageType = "summary"
        let volume: String
        let kept: Int
        let forgotten: Int
        let removed: Int
        let waiting: Int
        let deltasMerged: Int
        let deltasDeleted: Int
        let dryRun: Bool
        let timeZone: String
    }

    private var policy: RetentionPolicy {
        var policy = RetentionPolicy()
        policy.last = keepLast?.value ?? 0
        for (interval, count) in [
            (.hour, keepHourly), (.day, keepDaily), (.week, keepWeekly), (.month, keepMonthly),
            (.year, keepYearly),
        ] as [(RetentionPolicy.Interval, KeepCount?)] {
            if let count { policy.counts[interval] = count.value }
        }
        policy.within = keepWithin
        for (interval, span) in [
            (.hour, keepWithinHourly), (.day, keepWithinDaily), (.week, keepWithinWeekly),
            (.month, keepWithinMonthly), (.year, keepWithinYearly),
        ] as [(RetentionPolicy.Interval, CalendarSpan?)] {
            if let span { policy.withinIntervals[interval] = span }
        }
        policy.tags = keepTag.map { Set($0.split(separator: ",").map(String.init)) }
        return policy
    }

    func validate() throws {
        guard snapshots.isEmpty != policy.isEmpty || now && policy.isEmpty else {
            throw ValidationError(
                snapshots.isEmpty
                    ? "say what to keep with one or more --keep-… options, or name "
                        + "snapshots"
                    : "use either snapshot names or a policy, not both")
        }
        guard !keepTag.contains(where: { $0.split(separator: ",").isEmpty }) else {
            throw ValidationError("--keep-tag needs a tag")
        }
    }

    func run() throws {
        if let timeZone { try Moment.useZone(timeZone) }
        let service = try repository.open(output)
        if !snapshots.isEmpty {
            try forgetNamed(service)
        } else {
            try forgetByPolicy(service)
        }
        if prune, dryRun {
            output.say("what these free is known only after they are forgotten; at present:")
        }
        if prune { try pruning.run(service, output, isDryRun: dryRun) }
    }

    private func workflow(_ service: OpenRepository) -> ForgetWorkflow {
        var options = ForgetWorkflow.Options()
        options.isDryRun = dryRun
        options.isThorough = now
        return ForgetWorkflow(service, options)
    }

    private func forgetByPolicy(_ service: OpenRepository) throws {
        // With --now alone, what was forgotten before is done away with.
        let problems = try workflow(service).run(
            volumes: volume, policy: policy.isEmpty ? nil : policy, show: show, done: finish)
        for problem in problems { Terminal.errorLine("varve: \(problem)") }
        guard problems.isEmpty else {
            throw ServiceError(.damaged, "not all volumes could be processed")
        }
    }

    private func show(_ volume: VolumeName, _ verdict: RetentionVerdict) {
        let snapshot = verdict.snapshot
        guard !output.json else {
            return JSONLine.write(
                Line(
                    volume: volume.rawValue, generation: snapshot.generation,
                    snapshotId: snapshot.id.hexadecimal, time: snapshot.facts.time.rfc3339,
                    keep: verdict.isKept, reasons: verdict.reasons))
        }
        let name = Human.padded("\(volume)@\(snapshot.generation)", 14)
        output.say(
            "\(verdict.isKept ? "keep  " : "forget")  \(name)  "
                + "\(Moment.local(snapshot.facts.time))  "
                + verdict.reasons.joined(separator: ", "))
    }

    private func forgetNamed(_ service: OpenRepository) throws {
        try workflow(service).run(
            snapshots.map { try SnapshotSelector($0) },
            show: { volume, snapshot in
                output.say(
                    "forget  \(volume)@\(snapshot.generation)  "
                        + Moment.local(snapshot.facts.time))
            }, done: finish)
    }

    private func finish(_ done: ForgetWorkflow.Summary) {
        let zone = timeZone ?? "local time"
        let removal = done.removal
        if output.json {
            JSONLine.write(
                Summary(
                    volume: done.volume.rawValue, kept: done.keptCount,
                    forgotten: done.forgottenCount, removed: removal.removedCount,
                    waiting: removal.waitingCount, deltasMerged: removal.mergedCount,
                    deltasDeleted: removal.deletedCount, dryRun: dryRun, timeZone: zone))
        }
        guard !dryRun else {
            return output.say(
                "\(done.volume): would keep \(done.keptCount) and forget \(done.forgottenCount) "
                    + "(\(zone))")
        }
        output.say(
            "\(done.volume): kept \(done.keptCount), forgot \(done.forgottenCount) (\(zone)); removed "
                + "\(removal.removedCount) deltas, deferred \(removal.waitingCount)"
        )
    }
}

/// A count of `--keep-…`.
struct KeepCount: ExpressibleByArgument {
    let value: Int

    init?(argument: String) {
        guard argument != "unlimited" else {
            value = RetentionPolicy.unlimited
            return
        }
        guard let number = Int(argument), number >= 0 else { return nil }
        value = number
    }
}

extension CalendarSpan: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}

struct ProtectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "protect",
        abstract: "Protect snapshots from 'varve forget'.",
        discussion: "A SNAPSHOT is \(SnapshotSelector.help).")

    @OptionGroup var options: ProtectionOptions

    func run() throws { try options.run(isProtected: true) }
}

struct UnprotectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unprotect",
        abstract: "Remove protection from snapshots.",
        discussion: "A SNAPSHOT is \(SnapshotSelector.help).")

    @OptionGroup var options: ProtectionOptions

    func run() throws { try options.run(isProtected: false) }
}

struct ProtectionOptions: ParsableArguments {
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The snapshots.")
    var snapshots: [String]

    private struct Message: Encodable {
        var messageType = "protection"
        let snapshot: String
        let protected: Bool
    }

    func run(isProtected: Bool) throws {
        let service = try repository.open(output)
        for text in snapshots {
            let title = try service.protect(SnapshotSelector(text), isProtected)
            if output.json { JSONLine.write(Message(snapshot: title, protected: isProtected)) }
            output.say("\(title) is \(isProtected ? "" : "not ")protected")
        }
    }
}

struct TagCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tag",
        abstract: "Change the tags of snapshots.",
        discussion: "A SNAPSHOT is \(SnapshotSelector.help).")

    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The snapshots.")
    var snapshots: [String]

    @Option(help: ArgumentHelp("Tags to add; can be repeated.", valueName: "tag,tag"))
    var add: [String] = []

    @Option(help: ArgumentHelp("Tags to remove.", valueName: "tag,tag"))
    var remove: [String] = []

    @Option(help: ArgumentHelp("Tags that replace all existing tags.", valueName: "tag,tag"))
    var set: [String] = []

    private struct Message: Encodable {
        var messageType = "tags"
        let snapshot: String
        let tags: [String]
    }

    private static func split(_ lists: [String]) -> [String] {
        lists.flatMap { $0.split(separator: ",").map(String.init) }
    }

    func validate() throws {
        guard !(add + remove + set).isEmpty else {
            throw ValidationError("use --add, --remove or --set")
        }
        guard set.isEmpty || (add + remove).isEmpty else {
            throw ValidationError("--set cannot be combined with --add or --remove")
        }
        guard Self.split(add + set).allSatisfy({ (1...256).contains($0.utf8.count) }) else {
            throw ValidationError("a tag must have 1 to 256 bytes")
        }
        guard Self.split(add + set).allSatisfy({ Terminal.printable($0) == $0 }) else {
            throw ValidationError("a tag cannot have control characters")
        }
    }

    func run() throws {
        let service = try repository.open(output)
        // One that is not there keeps the others from being changed.
        let selectors = try snapshots.map { try SnapshotSelector($0) }
        for selector in selectors { _ = try service.find(selector) }
        for selector in selectors {
            let (title, tags) = try service.changeTags(of: selector) { old in
                let gone = Self.split(remove)
                var tags = set.isEmpty ? old.filter { !gone.contains($0) } : []
                for tag in Self.split(set + add) where !tags.contains(tag) { tags.append(tag) }
                guard tags.count <= 64 else {
                    throw ServiceError(.usage, "a snapshot cannot have more than 64 tags")
                }
                return tags
            }
            if output.json { JSONLine.write(Message(snapshot: title, tags: tags)) }
            output.say("\(title): \(tags.isEmpty ? "no tags" : tags.joined(separator: ", "))")
        }
    }
}
