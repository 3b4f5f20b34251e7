import Glibc

/// One program that backs up the image hour after hour.
struct Contestant {
    enum Kind: String { case varve, restic, borg }

    let kind: Kind
    let repository: String
    /// What the repository's own locks and holds are called; they do not count.
    let uncounted: Set<String>
    let commands: (_ hour: String) -> Command
    /// Writes the image of that hour, the newest one, to a file that is not there.
    let restore: (_ hour: String, _ target: String) -> Command
    /// Forget all but the two newest, and give the space back.
    let thinning: [Command]
    /// What all of that changes.
    let directories: [String]

    func storedByteCount() throws -> UInt64 {
        try Storage.byteCount(of: repository, excluding: uncounted)
    }
}

/// What an hour cost each program.
struct HourCost: Encodable {
    var messageType = "hour"
    let facts: HourFacts
    var storedBytes: [String: Int64] = [:]
    var measurements: [String: Measurement] = [:]

    func stored(_ kind: Contestant.Kind) -> Int64 { storedBytes[kind.rawValue] ?? 0 }
    func measured(_ kind: Contestant.Kind) -> Measurement {
        measurements[kind.rawValue] ?? Measurement()
    }
}

/// The same hours of a running system through varve, restic and Borg.
extension Workbench {
    func measureHours() throws {
        let image = try image()
        // The space is needed, and the image will not be at hour 0 for long.
        try discardBase()
        try discardCompressed()
        let repository = try newRepository("hours")
        let contestants = try contestants(image: image.path, repository)
        let nothing = HourFacts.none
        let base = try runHour(nothing, name: "base", contestants, image)
        let still = try runHour(nothing, name: "still-first", contestants, image)
        let changes = try HourlyChanges(image: image, seed: options.seed)
        let baseFrames = try StoredFrames(in: repository)
        var hours: [HourCost] = []
        for hour in 1...options.hours {
            let facts = try changes.apply(hour: hour)
            hours.append(try runHour(facts, name: "hour-\(hour)", contestants, image))
        }
        let last = try runHour(nothing, name: "still-last", contestants, image)

        describeHours(hours)
        reportBytes(hours)
        reportMetadata(hours, try StoredFrames(in: repository).subtracting(baseFrames))
        reportTimes(hours, base, unchanged: [still, last])
        reportBaseBytes(base)
        reportUnchanged([still, last])
        try reportTotals(contestants)
        try reportIndex(repository, image: image.path, hours)
        reportRestores(try measureRestores(contestants, hour: "still-last", image: image.path))
        try reportThinning(contestants)
        for contestant in contestants { try Storage.remove(contestant.repository) }
        try repository.remove()
    }

    /// Lets every program restore the newest hour to a new file, durably; a different one begins
    /// each time, and the first time every file is compared with the image.
    private func measureRestores(
        _ contestants: [Contestant],
        hour: String,
        image: String
    ) throws -> [HourCost] {
        let target = scratch + "/restored.img"
        return try (0..<options.pairCount).map { round in
            var cost = HourCost(facts: .none)
            for turn in contestants.indices {
                let contestant = contestants[(turn + round) % contestants.count]
                try Storage.remove(target)
                PageCache.settle()
                let command = contestant.restore(hour, target)
                cost.measurements[contestant.kind.rawValue] = try runner.run(
                    command, thenSync: [target])
                guard round == 0 else { continue }
                if contestant.kind == .varve {
                    try prove(target, equals: image, row: "hours")
                } else {
                    _ = try runner.run(Command("cmp", "-s", target, image))
                }
            }
            try Storage.remove(target)
            return cost
        }
    }

    private func contestants(
        image: String,
        _ varve: VarveRepository
    ) throws -> [Contestant] {
        let restic = scratch + "/restic"
        let borg = scratch + "/borg"
        _ = try runner.run(Command("restic", "init", "--repository-version", "2", "-r", restic))
        _ = try runner.run(Command("borg", "init", "-e", "none", borg))
        return [
            Contestant(
                // Space that is set aside is not what the hours take.
                kind: .varve, repository: varve.path, uncounted: ["locks", "reserve"],
                commands: { _ in varve.command("backup", "--quiet", "--volume", "disk", image) },
                restore: { varve.command("restore", "--quiet", "disk@latest", $1) },
                thinning: [varve.command("forget", "--quiet", "--keep-last", "2", "--prune")],
                directories: [varve.path, varve.cache]),
            Contestant(
                kind: .restic, repository: restic, uncounted: ["locks"],
                commands: { _ in
                    Command("restic", "-r", restic, "backup", "-q", "--compression", "auto", image)
                },
                restore: {
                    Command("restic", "-r", restic, "dump", "-q", "latest", image, output: $1)
                },
                thinning: [
                    Command("restic", "-r", restic, "forget", "-q", "--keep-last", "2", "--prune")
                ],
                directories: [restic, scratch + "/restic-cache"]),
            Contestant(
                kind: .borg, repository: borg, uncounted: ["lock.exclusive", "lock.roster"],
                commands: { hour in
                    Command(
                        "borg", "create", "--compression", "zstd,3", "--files-cache", "disabled",
                        "\(borg)::\(hour)", image)
                },
                restore: { Command("borg", "extract", "--stdout", "\(borg)::\($0)", output: $1) },
                thinning: [
                    Command("borg", "prune", "--keep-last", "2", borg),
                    Command("borg", "compact", borg),
                ],
                directories: [borg, scratch + "/borg-base"]),
        ]
    }

    /// Lets every program back up the image once, each with the image in the page cache; a
    /// different one begins each hour.
    private func runHour(
        _ facts: HourFacts,
        name: String,
        _ contestants: [Contestant],
        _ image: DiskImage
    ) throws -> HourCost {
        var cost = HourCost(facts: facts)
        // A disk in use always has a new time; programs that trust it must not stand aside.
        utimensat(AT_FDCWD, image.path, nil, 0)
        for turn in contestants.indices {
            let contestant = contestants[(turn + facts.hour) % contestants.count]
            let before = try contestant.storedByteCount()
            PageCache.settle()
            let residentBefore = try PageCache.warm(image.path)
            let command = contestant.commands(name)
            var measured =
                contestant.kind == .varve
                ? try varve(command, "backup, \(name)") : try runner.run(command)
            // Not asked afterwards: Borg drops what it has read.
            measured.residentShareBefore = residentBefore
            cost.measurements[contestant.kind.rawValue] = measured
            cost.storedBytes[contestant.kind.rawValue] =
                Int64(try contestant.storedByteCount()) - Int64(before)
        }
        report.detail(cost, name: name)
        return cost
    }
}
