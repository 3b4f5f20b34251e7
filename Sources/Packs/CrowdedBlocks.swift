internal import RepositoryFormat
internal import RepositoryIndex

/// What one reader remembers of blocks with so many places that looking them up takes long.
struct CrowdedBlocks {
    /// Blocks with fewer places are looked up each time.
    static let placeCount = 8
    private static let limit = 1 << 14

    private var proved: [BlockNumber: Place] = [:]
    /// Of each, the depth below which no place gives it.
    private var hopeless: [BlockNumber: UInt8] = [:]
    private var generation: UInt64 = 0

    mutating func keepUp(with failures: FailedPlaces) {
        let now = failures.generation
        guard now != generation else { return }
        self = CrowdedBlocks()
        generation = now
    }

    func isHopeless(_ number: BlockNumber, below depth: UInt8) -> Bool {
        hopeless[number].map { depth <= $0 } ?? false
    }

    func proved(_ number: BlockNumber, below depth: UInt8) -> Place? {
        proved[number].flatMap { $0.depth < depth ? $0 : nil }
    }

    mutating func noteProved(_ number: BlockNumber, _ place: Place?) {
        if proved.count >= Self.limit { proved.removeAll() }
        proved[number] = place
    }

    mutating func noteHopeless(_ number: BlockNumber, below depth: UInt8) {
        if hopeless.count >= Self.limit { hopeless.removeAll() }
        hopeless[number] = max(depth, hopeless[number] ?? 0)
    }
}
