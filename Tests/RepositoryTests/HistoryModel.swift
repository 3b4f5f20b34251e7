import BlockModel
import Repository
import RepositoryFormat
import RepositoryIndex
import RepositoryModel
import TestKit

/// A volume of random contents that is captured again and again: what an index must agree with.
struct HistoryModel {
    enum Content: Hashable {
        case zero, free
        case data(Digest)
    }

    /// One snapshot: its blocks, and its facts with the image digest of those.
    struct State {
        var generation: Generation
        var blocks: [Content]
        var facts: SnapshotFacts
    }

    let home: Home
    var states: [State] = []
    private(set) var deltas: [KnownDelta] = []
    var generator: SeededGenerator
    private let tree = ImageDigestTree(blockSize: Home.blockSize)

    init(seed: UInt64) throws {
        home = try Home(seed: seed)
        generator = SeededGenerator(seed: seed)
    }

    var timeline: Timeline {
        get throws { try home.repository.timeline(of: Home.volume) }
    }

    // MARK: Going on

    /// Captures the base: mostly zeros, with data and free blocks in runs.
    mutating func begin(blockCount: Int) throws {
        var blocks = [Content](repeating: .zero, count: blockCount)
        for _ in 0..<6 { change(&blocks, in: 0..<blockCount, most: blockCount / 4) }
        try commit(blocks, after: nil)
    }

    /// Captures the next snapshot, after a change of a random kind: a few blocks, many blocks, a
    /// run of zeros, another size, or nothing.
    mutating func step() throws {
        guard let last = states.last else { return }
        try commit(changed(last.blocks), after: last)
    }

    mutating func changed(_ before: [Content]) -> [Content] {
        var blocks = before
        switch generator.next() % 8 {
        case 0: break
        case 1:
            let removed = Int.random(in: 0..<blocks.count, using: &generator)
            blocks.removeLast(removed)
        case 2:
            let added = Int.random(in: 1...5000, using: &generator)
            blocks += [Content](repeating: .zero, count: added)
            change(&blocks, in: before.count..<blocks.count, most: added)
        case 3: change(&blocks, in: blocks.indices, most: blocks.count)
        default:
            for _ in 0..<Int.random(in: 1...20, using: &generator) {
                change(&blocks, in: blocks.indices, most: 8)
            }
        }
        return blocks
    }

    private mutating func change(_ blocks: inout [Content], in range: Range<Int>, most: Int) {
        guard !range.isEmpty else { return }
        let start = Int.random(in: range, using: &generator)
        let end = min(start + Int.random(in: 0...max(1, most), using: &generator), range.upperBound)
        let kind = generator.next() % 5
        for block in start..<end {
            switch kind {
            case 0: blocks[block] = .zero
            case 1: blocks[block] = .free
            default:
                // Few digests, so that blocks repeat.
                let word = UInt64.random(in: 0..<3000, using: &generator)
                blocks[block] = .data(Digest(words: word &* 0x9E37_79B9_7F4A_7C15, 0, 0, word))
            }
        }
    }

    // MARK: Committing

    /// Writes the delta from `before` to a snapshot with `blocks`; a fork gives its own number.
    @discardableResult
    mutating func commit(
        _ blocks: [Content],
        after before: State?,
        as generation: Generation? = nil,
        imageDigest: Digest? = nil,
        partByteLimit: Int = Format.partByteLimit
    ) throws -> KnownDelta {
        let generation = generation ?? (before?.generation ?? 0) + 1
        var facts = SnapshotFacts(
            time: Timestamp(seconds: Int64(generation), nanoseconds: UInt32(states.count)),
            byteCount: UInt64(blocks.count * Home.blockSize.byteCount),
            source: SourceIdentity(
                kind: .file, machine: "m", path: "/disk", serial: "", sectorByteCount: 512),
            method: before == nil ? .base : .fullComparison, consistency: .atRest,
            parent: before?.facts.snapshotID ?? .nothing,
            parentGeneration: before?.generation ?? 0, tags: [])
        facts.imageDigest = imageDigest ?? root(of: blocks)
        let state = State(generation: generation, blocks: blocks, facts: facts)
        let delta = try write(from: before, to: state, partByteLimit: partByteLimit)
        states.append(state)
        deltas.append(delta)
        return delta
    }

    /// Writes a delta that leads from one state to another, whatever is between them.
    mutating func write(
        from before: State?,
        to state: State,
        partByteLimit: Int = Format.partByteLimit
    ) throws -> KnownDelta {
        let seed = generator.next()
        let writer = DeltaWriter(
            repository: home.repository, partByteLimit: partByteLimit,
            identifiers: SeededIdentifiers(seed: seed))
        let old = before?.blocks ?? []
        for (block, content) in state.blocks.enumerated() {
            if block < old.count, old[block] == content { continue }
            switch content {
            case .zero: try writer.append(.zero, firstBlock: UInt64(block), blockCount: 1)
            case .free: try writer.append(.free, firstBlock: UInt64(block), blockCount: 1)
            case .data(let digest): try writer.append(dataBlock: UInt64(block), digest: digest)
            }
        }
        try writer.finishMap()
        let head = DeltaHead(
            from: before?.facts.snapshotID ?? .nothing, fromGeneration: before?.generation ?? 0,
            fromByteCount: before?.facts.byteCount ?? 0, toGeneration: state.generation,
            facts: state.facts)
        let name = DeltaName(
            volume: Home.volume, from: head.fromGeneration, to: state.generation,
            id: ObjectID(from: &generator))
        return try writer.commit(name, head: head).delta
    }

    // MARK: What must be found

    func digests(of blocks: [Content]) -> [Digest] {
        blocks.map { if case .data(let digest) = $0 { digest } else { tree.zeroBlock } }
    }

    var zeroDigest: Digest { tree.zeroBlock }

    func leaves(of blocks: [Content]) -> [Digest] {
        let digests = digests(of: blocks)
        return stride(from: 0, to: digests.count, by: Page.blockCount).map { start in
            let page = Array(digests[start..<min(start + Page.blockCount, digests.count)])
            return tree.leaf(page: UInt64(start / Page.blockCount), digests: page.span)
        }
    }

    func root(of blocks: [Content]) -> Digest {
        tree.root(
            leaves: leaves(of: blocks),
            byteCount: UInt64(blocks.count * Home.blockSize.byteCount), blockSize: Home.blockSize)
    }

    /// The contents that an index has at a generation of a history.
    static func contents(
        _ index: Index,
        _ history: History,
        _ state: State,
        zeroDigest: Digest
    ) throws -> [Content] {
        let count = UInt64(state.blocks.count)
        var contents: [Content] = []
        for page in 0..<Page.count(forBlockCount: count) {
            let blocks = try index.blocks(
                of: history.number, page: page, generation: state.generation,
                blockCount: Page.blockCount(ofPage: page, volumeBlockCount: count),
                zeroDigest: zeroDigest)
            for slot in 0..<blocks.blockCount {
                switch blocks.numbers[slot] {
                case SpecialBlock.zero: contents.append(.zero)
                case SpecialBlock.free: contents.append(.free)
                default: contents.append(.data(blocks.digests[slot]))
                }
            }
        }
        return contents
    }
}
