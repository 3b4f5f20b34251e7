internal import BlockModel
internal import CDiskContents
internal import FileModel
internal import LinuxIO

/// Where an ext file system keeps what is not content.
struct ExtLayout {
    /// An inode as it lies on the disk.
    struct RawInode: Equatable {
        let bytes: [UInt8]

        private func word(_ offset: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
        }

        var kind: FileKind { FileKind(mode: word(0) & 0xFFFF) }
        /// Whether a file has it.
        var isUsed: Bool { kind != .unknown && linkCount > 0 }
        var linkCount: Int { Int(word(26) & 0xFFFF) }
        /// Tells one use of the inode from the next.
        var use: UInt32 { word(100) }

        /// What changes with the content: size, time of change of the content, and where it lies.
        var content: [UInt8] {
            parts([4..<8, 16..<20, 40..<100, 108..<112, 136..<140])
        }

        /// What changes with rights, owners and attributes.
        var properties: [UInt8] {
            parts([0..<4, 24..<26, 32..<36, 104..<108, 118..<124, 160..<max(160, bytes.count)])
        }

        /// Those of the ranges that it has.
        private func parts(_ ranges: [Range<Int>]) -> [UInt8] {
            ranges.filter { $0.upperBound <= bytes.count }.flatMap { bytes[$0] }
        }
    }

    struct Group {
        /// Bytes of the image: of all inodes, and of those that are in use or were.
        let inodes: Range<UInt64>
        let usedInodes: Range<UInt64>
        /// The block that says which blocks are in use; nil when none is but what every group has.
        let blockBitmap: UInt64?
        /// Bytes of the image that hold no content of files.
        let fixed: [Range<UInt64>]
    }

    let id: [UInt8]
    let groups: [Group]
    let inodesPerGroup: UInt32
    let inodeByteCount: UInt64
    /// Bytes of the image that a group has.
    let groupByteCount: UInt64
    let clusterByteCount: UInt64
    /// Where the first group begins.
    let start: UInt64
    /// The block by which two machines keep off each other.
    let guardBlock: Range<UInt64>?
    /// Inodes that are no files: of the journal, for growth, of quotas.
    let ownInodes: [UInt64]

    init(_ system: ExtFileSystem) throws {
        let raw = system.rawLayout()
        let size = system.blockByteCount
        let bytes = system.imageRange
        /// Bytes of the image for blocks, clipped to it: a descriptor may say anything.
        func place(_ block: UInt64, _ byteCount: UInt64) -> Range<UInt64> {
            let (offset, overflows) = block.multipliedReportingOverflow(by: size)
            let limit = UInt64(bytes.count)
            let lower = overflows ? limit : min(limit, offset)
            let upper = lower + min(limit - lower, byteCount)
            return bytes.lowerBound + lower..<bytes.lowerBound + upper
        }
        guard raw.inode_byte_count >= 128, raw.inode_byte_count <= size, raw.inodes_per_group > 0,
            raw.blocks_per_group > 0, raw.group_count <= 1 << 24
        else { throw ContentsError(.damaged, "the layout of the file system is invalid") }
        inodesPerGroup = raw.inodes_per_group
        inodeByteCount = UInt64(raw.inode_byte_count)
        let inodeByteCount = UInt64(raw.inode_byte_count)
        let tableByteCount = UInt64(raw.inodes_per_group) * inodeByteCount
        groups = (0..<raw.group_count).map { number in
            let group = system.rawGroup(number)
            let inodes = place(group.inode_table, tableByteCount)
            let used = UInt64(group.used_inode_count) * inodeByteCount
            return Group(
                inodes: inodes,
                usedInodes: inodes.lowerBound..<min(inodes.upperBound, inodes.lowerBound + used),
                blockBitmap: group.has_no_block_bitmap != 0 ? nil : group.block_bitmap,
                fixed: [
                    inodes, place(group.inode_bitmap, size), place(group.block_bitmap, size),
                    place(group.first_block, UInt64(group.descriptor_count) * size),
                ])
        }
        id = unsafe withUnsafeBytes(of: raw.id) { unsafe [UInt8]($0) }
        groupByteCount = UInt64(raw.blocks_per_group) * size
        clusterByteCount = UInt64(raw.blocks_per_cluster) * size
        start = place(UInt64(raw.first_block), 0).lowerBound
        guardBlock = raw.guard_block == 0 ? nil : place(raw.guard_block, size)
        ownInodes =
            [1, 3, 4, 5, 6, 7, 8, 9, 10] + (raw.orphan_inode > 0 ? [UInt64(raw.orphan_inode)] : [])
    }

    // MARK: Inodes

