/// What the hours cost, row by row.
extension Workbench {
    static let limitTarget = 1.25
    static let rivalTarget = 0.1
    static let metadataLimit: UInt64 = 200

    func describeHours(_ hours: [HourCost]) {
        let pages = hours.map(\.facts.changedPages).reduce(0, +)
        let blocks = hours.map(\.facts.changedBlocks).reduce(0, +)
        let limit = hours.map(\.facts.limitBytes).reduce(0, +)
        let alone = hours.map(\.facts.compressedBytes).reduce(0, +)
        let count = UInt64(hours.count)
        describe(
            "hours: \(hours.count); a mean of \(pages / hours.count) changed pages of 4 KiB in "
                + "\(blocks / hours.count) blocks of 64 KiB each; limit "
                + "\(Format.bytes(limit / count)) (the same blocks compressed alone: "
                + "\(Format.bytes(alone / count)))")
    }

    /// Hours 1, 6 and 24, and all together, against the limit and the better of the others.
    func reportBytes(_ hours: [HourCost]) {
        for number in [1, 6, 24] where number <= hours.count {
            add(bytesOf: [hours[number - 1]], name: "bytes stored by hour \(number)")
        }
        add(bytesOf: hours, name: "bytes stored by hours 1 to \(hours.count)")
    }

    private func add(bytesOf hours: [HourCost], name: String) {
        let stored = hours.map { $0.stored(.varve) }.reduce(0, +)
        let limit = hours.map(\.facts.limitBytes).reduce(0, +)
        report.add(
            ResultRow(
                row: "hours", work: name, varve: Format.bytes(UInt64(max(0, stored))),
                reference: "limit \(Format.bytes(limit))",
                ratio: Double(stored) / Double(limit)),
            atMost: Self.limitTarget)
        let restic = hours.map { $0.stored(.restic) }.reduce(0, +)
        let borg = hours.map { $0.stored(.borg) }.reduce(0, +)
        report.add(
            ResultRow(
                row: "hours", work: name, varve: Format.bytes(UInt64(max(0, stored))),
                reference: "restic \(Format.bytes(UInt64(max(0, restic)))), "
                    + "borg \(Format.bytes(UInt64(max(0, borg))))",
                ratio: Double(stored) / Double(min(restic, borg))),
            atMost: Self.rivalTarget)
    }

    /// What each changed block costs beside its own bytes: headers, tables, maps.
    func reportMetadata(_ hours: [HourCost], _ frames: StoredFrames) {
        let stored = hours.map { $0.stored(.varve) }.reduce(0, +)
        let blocks = hours.map(\.facts.changedBlocks).reduce(0, +)
        let payload = frames.patchByteCount + frames.fullByteCount
        let each = UInt64(max(0, stored - Int64(payload)) / Int64(max(1, blocks)))
        report.add(
            ResultRow(
                row: "hours", work: "metadata of each changed block",
                varve: Format.bytes(each),
                note: "all hours: \(frames.patchCount) blocks as patches "
                    + "(\(Format.bytes(frames.patchByteCount))), \(frames.fullCount) in full "
                    + "(\(Format.bytes(frames.fullByteCount))); metadata is all else"),
            byteCount: each, limit: Self.metadataLimit)
    }

    func reportTimes(_ hours: [HourCost], _ base: HourCost, unchanged: [HourCost]) {
        add(timesOf: hours, name: "time of an hour, median of \(hours.count)")
        add(timesOf: unchanged, name: "time of an unchanged hour, median of \(unchanged.count)")
        add(timesOf: [base], name: "time of the base")
    }

    func reportRestores(_ restores: [HourCost]) {
        add(
            timesOf: restores,
            name: "restore of the last hour, with fsync, median of \(restores.count)",
            note: "the repositories are in the page cache as far as the hours left them there")
    }

