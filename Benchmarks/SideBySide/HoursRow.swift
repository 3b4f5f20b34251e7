import Glibc

/// One program that backs up the image hour after hour.
struct Contestant {
    enum Kind: String { case varve, restic, borg }

    let kind: Kind
    let repository: String
    /// What the repository's own locks and holds are called; they do not count.
    let uncounted: Set<String>
    let commands: (_ hour: String) -> Command

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
        let nothing = HourFacts(
            hour: 0, changedPages: 0, changedBlocks: 0, limitBytes: 0, compressedBytes: 0)

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
        reportTimes(hours, base)
        reportUnchanged([still, last])
        try reportTotals(contestants)
        try reportIndex(repository, image: image.path, hours)
        let target = scratch + "/restored.img"
        try Storage.remove(target)
        _ = try varve(
            repository.command("restore", "--quiet", "disk@latest", target),
            "restore of the last hour")
        try prove(target, equals: image.path, row: "hours")
        try Storage.remove(target)
        for contestant in contestants { try Storage.remove(contestant.repository) }
        try repository.remove()
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
            Contestant(kind: .varve, repository: varve.path, uncounted: ["locks"]) { _ in
                varve.command("backup", "--quiet", "--volume", "disk", image)
            },
            Contestant(kind: .restic, repository: restic, uncounted: ["locks"]) { _ in
                Command("restic", "-r", restic, "backup", "-q", "--compression", "auto", image)
            },
            Contestant(
                kind: .borg, repository: borg, uncounted: ["lock.exclusive", "lock.roster"]
            ) { hour in
                Command(
                    "borg", "create", "--compression", "zstd,3", "--files-cache", "disabled",
                    "\(borg)::\(hour)", image)
            },
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
