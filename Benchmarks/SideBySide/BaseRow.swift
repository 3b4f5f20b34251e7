/// The first capture of a full disk against `zstd -T0 -3` of the same bytes.
extension Workbench {
    static let baseTarget = 0.85

    func measureBase() throws {
        let image = try image()
        var stored: UInt64 = 0
        var last: VarveRepository?
        let pairs = try pairs(
            "base", count: max(3, options.pairCount),
            varve: {
                try self.warm(image.path) {
                    let repository = try self.newRepository("base")
                    let empty = try repository.storedByteCount()
                    PageCache.settle()
                    let measured = try self.backUp(image.path, in: repository)
                    stored = try repository.storedByteCount() - empty
                    last = repository
                    return measured
                }
            },
            reference: {
                try self.warm(image.path) { try self.compress(to: self.scratch + "/disk.zst") }
            })
        if let last { keepAsBase(last) }
        report.add(
            ResultRow(
                row: "base", work: "base of a full disk, warm, fsync included",
                varve: Pairs.rate(pairs.varve, byteCount: image.byteCount),
                reference: "zstd -T0 -3: "
                    + Pairs.rate(pairs.reference, byteCount: image.byteCount),
                ratio: pairs.speedRatio, note: pairs.note, samples: pairs.samples),
            atLeast: Self.baseTarget)

        let compressedByteCount = try Storage.fileByteCount(of: compressed())
        report.add(
            ResultRow(
                row: "base", work: "bytes stored by the base", varve: Format.bytes(stored),
                reference: "zstd -T0 -3: \(Format.bytes(compressedByteCount))",
                ratio: Double(stored) / Double(compressedByteCount)))
    }
}
