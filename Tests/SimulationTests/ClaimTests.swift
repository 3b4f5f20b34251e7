import BlockModel
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryIndex
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// What packs claim frees nothing: a place counts for a deletion when its bytes were proved.
@Suite struct ClaimTests {
    /// What a pack says of blocks that others have.
    enum Claim: CaseIterable, Sendable {
        /// In full; the frames' bytes are others.
        case otherBytes
        /// In full; the frames' checksums do not fit.
        case badFrames
        /// In full, and rightly so, until the frames rotted.
        case rottenCopy
        /// As patches of less depth, whose frames cannot be read.
        case rottenPatch
        /// As patches of less depth of a block that is there, whose bytes are no patch.
        case falsePatch
        /// In full, each many times in one pack.
        case manyTimes
    }

    /// A repository with chains of patches; the images of its snapshots.
    private static func makeRepository(
        _ store: MemoryStore,
        seed: UInt64
    ) throws -> (lab: Lab, images: [[UInt8]]) {
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.workerCount = 1
        var generator = SeededGenerator(seed: seed)
        var image = generator.bytes(30 * 4096)
        var images = [image]
        try lab.capture(image)
        for round in 1..<6 {
            for block in 0..<16 { image[block * 4096 + 31 * round] ^= 0x55 }
            images.append(image)
            try lab.capture(image)
        }
        return (lab, images)
    }

    /// The blocks of an image, by digest.
    private static func blocks(of image: [UInt8]) -> [(digest: Digest, bytes: [UInt8])] {
        let hasher = BlockHasher()
        return stride(from: 0, to: image.count, by: 4096).map { start in
            let bytes = Array(image[start..<start + 4096])
            return (hasher.digest(of: bytes.span.bytes), bytes)
        }
    }

    private static func forge(_ claim: Claim, of image: [UInt8], _ forger: Forger) throws {
        let blocks = blocks(of: image)
        let garbage = [UInt8](repeating: 7, count: 4096)
        let frames = blocks.map { digest, bytes in
            switch claim {
            case .otherBytes: Forger.Frame(.stored, [digest], payload: garbage)
            case .badFrames: Forger.Frame(.stored, [digest], payload: garbage, isRotten: true)
            case .rottenCopy: Forger.Frame(.stored, [digest], payload: bytes, isRotten: true)
            case .rottenPatch:
                Forger.Frame(
                    .patch, depth: 1, [digest], prefixes: [blocks[29].digest],
                    payload: [1, 2, 3], isRotten: true)
            case .falsePatch:
                Forger.Frame(
                    .patch, depth: 1, [digest], prefixes: [blocks[29].digest],
                    payload: [1, 2, 3])
            case .manyTimes:
                Forger.Frame(
                    .stored, [digest, digest, digest], payload: garbage + garbage + garbage)
            }
        }
        try forger.storePack(frames)
    }

    /// Whatever the owner's next commands are, every snapshot is restored from an index that knows
    /// nothing.
    private static func maintain(
        _ lab: Lab,
        _ store: MemoryStore,
        _ kept: [[UInt8]],
        _ note: Comment
    ) throws {
        for round in 0..<3 {
            try lab.forget([], isThorough: true)
            let summary = try lab.prune(.everything)
            #expect(summary.damagedPacks.isEmpty, note)
            let fresh = try Lab(store)
            fresh.seed = UInt64(50 + round)
            #expect(try fresh.restoreAll() == kept, note)
            if round == 1 { lab.deleteIndex() }
        }
        #expect(try lab.check().findings.filter { !$0.isHarmless } == [], note)
    }

    @Test(
        "A pack that claims blocks makes nothing dead that true patches need",
        arguments: Claim.allCases, [false, true])
    func claims(claim: Claim, isFresh: Bool) throws {
        for seed in 0..<3 as Range<UInt64> {
            let store = MemoryStore()
            let (lab, images) = try Self.makeRepository(store, seed: seed)
            let shown = try lab.timeline().snapshots
            try lab.forget(shown.prefix(2).map(\.id), isThorough: true)
            if seed == 1 { try lab.prune(.everything) }
            let forger = Forger(lab.repository, seed: seed)
            for image in images.dropFirst(2) { try Self.forge(claim, of: image, forger) }
            if seed == 2 { for image in images { try Self.forge(claim, of: image, forger) } }
            if isFresh { lab.deleteIndex() }
            try Self.maintain(lab, store, Array(images.dropFirst(2)), "\(claim) \(seed)")
        }
    }

    @Test("What is not needed any more goes, though packs claim it, and so do the packs that lie")
    func space() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.makeRepository(store, seed: 9)
        let before = Set(store.objects.keys.filter { $0.hasPrefix("packs/") })
        let forger = Forger(lab.repository, seed: 9)
        for image in images { try Self.forge(.otherBytes, of: image, forger) }
        let forged = Set(store.objects.keys.filter { $0.hasPrefix("packs/") }).subtracting(before)
        let shown = try lab.timeline().snapshots
        try lab.forget(shown.dropLast().map(\.id), isThorough: true)
        for _ in 0..<2 { try lab.prune(.everything) }
        #expect(try lab.restoreAll() == [images[5]])
        // Where nothing was to be deleted for their sake, a check of the data finds them.
        try lab.index().learn(from: try lab.check().evidence)
        for _ in 0..<2 { try lab.prune(.everything) }
        #expect(try lab.restoreAll() == [images[5]])
        #expect(forged.isDisjoint(with: store.objects.keys))
        // A full copy that is what it says does free what patches are patches of.
        let copy = try forger.storePack(
            Self.blocks(of: images[5]).map { Forger.Frame(.stored, [$0.digest], payload: $0.bytes) }
        )
        for _ in 0..<3 { try lab.prune(.everything) }
        #expect(try lab.restoreAll() == [images[5]])
        #expect(store.objects.filter { $0.key.hasPrefix("packs/") }.count <= 5)
        _ = copy
    }

    @Test("A pack whose table is lost stays while others only claim what its frames have")
    func lostTable() throws {
        let store = MemoryStore()
        let (lab, images) = try Self.makeRepository(store, seed: 12)
        let sound = store.objects
        let forger = Forger(lab.repository, seed: 12)
        for image in images { try Self.forge(.otherBytes, of: image, forger) }
        let packs = sound.keys.filter { $0.hasPrefix("packs/") }.sorted()
        for name in packs {
            // The footer: nothing but the frames is left.
            let count = try #require(sound[name]).count
            store.objects[name]?[count - 3] ^= 1
        }
        lab.deleteIndex()
        for _ in 0..<2 { _ = try? lab.prune(.everything) }
        for name in packs { #expect(store.objects[name] != nil) }
        // They can be copied back, or salvaged.
        for name in packs { store.objects[name] = sound[name] }
        lab.deleteIndex()
        try Self.maintain(lab, store, images, "copied back")
    }
}
