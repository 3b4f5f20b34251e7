internal import BlockModel
internal import DiskContents
internal import Repository
internal import RepositoryIndex
internal import RepositoryModel
internal import Serving

/// Where files are looked for in the snapshots of a volume, one after the other: every partition that may
/// have some.
///
/// The partition table, and what lies on each partition, is read again only where that may have changed
/// from one snapshot to the next.
final class DiskSearch {
    /// A part of a snapshot's disk.
    enum Place {
        /// Its files can be asked for.
        case files(number: Int?, FileSeries)
        /// It may have files, which cannot be read here; in words what it is.
        case unread(String)
    }

    private struct Layout {
        let byteCount: UInt64
        let partitions: [Partition]
        /// What shows that the table, and what cannot be read, is the same.
        let numbers: [(block: UInt64, number: BlockNumber)]
        /// The same of what can be read: see ``FileSeries/identity(of:in:)``.
        let identities: [[UInt8]]
    }

    /// Where tables lie: so far from the beginning.
    private static let tableByteCount: UInt64 = 64 << 10
    /// What holds no files.
    private static let typesWithout: Set<String> = ["swap", "swsuspend"]
    /// Partitions for boot loaders, and those that Windows keeps for itself, in digits of their GUIDs.
    private static let purposesWithout: Set<String> = [
        "21686148-6449-6e6f-744e-656564454649", "e3c9e316-0b5c-4db8-817d-f92df00215ae",
    ]

    private let service: OpenRepository
    private let timeline: Timeline
    private let index: Index
    private let partition: Int?
    private var firstReader: SnapshotReader?
    private var layout: Layout?
    private var series: [Int: FileSeries] = [:]

    /// - Parameters:
    ///   - service: the repository.
    ///   - timeline: the volume.
    ///   - partition: number of the only partition that is meant; nil for all.
    /// - Throws: what the repository and its index throw.
    init(_ service: OpenRepository, _ timeline: Timeline, partition: Int?) throws {
        self.service = service
        self.timeline = timeline
        self.partition = partition
        index = try service.retryingWithFreshIndex {
            let index = try service.currentIndex()
            try index.bringForward(timeline, with: service.repository)
            return index
        }
    }

    /// Goes to a snapshot; gives its parts, of whose files is asked from then on.
    ///
    /// - Throws: ``ContentsError`` when it has nothing that can be read, or not the partition that is meant.
    func go(to snapshot: Snapshot) throws -> [Place] {
        let reader = try reader(of: snapshot)
        let title = "\(timeline.volume)@\(snapshot.generation)"
        let partitions = try partitions(in: reader)
        let choice = FileSystemChoice(partitions, title: title)
        let types = FileSystemChoice.readableTypes
        if let partition {
            let meant = try choice.partition(partition, of: types)
            return [try place(meant, reader, title)]
        }
        guard partitions.contains(where: { types.contains($0.type) }) else {
            // It says what there is.
            return [try place(choice.partition(nil, of: types), reader, title)]
        }
        return try partitions.compactMap { partition in
            if types.contains(partition.type) { return try place(partition, reader, title) }
            return try mayHaveFiles(partition, reader)
                ? .unread(FileSystemChoice.words(partition)) : nil
        }
    }

    private func reader(of snapshot: Snapshot) throws -> SnapshotReader {
        let repository = service.repository
        let map = try index.mapWhenCurrent(of: snapshot, in: timeline, with: repository)
        if let firstReader {
            return SnapshotReader(snapshot, map, sharing: firstReader)
        }
        let reader = try SnapshotReader(snapshot, map, repository: repository)
        firstReader = reader
        return reader
    }

    private func place(
        _ partition: Partition,
        _ reader: SnapshotReader,
        _ title: String
    ) throws -> Place {
        let key = partition.number ?? 0
        let series = series[key] ?? FileSeries(service)
        self.series[key] = series
        try series.go(to: reader, partition, title: title)
        return .files(number: partition.number, series)
    }

    private func mayHaveFiles(_ partition: Partition, _ reader: SnapshotReader) throws -> Bool {
        guard !Self.typesWithout.contains(partition.type),
            !Self.purposesWithout.contains(partition.purpose)
        else { return false }
        guard partition.type.isEmpty else { return true }
        // One that was never written to holds nothing.
        var position = partition.bytes.lowerBound
        while position < partition.bytes.upperBound {
            let extents = try reader.extents(
                from: position, byteCount: partition.bytes.upperBound - position)
            guard !extents.isEmpty else { return false }
            if extents.contains(where: { !$0.isZero }) { return true }
            position += extents.reduce(0) { $0 + $1.byteCount }
        }
        return false
    }

    // MARK: What lies where

    private func partitions(in reader: SnapshotReader) throws -> [Partition] {
        if let layout, try holds(layout, in: reader) { return layout.partitions }
        let partitions = try PartitionTable(
            of: reader, sectorByteCount: reader.sectorByteCount
        ).partitions
        let isTable = partitions.contains { $0.number != nil }
        // Tables of logical partitions lie between these.
        let isChain = partitions.contains { $0.purpose.hasPrefix("0x") && $0.number ?? 0 > 4 }
        var places: [UInt64] = []
        if isTable {
            places += stride(
                from: 0, to: min(Self.tableByteCount, reader.byteCount),
                by: reader.blockByteCount
            ).map { UInt64($0) }
            if reader.byteCount > 0 { places.append(reader.byteCount - 1) }
        }
        for partition in partitions
        where !FileSystemChoice.readableTypes.contains(partition.type) {
            places += [
                partition.bytes.lowerBound, partition.bytes.lowerBound + Self.tableByteCount,
            ]
        }
        let blocks = Set(
            places.filter { $0 < reader.byteCount }.map { $0 / UInt64(reader.blockByteCount) })
        layout =
            isChain
            ? nil
            : Layout(
                byteCount: reader.byteCount, partitions: partitions,
                numbers: try blocks.map { ($0, try reader.number(ofBlock: $0)) },
                identities: try partitions.map { try FileSeries.identity(of: $0, in: reader) })
        return partitions
    }

    private func holds(_ layout: Layout, in reader: SnapshotReader) throws -> Bool {
        guard reader.byteCount == layout.byteCount,
            try layout.numbers.allSatisfy({ try reader.number(ofBlock: $0.block) == $0.number })
        else { return false }
        for (partition, identity) in zip(layout.partitions, layout.identities)
        where FileSystemChoice.readableTypes.contains(partition.type) {
            guard try FileSeries.identity(of: partition, in: reader) == identity else {
                return false
            }
        }
        return true
    }
}
