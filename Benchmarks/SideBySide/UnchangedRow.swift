/// A capture of a disk on which nothing changed, compared in full, against reading it.
extension Workbench {
    static let unchangedTarget = 1.0
    static let unchangedByteLimit: UInt64 = 4096

    func measureUnchanged() throws {
        let image = try image()
        let repository = try repositoryWithBase()
        var stored: [UInt64] = []
        let pairs = try pairs(
            "unchanged", count: max(5, options.pairCount),
            varve: {
                try self.warm(image.path) {
                    let before = try repository.storedByteCount()
                    let measured = try self.backUp(image.path, in: repository)
                    stored.append(try repository.storedByteCount() - before)
                    return measured
                }
            },
            reference: {
                try self.warm(image.path) {
                    try self.runner.run(Command("cat", image.path, output: "/dev/null"))
                }
            })
        report.add(
            ResultRow(
                row: "unchanged", work: "unchanged disk, warm, compared in full",
                varve: Pairs.rate(pairs.varve, byteCount: image.byteCount),
                reference: "cat: " + Pairs.rate(pairs.reference, byteCount: image.byteCount),
                ratio: pairs.speedRatio, note: pairs.note, samples: pairs.samples),
            atLeast: Self.unchangedTarget)
        let most = stored.max() ?? 0
        report.add(
            ResultRow(
                row: "unchanged", work: "bytes stored by an unchanged hour, at most",
                varve: Format.bytes(most)),
            byteCount: most, limit: Self.unchangedByteLimit)
    }
}
