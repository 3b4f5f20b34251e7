import LinuxIO

/// Bringing the whole disk back: to a new file, and over one that is nearly right.
extension Workbench {
    static let restoreTarget = 0.8
    private static let alteredPageCount = 64

    func measureRestore() throws {
        let image = try image()
        let repository = try repositoryWithBase()
        let compressed = try compressed()
        let target = scratch + "/restored.img"
        let pairs = try pairs(
            "restore", count: max(3, options.pairCount),
            varve: {
                try Storage.remove(target)
                PageCache.settle()
                // As the other side's input is; whether varve reads it from there is its own affair.
                let share = try PageCache.warm(filesBelow: repository.path + "/packs")
                var measured = try self.varve(
                    repository.command("restore", "--quiet", "disk@1", target), "restore")
                measured.residentShareBefore = share
                return measured
            },
            reference: {
                try self.warm(compressed) {
                    let target = self.scratch + "/unpacked.img"
                    try Storage.remove(target)
                    PageCache.settle()
                    let measured = try self.runner.run(
                        Command("zstd", "-q", "-d", compressed, "-o", target), thenSync: [target])
                    try Storage.remove(target)
                    return measured
                }
            })
        report.add(
            ResultRow(
                row: "restore", work: "restore to a new file, digests proved, fsync included",
                varve: Pairs.rate(pairs.varve, byteCount: image.byteCount),
                reference: "zstd -d: " + Pairs.rate(pairs.reference, byteCount: image.byteCount),
                ratio: pairs.speedRatio, note: pairs.note, samples: pairs.samples),
            atLeast: Self.restoreTarget)
        try prove(target, equals: image.path, row: "restore")
        try Storage.remove(target)
    }

    func measureRestoreInPlace() throws {
        let image = try image()
        let repository = try repositoryWithBase()
        let target = scratch + "/target.img"
        try Storage.remove(target)
        _ = try runner.run(
            Command("cp", "--sparse=never", image.path, target), thenSync: [target])
        let slices = try slices(of: target)
        var generator = SeededGenerator(seed: options.seed ^ 0x17)
        var readings: [Measurement] = []
        var hashings: [Measurement] = []
        let pairs = try pairs(
            "in-place", count: max(3, options.pairCount),
            varve: {
                try self.warm(target, leaving: 0.98) {
                    try Self.alter(target, byteCount: image.byteCount, &generator)
                    PageCache.settle()
                    return try self.varve(
                        repository.command(
                            "restore", "--quiet", "--in-place", "disk@1", target),
                        "restore in place")
                }
            },
            reference: {
                let reading = try self.warm(target) {
                    try self.runner.run(Command("cat", target, output: "/dev/null"))
                }
                for slice in slices { _ = try PageCache.warm(slice) }
                let hashing = try self.runner.run(
                    slices.map { Command("openssl", "dgst", "-sha256", $0) })
                readings.append(reading)
                hashings.append(hashing)
                return reading.wallSeconds > hashing.wallSeconds ? reading : hashing
            })
        let slower =
            Statistics.median(readings.map(\.wallSeconds))
                > Statistics.median(hashings.map(\.wallSeconds)) ? "cat" : "SHA-256"
        var samples = pairs.samples
        samples["cat"] = readings
        samples["sha256"] = hashings
        report.add(
            ResultRow(
                row: "in-place",
                work: "restore in place, \(Self.alteredPageCount) pages of 4 KiB differ",
                varve: Pairs.rate(pairs.varve, byteCount: image.byteCount),
                reference: "\(slower): "
                    + Pairs.rate(pairs.reference, byteCount: image.byteCount),
                ratio: pairs.speedRatio,
                note: "the slower of cat and of openssl dgst -sha256 over "
                    + "\(slices.count) slices side by side; " + pairs.note,
                samples: samples),
            atLeast: Self.restoreTarget)
        try prove(target, equals: image.path, row: "in-place")
        for path in slices + [target] { try Storage.remove(path) }
    }

    /// A row that says whether two files are the same, byte for byte.
    func prove(_ path: String, equals image: String, row: String) throws {
        let isEqual = (try? runner.run(Command("cmp", "-s", path, image))) != nil
        report.add(
            ResultRow(
                row: row, work: "restored bytes are the captured ones",
                varve: isEqual ? "equal" : "DIFFERENT", reference: "cmp", target: "equal",
                verdict: isEqual ? .pass : .miss))
    }

    /// One part of `path` for each core, as files of their own: openssl reads whole files only.
    private func slices(of path: String) throws -> [String] {
        let count = UInt64(Workers.standardCount)
        let mebibytes = (try Storage.fileByteCount(of: path) >> 20) / count
        return try (0..<count).map { number in
            let slice = path + ".\(number)"
            var arguments = [
                "dd", "if=" + path, "of=" + slice, "bs=1M", "skip=\(number * mebibytes)",
            ]
            if number + 1 < count { arguments.append("count=\(mebibytes)") }
            _ = try runner.run(Command(arguments), thenSync: [slice])
            return slice
        }
    }

    /// Writes other bytes into pages all over the target.
    private static func alter(
        _ path: String,
        byteCount: UInt64,
        _ generator: inout SeededGenerator
    ) throws {
        let editor = try ImageEditor(path)
        for _ in 0..<alteredPageCount {
            let page = UInt64(generator.below(Int(byteCount / 4096)))
            let bytes = (0..<512).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
            try editor.write(bytes, at: page * 4096)
        }
        try editor.synchronize()
    }
}
