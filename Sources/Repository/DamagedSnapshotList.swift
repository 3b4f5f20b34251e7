internal import BlockModel
internal import RepositoryFormat
internal import RepositoryModel

/// Collects damaged snapshots, each once.
struct DamagedSnapshotList {
    let volume: VolumeName
    let count: GenerationCount
    private let reached: Set<SnapshotID>
    private var byID: [SnapshotID: DamagedSnapshot] = [:]
    private var unknown: [DamagedSnapshot] = []
    /// What is shown, and is not known to be damage.
    private(set) var far: [DamagedSnapshot] = []

    init(volume: VolumeName, reached: Set<SnapshotID>, count: GenerationCount) {
        self.volume = volume
        self.reached = reached
        self.count = count
    }

    mutating func addFar(
        _ generation: Generation,
        _ id: SnapshotID?,
        _ facts: SnapshotFacts?,
        _ reason: String
    ) {
        guard id.map({ !reached.contains($0) }) ?? true else { return }
        far.append(
            DamagedSnapshot(generation: generation, id: id, facts: facts, reason: reason))
    }

    mutating func add(
        _ generation: Generation,
        _ id: SnapshotID,
        _ facts: SnapshotFacts?,
        _ reason: String
    ) {
        guard !reached.contains(id) else { return }
        if let known = byID[id], known.facts != nil || facts == nil { return }
        byID[id] = DamagedSnapshot(
            generation: generation, id: id, facts: facts, reason: reason)
    }

    mutating func addUnknown(_ generation: Generation, _ reason: String) {
        unknown.append(
            DamagedSnapshot(generation: generation, id: nil, facts: nil, reason: reason))
    }

    var list: [DamagedSnapshot] {
        let known = Set(byID.values.map(\.generation))
        return (byID.values + unknown.filter { !known.contains($0.generation) }).sorted {
            ($0.generation, $0.id?.hexadecimal ?? "") < ($1.generation, $1.id?.hexadecimal ?? "")
        }
    }
}
