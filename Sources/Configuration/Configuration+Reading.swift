internal import BlockModel
internal import Retention
internal import TOML

extension Configuration {
    /// Reads and validates a configuration.
    ///
    /// - Parameters:
    ///   - text: the file.
    ///   - knowsTimeZone: whether the system has a time zone of that name.
    ///   - knowsCalendar: whether systemd understands a time of its calendar.
    /// - Throws: ``ConfigurationError`` with all that is wrong.
    package init(
        parsing text: String,
        knowsTimeZone: (String) -> Bool = { _ in true },
        knowsCalendar: (String) -> Bool = { _ in true }
    ) throws(ConfigurationError) {
        let root: TOMLNode
        do throws(TOMLError) {
            root = try TOMLNode(parsing: text)
        } catch {
            throw ConfigurationError(
                problems: [ConfigurationProblem(line: error.line, reason: error.reason)])
        }
        let problems = ProblemList()
        let table = TableReader("", root, problems)
        for (name, entry) in table.tables("repositories") {
            entry.require("path")
            if let path = entry.path("path") {
                repositories.append(Repository(name: name, path: path))
            }
            entry.end()
        }
        for (name, entry) in table.tables("jobs") {
            let job = Self.job(name, entry, repositories, knowsTimeZone, knowsCalendar)
            if let job {
                refuseOtherSources(of: job, entry)
                jobs.append(job)
            }
        }
        if let metrics = table.table("metrics") {
            metrics.require("textfile")
            metricsPath = metrics.path("textfile")
            metrics.end()
        }
        table.end()
        guard problems.problems.isEmpty else {
            throw ConfigurationError(problems: problems.problems.sorted { $0.line < $1.line })
        }
    }

    /// A volume of a repository is one disk, whichever job backs it up.
    private func refuseOtherSources(of job: Job, _ table: TableReader) {
        for volume in job.volumes {
            let other = jobs.first { other in
                other.repository.path == job.repository.path
                    && other.volumes.contains {
                        $0.name == volume.name && $0.source != volume.source
                    }
            }
            guard let other else { continue }
            table.refuse(
                "volumes",
                "name \(volume.source) '\(volume.name)', but that is another disk in job "
                    + "'\(other.name)'")
        }
    }

    private static func job(
        _ name: String,
        _ table: TableReader,
        _ repositories: [Repository],
        _ knowsTimeZone: (String) -> Bool,
        _ knowsCalendar: (String) -> Bool
    ) -> Job? {
        // It becomes part of the names of units and files.
        if VolumeName(name) == nil {
            table.refuse("", "is not a valid job name: use 1 to 64 of A-Z a-z 0-9 . _ -")
        }
        if Job.reservedNames.contains(name) {
            table.refuse("", "is the name of another unit of Varve")
        }
        table.require("repository")
        let repositoryName = table.string("repository")
        let repository = repositories.first { $0.name == repositoryName }
        if repositoryName != nil, repository == nil {
            table.refuse("repository", "'\(repositoryName ?? "")' is not in [repositories]")
        }
        var job = Job(name: name, repository: repository ?? Repository(name: "", path: ""))
        table.require("volumes")
        for (name, entry) in table.tables("volumes") {
            guard let volume = volume(name, entry) else { continue }
            if job.volumes.contains(where: { $0.source == volume.source }) {
                entry.refuse("source", "is already the source of another volume of this job")
            }
            job.volumes.append(volume)
        }
        if job.volumes.isEmpty, table.isThere("volumes") { table.refuse("volumes", "are empty") }
        job.tags = table.strings("tags")
        if job.tags.count > 64 || !job.tags.allSatisfy({ (1...256).contains($0.utf8.count) }) {
            table.refuse("tags", "must be at most 64 texts of 1 to 256 bytes")
        }
        job.schedule = table.table("schedule").map { schedule($0, knowsCalendar) }
        job.retention = table.table("keep").map { retention($0, knowsTimeZone) }
        job.prune = table.table("prune").map(prune)
        job.check = table.table("check").map(check)
        job.bootTest = table.table("boot-test").flatMap { bootTest($0, job.volumes) }
        if let entry = table.table("hooks") { job.hooks = hooks(entry) }
        if let entry = table.table("limits") { job.limits = limits(entry) }
        if let entry = table.table("alarm") {
            job.alarm = alarm(entry, isScheduled: job.schedule != nil)
        } else if job.schedule != nil {
            job.alarm.maximumAgeSeconds = Job.Alarm.standardAgeSeconds
        }
        table.end()
        return repository == nil ? nil : job
    }