    /// Calls `body` with the inodes that lie at `bytes` of the image, which are of the group.
    func forEachInode(
        of group: Int,
        at bytes: Range<UInt64>,
        in system: ExtFileSystem,
        _ body: (_ number: UInt64, RawInode) throws -> Void
    ) throws {
        let table = groups[group].inodes
        let lower = (max(bytes.lowerBound, table.lowerBound) - table.lowerBound) / inodeByteCount
        let end = min(bytes.upperBound, table.upperBound)
        guard end > table.lowerBound else { return }
        var next = lower
        let upper = min(
            (end - table.lowerBound + inodeByteCount - 1) / inodeByteCount,
            UInt64(table.count) / inodeByteCount)
        let atOnce = max(1, (256 << 10) / inodeByteCount)
        while next < upper {
            let count = min(atOnce, upper - next)
            let raw = try system.bytes(
                at: table.lowerBound + next * inodeByteCount, count: Int(count * inodeByteCount))
            for position in 0..<count {
                let first = Int(position * inodeByteCount)
                let (number, overflows) = (UInt32(group) &* inodesPerGroup)
                    .addingReportingOverflow(UInt32(next + position) + 1)
                guard !overflows else { return }
                try body(
                    UInt64(number), RawInode(bytes: Array(raw[first..<first + Int(inodeByteCount)]))
                )
            }
            next += count
        }
    }

    func group(ofInode number: UInt64) -> Int { Int((number - 1) / UInt64(inodesPerGroup)) }

    /// The inode as it lies there; nil for a number that there is none of, or that was never used.
    func inode(_ number: UInt64, in system: ExtFileSystem) throws -> RawInode? {
        guard number > 0, group(ofInode: number) < groups.count else { return nil }
        let group = groups[group(ofInode: number)]
        let offset = ((number - 1) % UInt64(inodesPerGroup)) * inodeByteCount
        guard group.usedInodes.lowerBound + offset + inodeByteCount <= group.usedInodes.upperBound
        else { return nil }
        return RawInode(
            bytes: try system.bytes(
                at: group.usedInodes.lowerBound + offset, count: Int(inodeByteCount)))
    }

    // MARK: Blocks

    /// The parts of `ranges` that are in use.
    func inUse(_ ranges: [Range<UInt64>], in system: ExtFileSystem) throws -> [Range<UInt64>] {
        var found: [Range<UInt64>] = []
        var loaded: (group: Int, bitmap: [UInt8])?
        for range in ranges {
            var position = max(range.lowerBound, start)
            while position < range.upperBound {
                let group = Int((position - start) / groupByteCount)
                guard group < groups.count else { break }
                let groupStart = start + UInt64(group) * groupByteCount
                let end = min(range.upperBound, groupStart + groupByteCount)
                guard let block = groups[group].blockBitmap else {
                    position = end
                    continue
                }
                if loaded?.group != group { loaded = (group, try system.block(block)) }
                let cluster = Int((position - groupStart) / clusterByteCount)
                let next = min(end, groupStart + UInt64(cluster + 1) * clusterByteCount)
                let bitmap = loaded?.bitmap ?? []
                if cluster / 8 < bitmap.count, bitmap[cluster / 8] >> UInt8(cluster % 8) & 1 == 1 {
                    Ranges.append(position..<next, to: &found)
                }
                position = next
            }
        }
        return found
    }
}

/// Ranges in order that do not touch.
enum Ranges {
    /// Adds one that begins behind the last.
    static func append(_ range: Range<UInt64>, to ranges: inout [Range<UInt64>]) {
        guard let last = ranges.last, last.upperBound >= range.lowerBound else {
            if !range.isEmpty { ranges.append(range) }
            return
        }
        ranges[ranges.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
    }

    static func ordered(_ ranges: [Range<UInt64>]) -> [Range<UInt64>] {
        var found: [Range<UInt64>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            append(range, to: &found)
        }
        return found
    }

    /// Those parts of `ranges` that lie in `other`; `ranges` are in order.
    static func parts(of ranges: [Range<UInt64>], in other: Range<UInt64>) -> [Range<UInt64>] {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound <= other.lowerBound {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return ranges[low...].prefix { $0.lowerBound < other.upperBound }
            .map { $0.clamped(to: other) }
    }

    /// What of `ranges` is in none of `others`; both are in order.
    static func subtract(
        _ others: [Range<UInt64>],
        from ranges: [Range<UInt64>]
    ) -> [Range<UInt64>] {
        var found: [Range<UInt64>] = []
        for range in ranges {
            var position = range.lowerBound
            for part in parts(of: others, in: range) {
                if part.lowerBound > position { found.append(position..<part.lowerBound) }
                position = max(position, part.upperBound)
            }
            if position < range.upperBound { found.append(position..<range.upperBound) }
        }
        return found
    }
}
