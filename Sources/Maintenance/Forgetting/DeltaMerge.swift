internal import BlockModel
internal import Repository
internal import RepositoryFormat

/// Deltas in a row as one: at each block the last that names it counts.
///
/// Maps are read and written piece by piece, in block order.
struct DeltaMerge {
    private let repository: Repository
    private let deltas: [KnownDelta]
    /// The newest first.
    private var cursors: [MapCursor]

    /// Opens deltas of which each begins where the one before it ends; at least one.
    init(_ deltas: [KnownDelta], of repository: Repository) throws {
        self.repository = repository
        self.deltas = deltas
        // Blocks behind the smallest size from a delta on were cut off, and named again when they came
        // back.
        var limit = UInt64.max
        var cursors: [MapCursor] = []
        for delta in deltas.reversed() {
            limit = min(
                limit, repository.blockSize.blockCount(coveringByteCount: delta.head.toByteCount))
            cursors.append(try MapCursor(delta, of: repository, endBlock: limit))
        }
        self.cursors = cursors
    }

    /// Writes the merged delta; it is durable when this returns.
    mutating func write(
        identifiers: any IdentifierSource,
        partByteLimit: Int = Format.partByteLimit
    ) throws -> KnownDelta {
        guard let first = deltas.first, let last = deltas.last else {
            preconditionFailure("no delta to merge")
        }
        let writer = DeltaWriter(
            repository: repository, partByteLimit: partByteLimit, identifiers: identifiers)
        try forEachRun { kind, blocks, digests in
            if kind == .data {
                for (offset, digest) in digests.enumerated() {
                    try writer.append(dataBlock: blocks.lowerBound + UInt64(offset), digest: digest)
                }
            } else {
                try writer.append(
                    kind, firstBlock: blocks.lowerBound, blockCount: UInt64(blocks.count))
            }
        }
        try writer.finishMap()
        let head = DeltaHead(
            from: first.head.from, fromGeneration: first.name.from,
            fromByteCount: first.head.fromByteCount, toGeneration: last.name.to,
            facts: last.head.facts)
        let name = DeltaName(
            volume: last.name.volume, from: first.name.from, to: last.name.to,
            id: identifiers.next())
        return try writer.commitAnother(name, head: head)
    }

    /// Calls `body` with what the merged map has, in block order.
    mutating func forEachRun(
        _ body: (RunKind, Range<UInt64>, ArraySlice<Digest>) throws -> Void
    ) throws {
        var position: UInt64 = 0
        while true {
            var end = UInt64.max
            var found: Int?
            for index in cursors.indices {
                guard let run = try cursors[index].run(from: position) else { continue }
                if run.lowerBound <= position {
                    found = index
                    end = min(end, run.upperBound)
                    break
                }
                // A newer delta has the say from there on.
                end = min(end, run.lowerBound)
            }
            guard let found else {
                guard end < .max else { return }
                position = end
                continue
            }
            let blocks = position..<end
            try body(cursors[found].kind, blocks, cursors[found].digests(of: blocks))
            position = end
        }
    }
}

/// Goes through the runs of one delta.
private struct MapCursor {
    private let repository: Repository
    private let delta: KnownDelta
    private let head: DeltaHead
    private let endBlock: UInt64
    private var map: DeltaMap
    private var nextPart = 0
    private var runIndex = 0
    /// Where the digests of the run begin.
    private var digestIndex = 0

    init(_ delta: KnownDelta, of repository: Repository, endBlock: UInt64) throws {
        self.repository = repository
        self.delta = delta
        self.endBlock = endBlock
        (head, map) = try UnreadableDelta.telling(delta) { try repository.readDelta(delta.name) }
    }

    var kind: RunKind { map.runs[runIndex].kind }

    /// Blocks of the first run that ends behind `position`; nil when there is none.
    mutating func run(from position: UInt64) throws -> Range<UInt64>? {
        while true {
            while runIndex < map.runs.count {
                let run = map.runs[runIndex]
                let end = min(run.endBlock, endBlock)
                if run.firstBlock >= endBlock { return nil }
                if end > position { return run.firstBlock..<end }
                if run.kind == .data { digestIndex += Int(run.blockCount) }
                runIndex += 1
            }
            guard nextPart < head.parts.count else { return nil }
            map = try UnreadableDelta.telling(delta) {
                try repository.readPart(head.parts[nextPart], of: head)
            }
            nextPart += 1
            runIndex = 0
            digestIndex = 0
        }
    }

    func digests(of blocks: Range<UInt64>) -> ArraySlice<Digest> {
        let run = map.runs[runIndex]
        guard run.kind == .data else { return [] }
        let first = digestIndex + Int(blocks.lowerBound - run.firstBlock)
        return map.digests[first..<first + blocks.count]
    }
}