    private func add(timesOf hours: [HourCost], name: String, note: String? = nil) {
        func series(_ kind: Contestant.Kind) -> [Measurement] { hours.map { $0.measured(kind) } }
        func text(_ kind: Contestant.Kind) -> String {
            let wall = Statistics.median(series(kind).map(\.wallSeconds))
            let cpu = Statistics.median(series(kind).map(\.cpuSeconds))
            return "\(Format.seconds(wall)), CPU \(Format.seconds(cpu))"
        }
        let ratios = hours.map { hour in
            let best = min(
                hour.measured(.restic).wallSeconds, hour.measured(.borg).wallSeconds)
            return hour.measured(.varve).wallSeconds / best
        }
        let shares = hours.flatMap(\.measurements.values).compactMap(\.residentShareBefore)
        let warmth =
            "at least \(Format.number(100 * (shares.min() ?? 0), 1)) % of the image in the page "
            + "cache before each run"
        report.add(
            ResultRow(
                row: "hours", work: name, varve: text(.varve),
                reference: "restic \(text(.restic)); borg \(text(.borg))",
                ratio: Statistics.median(ratios),
                note: "varve / the faster of the two; " + (note ?? warmth),
                samples: [
                    "varve": series(.varve), "restic": series(.restic), "borg": series(.borg),
                ]))
    }

    /// The base is measured against the smaller of the others.
    func reportBaseBytes(_ base: HourCost) {
        let best = min(base.stored(.restic), base.stored(.borg))
        report.add(
            ResultRow(
                row: "hours", work: "bytes stored by the base",
                varve: Format.bytes(UInt64(max(0, base.stored(.varve)))),
                reference: "restic \(Format.bytes(UInt64(max(0, base.stored(.restic))))), "
                    + "borg \(Format.bytes(UInt64(max(0, base.stored(.borg)))))",
                ratio: Double(base.stored(.varve)) / Double(max(1, best))),
            atMost: 1)
    }

    func reportUnchanged(_ hours: [HourCost]) {
        for (hour, name) in zip(hours, ["after the base", "after the last hour"]) {
            let stored = UInt64(max(0, hour.stored(.varve)))
            report.add(
                ResultRow(
                    row: "hours", work: "bytes stored by an unchanged hour \(name)",
                    varve: Format.bytes(stored),
                    reference: "restic \(Format.bytes(UInt64(max(0, hour.stored(.restic))))), "
                        + "borg \(Format.bytes(UInt64(max(0, hour.stored(.borg)))))"),
                byteCount: stored, limit: Self.unchangedByteLimit)
        }
    }

    func reportTotals(_ contestants: [Contestant]) throws {
        var totals: [Contestant.Kind: UInt64] = [:]
        for contestant in contestants {
            totals[contestant.kind] = try contestant.storedByteCount()
        }
        let varve = totals[.varve] ?? 0
        let restic = totals[.restic] ?? 0
        let borg = totals[.borg] ?? 0
        report.add(
            ResultRow(
                row: "hours", work: "bytes of the repository after all hours",
                varve: Format.bytes(varve),
                reference: "restic \(Format.bytes(restic)), borg \(Format.bytes(borg))",
                ratio: Double(varve) / Double(min(restic, borg))))
    }

    func reportIndex(_ repository: VarveRepository, image: String, _ hours: [HourCost]) throws {
        let blocks = hours.map(\.facts.changedBlocks).reduce(0, +)
        try reportIndex(
            repository, row: "hours", dataByteCount: DiskImage.dataByteCount(of: image),
            changedBlockCount: UInt64(blocks))
    }

    /// The index may take 0.2 % of a generation's bytes that are not zero, and 40 bytes for each
    /// block that a later generation changed.
    func reportIndex(
        _ repository: VarveRepository,
        row: String,
        dataByteCount: UInt64,
        changedBlockCount: UInt64
    ) throws {
        let byteCount = try repository.indexByteCount()
        let limit = dataByteCount / 500 + 40 * changedBlockCount
        report.add(
            ResultRow(
                row: row, work: "size of the index", varve: Format.bytes(byteCount),
                reference: "limit \(Format.bytes(limit))",
                ratio: Double(byteCount) / Double(limit),
                note: "limit: 0.2 % of \(dataByteCount >> 20) MiB that are not zero, and 40 B for "
                    + "each of \(changedBlockCount) changed blocks"),
            byteCount: byteCount, limit: limit)
    }
}

extension Report {
    /// One hour as it comes.
    func detail(_ cost: HourCost, name: String) {
        var text = "hours: \(name): \(cost.facts.changedPages) pages in "
        text += "\(cost.facts.changedBlocks) blocks, limit \(cost.facts.limitBytes) B"
        for kind in [Contestant.Kind.varve, .restic, .borg] {
            text += "; \(kind.rawValue) \(cost.stored(kind)) B in "
            text += Format.seconds(cost.measured(kind).wallSeconds)
        }
        progress(text)
        writeDetail(cost)
    }
}
