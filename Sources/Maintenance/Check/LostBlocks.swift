internal import BlockModel
internal import Repository
internal import RepositoryFormat
internal import RepositoryModel

/// Digests whose bytes nothing gives any more, and the snapshots that need them.
struct LostBlocks {
    /// More are not kept, neither digests nor blocks of one snapshot that have them; what needs only
    /// those is then not named.
    static let limit = 1 << 20

    private var reasons: [Digest: String] = [:]
    /// Those that a snapshot needs.
    private(set) var needed: Set<Digest> = []
    private(set) var isTruncated = false

    var isEmpty: Bool { reasons.isEmpty }

    func contains(_ digest: Digest) -> Bool { reasons[digest] != nil }

    mutating func add(_ digest: Digest, _ reason: String) {
        guard reasons.count < Self.limit else {
            isTruncated = true
            return
        }
        if reasons[digest] == nil { reasons[digest] = reason }
    }

    /// The snapshots of a volume that lack blocks, neighbours that lack as many together.
    mutating func snapshots(lackingIn timeline: Timeline, of repository: Repository) -> [Finding] {
        var findings: [Finding] = []
        for (snapshot, lack) in lacks(in: timeline, repository) {
            let generation = snapshot.to
            guard let lack, lack.count > 0 else { continue }
            if let last = findings.last?.lack, last.generations.upperBound + 1 == generation,
                last.blockCount == lack.count
            {
                findings.removeLast()
                findings.append(
                    Self.finding(
                        timeline.volume, last.generations.lowerBound...generation, lack))
            } else {
                findings.append(Self.finding(timeline.volume, generation...generation, lack))
            }
        }
        return findings
    }

    /// How many blocks each snapshot of a volume lacks, of those that lack any.
    mutating func counts(
        in timeline: Timeline,
        of repository: Repository
    ) -> [SnapshotID: UInt64] {
        var counts: [SnapshotID: UInt64] = [:]
        for (snapshot, lack) in lacks(in: timeline, repository) {
            if let lack, lack.count > 0 { counts[snapshot.id] = lack.count }
        }
        return counts
    }

    private static func finding(
        _ volume: VolumeName,
        _ generations: ClosedRange<Generation>,
        _ lack: (count: UInt64, reason: String)
    ) -> Finding {
        let isOne = generations.count == 1
        let blocks = lack.count == 1 ? "1 block" : "\(lack.count) blocks"
        return Finding(
            subject: "\(volume)@\(generations.lowerBound)"
                + (isOne ? "" : " to \(volume)@\(generations.upperBound)"),
            reason: "cannot be restored completely: \(isOne ? "" : "each ")lacks \(blocks) "
                + "(\(lack.reason))",
            lack: Finding.Lack(
                volume: volume, generations: generations, blockCount: lack.count))
    }

    private typealias Lack = (
        snapshot: (id: SnapshotID, to: Generation), lack: (count: UInt64, reason: String)?
    )

    /// What each restorable snapshot lacks, in order of generation: the maps are followed from
    /// the base on, with the blocks that are lost at each moment.
    private mutating func lacks(
        in timeline: Timeline,
        _ repository: Repository
    ) -> [Lack] {
        var states: [SnapshotID: [UInt64: Digest]] = [.nothing: [:]]
        var users: [SnapshotID: Int] = [:]
        for delta in timeline.deltas { users[delta.head.from, default: 0] += 1 }
        let hidden = Set(timeline.forgotten.map(\.id))
        var lacks: [Lack] = []
        for delta in timeline.deltas {
            guard var state = states[delta.head.from] else { continue }
            users[delta.head.from, default: 1] -= 1
            if users[delta.head.from] == 0 { states[delta.head.from] = nil }
            guard states[delta.head.to] == nil else { continue }
            let isHidden = hidden.contains(delta.head.to)
            // A map that cannot be read is a finding of its own.
            try? repository.forEachMap(of: delta.name) { map, _ in apply(map, to: &state) }
            let end = repository.blockSize.blockCount(
                coveringByteCount: delta.head.facts.byteCount)
            if !state.isEmpty { state = state.filter { $0.key < end } }
            // What only forgotten snapshots have, nobody needs.
            if !isHidden {
                needed.formUnion(state.values)
                let reason = state.first.flatMap { reasons[$0.value] }
                lacks.append(
                    (
                        (delta.head.to, delta.name.to),
                        reason.map { (UInt64(state.count), $0) }
                    ))
            }
            if users[delta.head.to, default: 0] > 0 { states[delta.head.to] = state }
        }
        return lacks
    }

    private mutating func apply(_ map: DeltaMap, to state: inout [UInt64: Digest]) {
        var position = 0
        for run in map.runs {
            let blocks = run.firstBlock..<run.endBlock
            if !state.isEmpty {
                if run.blockCount > UInt64(state.count) {
                    state = state.filter { !blocks.contains($0.key) }
                } else {
                    for block in blocks { state[block] = nil }
                }
            }
            guard run.kind == .data else { continue }
            for block in blocks {
                let digest = map.digests[position]
                position += 1
                guard reasons[digest] != nil else { continue }
                if state.count < Self.limit { state[block] = digest } else { isTruncated = true }
            }
        }
    }
}