    private static func volume(_ name: String, _ table: TableReader) -> Job.Volume? {
        table.require("source")
        let source = table.path("source")
        let isTracked = table.boolean("track") ?? false
        let allowsUse = table.boolean("live-inconsistent") ?? false
        let store = table.path("store")
        let storeByteCount = table.byteCount("store-size")
        if !isTracked, store != nil { table.refuse("store", "needs track = true") }
        if isTracked, allowsUse {
            table.refuse(
                "live-inconsistent",
                "cannot be used with track, which makes consistent "
                    + "backups")
        }
        table.end()
        guard let volume = VolumeName(name) else {
            table.refuse(
                "source",
                "belongs to the invalid volume name '\(name)': use 1 to 64 of A-Z a-z 0-9 . _ -")
            return nil
        }
        return source.map {
            Job.Volume(
                name: volume, source: $0, isTracked: isTracked, store: store,
                storeByteCount: storeByteCount, allowsUse: allowsUse)
        }
    }

    private static func schedule(
        _ table: TableReader,
        _ knowsCalendar: (String) -> Bool
    ) -> Job.Schedule {
        var schedule = Job.Schedule()
        table.require("on-calendar")
        schedule.calendar = table.strings("on-calendar")
        if schedule.calendar.isEmpty, table.isThere("on-calendar") {
            table.refuse("on-calendar", "is empty")
        }
        for text in schedule.calendar
        where text.isEmpty || text.contains(where: { $0.isNewline || "%\\\"".contains($0) })
            || !knowsCalendar(text)
        {
            table.refuse("on-calendar", "'\(text)' is not a calendar event, see systemd.time(7)")
        }
        schedule.randomizedDelaySeconds = table.duration("randomized-delay") ?? 0
        table.end()
        return schedule
    }

    private static func retention(
        _ table: TableReader,
        _ knowsTimeZone: (String) -> Bool
    ) -> Job.Retention {
        var retention = Job.Retention()
        let span = { (key: String) in
            table.parsed(key, "a duration such as 1y6m, 30d or 12h") { CalendarSpan($0) }
        }
        retention.policy.last = table.integer("last", in: 0...1_000_000) ?? 0
        retention.policy.within = span("within")
        for (key, interval) in [
            ("hourly", .hour), ("daily", .day), ("weekly", .week), ("monthly", .month),
            ("yearly", .year),
        ] as [(String, RetentionPolicy.Interval)] {
            if let count = table.integer(key, in: 0...1_000_000) {
                retention.policy.counts[interval] = count
            }
            if let span = span("within-" + key) {
                retention.policy.withinIntervals[interval] = span
            }
        }
        retention.policy.tags = table.strings("tags").map {
            Set($0.split(separator: ",").map(String.init))
        }
        if let zone = table.string("time-zone") {
            if !knowsTimeZone(zone) {
                table.refuse("time-zone", "'\(zone)' is unknown on this system")
            }
            retention.timeZone = zone
        }
        if retention.policy.isEmpty { table.refuse("", "keeps nothing; set what to keep") }
        table.end()
        return retention
    }

    private static func prune(_ table: TableReader) -> Job.Prune {
        var prune = Job.Prune()
        prune.everySeconds = table.duration("every") ?? prune.everySeconds
        let form = "a share such as 5%, a size such as 10G, or 'unlimited'"
        prune.maxUnused =
            table.parsed("max-unused", form) { UnusedShare($0) == nil ? nil : $0 }
            ?? prune.maxUnused
        prune.maxRepackByteCount = table.byteCount("max-repack-size")
        prune.repacksSmallPacks = table.boolean("repack-small") ?? true
        table.end()
        return prune
    }

