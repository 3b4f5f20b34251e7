import LinuxIO

/// A thin disk of 1 TiB that holds 200 MiB: its size must cost nothing, neither time nor memory.
extension Workbench {
    static let sparseTimeTarget = 1.2
    private static let largeByteCount: UInt64 = 1 << 40
    private static let smallByteCount: UInt64 = 10 << 30
    private static let contentByteCount: UInt64 = 200 << 20
    private static let editsAnHour = 64
    /// 100 MiB of changes, for a capture that is told of them.
    private static let toldBlockCount = 1600

    private struct SparseVolume {
        let path: String
        let repository: VarveRepository
        /// Its blocks that are not zero, in order.
        let blocks: [UInt64]
    }

    func measureSparse() throws {
        let large = try makeSparse("large", byteCount: Self.largeByteCount)
        let small = try makeSparse("small", byteCount: Self.smallByteCount)
        let base = try pairs(
            "sparse, base", count: 1,
            varve: { try self.backUp(large.path, in: large.repository) },
            reference: { try self.backUp(small.path, in: small.repository) })
        let still = try pairs(
            "sparse, unchanged", count: options.pairCount,
            varve: { try self.backUp(large.path, in: large.repository) },
            reference: { try self.backUp(small.path, in: small.repository) })
        var hour = 0
        var changedBlocks = 0
        let changed = try pairs(
            "sparse, changed", count: options.pairCount,
            varve: {
                hour += 1
                changedBlocks += try self.change(large, hour: hour).changedBlocks
                return try self.backUp(large.path, in: large.repository)
            },
            reference: {
                _ = try self.change(small, hour: hour)
                return try self.backUp(small.path, in: small.repository)
            })
        add(base, "base of 1 TiB with 200 MiB of data")
        add(still, "unchanged 1 TiB with 200 MiB of data")
        add(changed, "1 TiB sparse, \(Self.editsAnHour) pages changed")
        // Before the captures that are told: 100 MiB of changes each would be most of it.
        try reportIndex(
            large.repository, row: "sparse",
            dataByteCount: UInt64(large.blocks.count * ImageEditor.blockByteCount),
            changedBlockCount: UInt64(changedBlocks))
        let told = try pairs(
            "sparse, told what changed", count: options.pairCount,
            varve: { try self.backUpTold(large) },
            reference: { try self.backUpTold(small) })
        add(told, "1 TiB sparse, 100 MiB changed, by --changed-extents")

        let memory = (base.varve + still.varve + changed.varve + told.varve).compactMap(
            \.peakMemoryByteCount)
        if let most = memory.max() {
            report.add(
                ResultRow(
                    row: "sparse", work: "anonymous and shared memory for 1 TiB, at most",
                    varve: Format.bytes(most)),
                byteCount: most, limit: Self.memoryLimit)
        }
        for volume in [large, small] {
            try volume.repository.remove()
            try Storage.remove(volume.path)
        }
    }

    private func add(_ pairs: Pairs, _ work: String) {
        func text(_ series: [Measurement]) -> String {
            Format.seconds(Statistics.median(series.map(\.wallSeconds))) + ", CPU "
                + Format.seconds(Statistics.median(series.map(\.cpuSeconds)))
        }
        report.add(
            ResultRow(
                row: "sparse", work: work, varve: text(pairs.varve),
                reference: "10 GiB: \(text(pairs.reference))",
                ratio: 1 / pairs.speedRatio,
                note: "both sides are varve; \(pairs.varve.count) pairs; the files are sparse, and "
                    + "holes are asked of the file system",
                samples: pairs.samples),
            atMost: Self.sparseTimeTarget)
    }

    /// An ext4 file system with files of the machine on a sparse file, as a new thin disk has it:
    /// what it keeps of its own lies all over the disk.
    private func makeSparse(_ name: String, byteCount: UInt64) throws -> SparseVolume {
        let path = scratch + "/sparse-\(name).img"
        let stage = scratch + "/stage"
        try Directory.makeAll(stage)
        var staged: UInt64 = 0
        for file in MachineFiles.list(seed: options.seed, largest: 16 << 20) {
            guard staged + file.byteCount <= Self.contentByteCount else { break }
            try DiskImage.stage(file, below: stage)
            staged += file.byteCount
        }
        try DiskImage.createEmpty(path, byteCount: byteCount)
        _ = try runner.run(
            Command(
                "mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1",
                "-d", stage, path),
            thenSync: [path])
        try Storage.remove(stage)
        let blocks = try DiskImage.dataBlocks(of: path)
        describe(
            "sparse: \(byteCount >> 30) GiB, ext4, \(staged >> 20) MiB of files, "
                + "\(blocks.count / 16) MiB in blocks of 64 KiB that are not zero")
        return SparseVolume(
            path: path, repository: try newRepository("sparse-\(name)"), blocks: blocks)
    }

    /// Writes other content over blocks all over the volume, and backs it up with a list of them.
    ///
    /// - Returns: the measurement.
    /// - Throws: when the list was not believed, too.
    private func backUpTold(_ volume: SparseVolume) throws -> Measurement {
        let editor = try ImageEditor(volume.path)
        let deltas = try Directory.names(in: volume.repository.path + "/volumes/disk") ?? []
        let generation = deltas.count { $0.contains("-") }
        var generator = SeededGenerator(seed: options.seed ^ UInt64(generation) << 32)
        let blocks = volume.blocks.shuffled(using: &generator).prefix(Self.toldBlockCount)
        var list = ""
        for block in blocks {
            var bytes: [UInt8] = []
            while bytes.count < ImageEditor.blockByteCount {
                bytes += SyntheticText.record(&generator)
            }
            let offset = block * UInt64(ImageEditor.blockByteCount)
            try editor.write(Array(bytes.prefix(ImageEditor.blockByteCount)), at: offset)
            list += "\(offset) \(ImageEditor.blockByteCount)\n"
        }
        try editor.synchronize()
        let path = scratch + "/changed-extents"
        try Storage.remove(path)
        let file = try FileHandle(path, .create)
        try PositionedIO.write(file.descriptor, Array(list.utf8).span.bytes, at: 0, subject: path)
        let measured = try varve(
            volume.repository.command(
                "backup", "--quiet", "--volume", "disk", volume.path, "--changed-extents", path,
                "--changed-since", "\(generation)"),
            "backup of \(volume.path) with a list of changes")
        let newest = try runner.text(of: volume.repository.command("snapshots", "--json"))
            .split(separator: "\n").last { $0.contains("\"message_type\":\"snapshot\"") }
        guard newest?.contains("\"method\":\"changed-extents\"") == true else {
            throw BenchmarkError("the list of changes was not believed: \(newest ?? "no snapshot")")
        }
        return measured
    }

    private func change(_ volume: SparseVolume, hour: Int) throws -> HourFacts {
        let editor = try ImageEditor(volume.path)
        var generator = SeededGenerator(seed: options.seed ^ UInt64(hour))
        for _ in 0..<Self.editsAnHour {
            let block = volume.blocks[generator.below(volume.blocks.count)]
            let page = UInt64(generator.below(ImageEditor.blockByteCount / 4096) * 4096)
            let offset = block * UInt64(ImageEditor.blockByteCount) + page
            try editor.write(SyntheticText.record(&generator), at: offset)
        }
        return try editor.finish(hour: hour)
    }
}
