import LinuxIO

/// What a running system does to its disk in an hour, from a seed: logs grow, database pages
/// change by a few hundred bytes, small files are replaced, and the file system's own records and
/// its journal follow.
///
/// The measure is 12 MiB of changed 4 KiB pages an hour on a disk of 16 GiB, less or more with the
/// size. The image is not meant to stay a valid file system.
final class HourlyChanges {
    private let image: DiskImage
    private let editor: ImageEditor
    private var generator: SeededGenerator
    private let pageBudget: Int

    private var logOffsets: [UInt64]
    private var journalOffset: UInt64 = 0
    private var journalSequence: UInt32 = 7
    private var time: UInt32 = 1_793_000_000
    /// Where the next small file goes: a run of free blocks, and how many of it are taken.
    private var freeRun: Int
    private var freeTaken: UInt64 = 0
    /// Small files written so far, which later ones may replace.
    private var places: [FileSystemMap.Run] = []
    /// In the order of how often they change.
    private let metadataGroups: [FileSystemMap.Group]
    private let smallFiles: [MachineFile]

    /// Parts of the hour's pages, in hundredths.
    private static let logShare = 25
    private static let databaseShare = 35
    private static let fileShare = 22
    private static let metadataShare = 18

    init(image: DiskImage, seed: UInt64) throws {
        self.image = image
        editor = try ImageEditor(image.path)
        generator = SeededGenerator(seed: seed ^ 0x4055)
        let perHour = UInt64(12 << 20) / 4096
        pageBudget = max(32, Int(perHour * (image.byteCount >> 20) / (16 << 10)))
        logOffsets = image.map.logs.map { FileSystemMap.byteCount(of: $0) / 4 }
        freeRun =
            image.map.free.indices.max { left, right in
                image.map.free[left].count < image.map.free[right].count
            } ?? 0
        metadataGroups = image.map.groups.shuffled(using: &generator)
        smallFiles = image.spare.filter { $0.byteCount <= 128 * 1024 }
        guard !smallFiles.isEmpty else { throw BenchmarkError("this machine has too few files") }
    }

    /// Applies the changes of one hour, durably.
    func apply(hour: Int) throws -> HourFacts {
        time += 3600
        try appendLogs(hour: hour)
        try editDatabase(pages: pageBudget * Self.databaseShare / 100)
        try replaceFiles(pages: pageBudget * Self.fileShare / 100)
        try updateMetadata(pages: pageBudget * Self.metadataShare / 100)
        return try editor.finish(hour: hour)
    }

    // MARK: Content

    private func appendLogs(hour: Int) throws {
        // Some services say much, others little.
        let byteCount = pageBudget * Self.logShare / 100 * FileSystemMap.blockByteCount
        let weights = image.map.logs.indices.map { 1.0 / Double($0 + 1) }
        let sum = weights.reduce(0, +)
        for (number, runs) in image.map.logs.enumerated() {
            let share = Int(Double(byteCount) * weights[number] / sum)
            let text = SyntheticText.log(
                service: number, hour: hour, byteCount: share, &generator)
            logOffsets[number] = try write(text, to: runs, at: logOffsets[number])
        }
    }

    /// Writes into a file's blocks, from its start again at its end; gives the next offset.
    private func write(
        _ bytes: [UInt8],
        to runs: [FileSystemMap.Run],
        at start: UInt64
    ) throws -> UInt64 {
        var offset = start
        var done = 0
        while done < bytes.count {
            guard let place = FileSystemMap.place(of: offset, in: runs) else {
                offset = 0
                continue
            }
            let count = min(bytes.count - done, Int(place.byteCount))
            try editor.write(Array(bytes[done..<done + count]), at: place.offset)
            done += count
            offset += UInt64(count)
        }
        return offset
    }

    private func editDatabase(pages budget: Int) throws {
        let runs = image.map.database
        let pageByteCount = DiskImage.databasePageByteCount
        let pageCount = Int(FileSystemMap.byteCount(of: runs)) / pageByteCount
        let start = editor.touchedPageCount
        // A hot page is edited many times an hour; the bound only ends what cannot end by itself.
        for _ in 0..<(100 * budget) where editor.touchedPageCount - start < budget {
            let page = UInt64(generator.hot(below: pageCount) * pageByteCount)
            var header = [UInt8](repeating: 0, count: 8)
            SyntheticText.store(generator.next() >> 24, in: &header, at: 0)
            _ = try write(header, to: runs, at: page + 8)
            for _ in 0...generator.below(2) {
                let record = SyntheticText.record(&generator)
                let room = pageByteCount - 24 - record.count
                let offset = UInt64(24 + generator.below(room) / 8 * 8)
                _ = try write(record, to: runs, at: page + offset)
            }
        }
    }

    private func replaceFiles(pages budget: Int) throws {
        let start = editor.touchedPageCount
        for _ in 0..<(4 * budget + 4) {
            let left = budget - (editor.touchedPageCount - start)
            if left <= 0 { return }
            let file = smallFiles[generator.below(smallFiles.count)]
            let limit = left * FileSystemMap.blockByteCount
            let bytes = try MachineFiles.content(of: file.path, limit: limit)
            let pages = UInt64((bytes.count + 4095) / 4096)
            let place = self.place(forPages: pages)
            try editor.write(bytes, at: place.first * UInt64(FileSystemMap.blockByteCount))
        }
    }

