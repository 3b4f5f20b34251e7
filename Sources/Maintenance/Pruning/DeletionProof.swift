internal import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import Packs
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex

/// Proves the places that a prune relies on for what it deletes, each once in a run.
///
/// What fails counts as not there from then on: in the live counts, so that what the block is a patch of
/// elsewhere lives, and in what is known of rot.
final class DeletionProof {
    private let repository: Repository
    private let index: Index
    private let reader: BlockReader
    private let scratch: AlignedBuffer
    private var proved: Set<BlockNumber> = []
    /// Packs that do not hold what their tables say.
    private(set) var falsePacks: Set<ObjectID> = []

    /// Blocks that are looked for at once, which bounds memory.
    private static let together = 1 << 15

    init(_ repository: Repository, _ index: Index) throws {
        self.repository = repository
        self.index = index
        reader = try BlockReader(repository: repository, index: index, readsWholeFrames: true)
        scratch = try AlignedBuffer(byteCount: repository.blockSize.byteCount)
    }

    /// Proves what the deletion of packs relies on.
    ///
    /// - Parameters:
    ///   - excludingPacks: numbers of the packs.
    ///   - idle: called before each block.
    /// - Returns: whether all of it is there; if not, the live counts have changed.
    /// - Throws: ``RepositoryError``, and what `idle` throws.
    func run(excludingPacks: Set<UInt32>, idle: () throws -> Void) throws -> Bool {
        guard !excludingPacks.isEmpty else { return true }
        var failed: [Place] = []
        var start: BlockNumber? = 0
        while let first = start {
            let (found, next) = try index.reliances(
                onPacks: excludingPacks, from: first, limit: Self.together)
            for reliance in found where !proved.contains(reliance.number) {
                try idle()
                if isProved(reliance) {
                    proved.insert(reliance.number)
                } else {
                    failed += reliance.places
                }
            }
            start = next
        }
        guard !failed.isEmpty else { return true }
        for place in failed {
            index.noteBadFrame(at: place)
            if let pack = index.pack(place.pack) { falsePacks.insert(pack.id) }
        }
        try index.leaveOut(failed, of: repository)
        try index.saveBadFrames()
        return false
    }

    private func isProved(_ reliance: Index.Reliance) -> Bool {
        reliance.places.contains { place in
            (try? reader.prove(place, reliance.digest, scratch: scratch)) != nil
        }
    }
}

extension Prune {
    /// Proves what the deletion of packs relies on; false where some of it failed.
    func isProved(excludingPacks: Set<UInt32>) throws -> Bool {
        let proof = try reliances ?? DeletionProof(repository, index)
        reliances = proof
        return try proof.run(excludingPacks: excludingPacks) {
            if Interruption.isRequested { throw Interrupted.ofPrune }
            renewHold()
        }
    }

    /// The same just before packs go: what others added since it was planned must not count.
    func requireProved(_ packs: [(tally: PackTally, table: PackTable)]) throws {
        guard try isProved(excludingPacks: Set(packs.map(\.tally.number))) else {
            throw RepositoryError(
                .failed,
                "new packs appeared during this prune whose data does not match their tables; "
                    + "nothing more was deleted: prune again")
        }
    }
}
