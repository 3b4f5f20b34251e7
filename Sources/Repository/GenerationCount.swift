internal import BlockModel
internal import RepositoryFormat

/// How far a volume has counted its snapshots; worked out without I/O.
///
/// A delta that is joined to another one, or to nothing, was made from what was there: its number
/// counts, whether it can be reached or not. Anybody who may create an object can write a higher
/// number into the name of a marker, or of a delta that is joined to none. Such a number counts if
/// it is at most ``reach`` above: no more can have been lost without a trace between two backups.
/// What lies further off may tell of a loss, and decides nothing.
struct GenerationCount {
    static let reach: Generation = 4096

    /// The highest number of a delta that is joined; zero where there is none.
    let joined: Generation
    private let joinedNames: Set<DeltaName>

    init(_ deltas: [KnownDelta]) {
        let starts = Set(deltas.map(\.head.from))
        let ends = Set(deltas.map(\.head.to))
        let joinedDeltas = deltas.filter { delta in
            delta.head.from == .nothing
                || ends.contains(delta.head.from) || starts.contains(delta.head.to)
        }
        joinedNames = Set(joinedDeltas.map(\.name))
        joined = joinedDeltas.map(\.name.to).max() ?? 0
    }

    func isJoined(_ delta: KnownDelta) -> Bool { joinedNames.contains(delta.name) }

    /// Whether a number that nothing is joined to counts.
    func counts(_ generation: Generation) -> Bool {
        generation <= joined || generation - joined <= Self.reach
    }

    /// Whether what has that number is too far off to be taken for damage.
    ///
    /// Where nothing is joined there is nothing to be far from: what is left may be all that tells of
    /// a volume.
    func isFar(_ generation: Generation) -> Bool { joined > 0 && !counts(generation) }

    /// The highest number that counts.
    func highest(_ others: some Sequence<Generation>) -> Generation {
        others.filter(counts).reduce(joined, max)
    }
}