    /// Blocks for a new file: now and then those of an old one, else the next free ones.
    private func place(forPages count: UInt64) -> FileSystemMap.Run {
        if generator.below(10) < 3 {
            let fitting = places.indices.filter { places[$0].count >= count }
            if let index = fitting.randomElement(using: &generator) { return places[index] }
        }
        freeTaken += UInt64(generator.below(4))
        while image.map.free[freeRun].count < freeTaken + count {
            freeRun = (freeRun + 1) % image.map.free.count
            freeTaken = 0
        }
        let place = FileSystemMap.Run(
            first: image.map.free[freeRun].first + freeTaken, count: count)
        freeTaken += count
        places.append(place)
        return place
    }

    // MARK: The file system's own records

    private func updateMetadata(pages budget: Int) throws {
        let start = editor.touchedPageCount
        try updateSuperblock()
        var dirty: Set<UInt64> = []
        for round in 1...(100 * budget) where editor.touchedPageCount - start < budget {
            let group = metadataGroups[generator.hot(below: metadataGroups.count)]
            let table = group.inodeTable
            let page = table.first + UInt64(generator.hot(below: Int(table.count)))
            try touchInodes(page)
            try flipBits(group.blockBitmap)
            try updateDescriptor(of: group)
            dirty.formUnion([1, group.blockBitmap, page])
            if round % 4 == 0 {
                try writeJournal(dirty.sorted())
                dirty = []
            }
        }
    }

    private func updateSuperblock() throws {
        var bytes = try editor.read(at: 1024, byteCount: 1024)
        SyntheticText.store(UInt32(generator.below(1 << 20)), in: &bytes, at: 0x0C)
        SyntheticText.store(time, in: &bytes, at: 0x30)
        SyntheticText.store(UInt64(time), in: &bytes, at: 0x178)
        SyntheticText.store(UInt32(truncatingIfNeeded: generator.next()), in: &bytes, at: 0x3FC)
        try editor.write(bytes, at: 1024)
    }

    private func updateDescriptor(of group: FileSystemMap.Group) throws {
        let number = image.map.groups.firstIndex { $0.blockBitmap == group.blockBitmap } ?? 0
        let offset = UInt64(FileSystemMap.blockByteCount + number * 64)
        var bytes = try editor.read(at: offset, byteCount: 64)
        SyntheticText.store(UInt16(generator.below(32768)), in: &bytes, at: 0x0C)
        SyntheticText.store(UInt16(truncatingIfNeeded: generator.next()), in: &bytes, at: 0x18)
        SyntheticText.store(UInt16(truncatingIfNeeded: generator.next()), in: &bytes, at: 0x1E)
        try editor.write(bytes, at: offset)
    }

    private func flipBits(_ block: UInt64) throws {
        let offset = block * UInt64(FileSystemMap.blockByteCount) + UInt64(generator.below(4000))
        let bytes = try editor.read(at: offset, byteCount: 1 + generator.below(12))
        try editor.write(bytes.map { $0 ^ 0xFF }, at: offset)
    }

    /// New times, size and checksum for a few of the 16 inodes in a page of the table.
    private func touchInodes(_ block: UInt64) throws {
        for _ in 0...generator.below(4) {
            let offset =
                block * UInt64(FileSystemMap.blockByteCount) + UInt64(256 * generator.below(16))
            var inode = try editor.read(at: offset, byteCount: 256)
            SyntheticText.store(UInt32(generator.below(1 << 20)), in: &inode, at: 0x04)
            SyntheticText.store(time - UInt32(generator.below(3600)), in: &inode, at: 0x0C)
            SyntheticText.store(time - UInt32(generator.below(3600)), in: &inode, at: 0x10)
            SyntheticText.store(UInt32(truncatingIfNeeded: generator.next()), in: &inode, at: 0x84)
            SyntheticText.store(UInt32(truncatingIfNeeded: generator.next()), in: &inode, at: 0x88)
            SyntheticText.store(UInt16(truncatingIfNeeded: generator.next()), in: &inode, at: 0x7C)
            try editor.write(inode, at: offset)
        }
    }

    /// One transaction: a descriptor, copies of the metadata blocks, a commit block.
    private func writeJournal(_ blocks: [UInt64]) throws {
        let byteCount = FileSystemMap.blockByteCount
        journalSequence += 1
        var head = [UInt8](repeating: 0, count: byteCount)
        SyntheticText.store(UInt32(0xC03B_3998).bigEndian, in: &head, at: 0)
        SyntheticText.store(UInt32(1).bigEndian, in: &head, at: 4)
        SyntheticText.store(journalSequence.bigEndian, in: &head, at: 8)
        for (index, block) in blocks.enumerated() {
            let tag = 12 + 16 * index
            SyntheticText.store(UInt32(truncatingIfNeeded: block).bigEndian, in: &head, at: tag)
        }
        var commit = [UInt8](repeating: 0, count: byteCount)
        SyntheticText.store(UInt32(0xC03B_3998).bigEndian, in: &commit, at: 0)
        SyntheticText.store(UInt32(2).bigEndian, in: &commit, at: 4)
        SyntheticText.store(journalSequence.bigEndian, in: &commit, at: 8)
        SyntheticText.store(UInt64(time).bigEndian, in: &commit, at: 48)
        var transaction = head
        for block in blocks {
            transaction += try editor.read(at: block * UInt64(byteCount), byteCount: byteCount)
        }
        transaction += commit
        journalOffset = try write(transaction, to: image.map.journal, at: journalOffset)
    }
}