    private static func check(_ table: TableReader) -> Job.Check {
        var check = Job.Check()
        check.everySeconds = table.duration("every") ?? check.everySeconds
        check.percent =
            table.parsed("read-data", "a share such as 5%") { text in
                guard text.hasSuffix("%"), let percent = Double(text.dropLast()),
                    (0...100).contains(percent)
                else { return nil }
                return percent
            } ?? check.percent
        table.end()
        return check
    }

    private static func bootTest(_ table: TableReader, _ volumes: [Job.Volume]) -> Job.BootTest? {
        table.require("volume")
        let name = table.parsed("volume", "a volume of the job") { text in
            volumes.first { $0.name.rawValue == text }?.name
        }
        var test = name.map { Job.BootTest(volume: $0) }
        test?.everySeconds = table.duration("every") ?? 30 * 86_400
        test?.expect = table.string("expect")
        test?.acceptsStableScreen = table.boolean("accept-screen") ?? false
        test?.memoryByteCount = table.byteCount("memory", atLeast: 64 << 20)
        test?.timeoutSeconds = table.duration("timeout", atLeast: 1) ?? 300
        table.end()
        return test
    }

    private static func hooks(_ table: TableReader) -> Job.Hooks {
        var hooks = Job.Hooks()
        hooks.before = table.commands("before")
        hooks.after = table.commands("after")
        hooks.onFailure = table.commands("on-failure")
        hooks.timeLimitSeconds = table.duration("time-limit", atLeast: 1) ?? hooks.timeLimitSeconds
        table.end()
        return hooks
    }

    private static func limits(_ table: TableReader) -> Job.Limits {
        var limits = Job.Limits()
        limits.nice = table.integer("nice", in: 0...19) ?? 0
        limits.isIdle =
            table.parsed("io", "'normal' or 'idle'") {
                ["normal": false, "idle": true][$0]
            } ?? false
        limits.threads = table.integer("threads", in: 1...256)
        limits.bandwidth = table.byteCount("bandwidth")
        limits.cpuPercent = table.parsed("cpu", "a share of one processor such as 50% or 150%") {
            guard $0.hasSuffix("%"), let percent = Int($0.dropLast()),
                (1...100_000).contains(percent)
            else { return nil }
            return percent
        }
        table.end()
        return limits
    }

    private static func alarm(_ table: TableReader, isScheduled: Bool) -> Job.Alarm {
        var alarm = Job.Alarm()
        alarm.command = table.commands("command").first ?? []
        alarm.webhook = table.parsed("webhook", "an address that begins with https:// or http://") {
            text in
            ["https://", "http://"].contains(where: text.hasPrefix)
                && !text.utf8.contains(where: { $0 <= 0x20 }) ? text : nil
        }
        let standard = isScheduled ? Job.Alarm.standardAgeSeconds : nil
        let age = table.parsed("max-age", "a duration such as 3h or 2d, or 'unlimited'", Age.init)
        alarm.maximumAgeSeconds = age.map(\.seconds) ?? standard
        table.end()
        return alarm
    }
}

/// How old something may be: so many seconds, or as old as it likes.
private struct Age {
    let seconds: Int64?

    init?(_ text: String) {
        if text == "unlimited" {
            seconds = nil
        } else {
            guard let count = Quantity.seconds(text), count > 0 else { return nil }
            seconds = count
        }
    }
}

/// How much that nothing needs may be left: a share, a size, or `unlimited`.
package enum UnusedShare: Hashable, Sendable {
    case percent(Double)
    case bytes(UInt64)
    case unlimited

    package init?(_ text: String) {
        if text == "unlimited" {
            self = .unlimited
        } else if text == "0" {
            self = .bytes(0)
        } else if text.hasSuffix("%") {
            guard let percent = Double(text.dropLast()), (0...100).contains(percent) else {
                return nil
            }
            self = .percent(percent)
        } else {
            guard let count = Quantity.byteCount(text) else { return nil }
            self = .bytes(count)
        }
    }
}
