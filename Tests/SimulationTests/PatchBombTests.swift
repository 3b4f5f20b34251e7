import BlockModel
import Maintenance
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// Packs that are made to multiply work: what `check` and `repair` do grows as the packs do.
@Suite struct PatchBombTests {
    /// How the patches of a bomb lean on each other; the places of each block are many.
    enum Shape: CaseIterable, Sendable {
        /// Every block is a patch of the one before; the first is nowhere.
        case baseless
        /// The same upon a block that is there; no patch gives what the table says.
        case wrong
        /// The same, of blocks that true patches give.
        case beside
        /// Each patch of a depth is a patch of another block of the depth below.
        case fanned
    }

    private static func digest(_ depth: UInt8, _ number: Int = 0) -> Digest {
        Digest(words: 0xB0B, UInt64(depth), UInt64(number), 1)
    }

    /// A repository with a chain of true patches; gives the digests of a block's versions.
    private static func makeLab(_ store: any ObjectStore) throws -> (lab: Lab, images: [[UInt8]]) {
        let lab = try Lab(store)
        lab.workerCount = 1
        var generator = SeededGenerator(seed: 3)
        var images = [generator.bytes(8 * 4096)]
        for round in 1...9 {
            var image = images[round - 1]
            image[50 * round] ^= 0x55
            images.append(image)
        }
        for image in images { try lab.capture(image) }
        return (lab, images)
    }

    /// Stores patches of all depths, `width` of each: of odd and of even depths in packs of their own, so
    /// that each that is decoded is a read of the store.
    private static func store(
        _ shape: Shape,
        width: Int,
        _ lab: Lab,
        _ forger: Forger
    ) throws {
        let versions = try lab.timeline().deltas.map { delta in
            var first = digest(0)
            try lab.repository.forEachMap(of: delta.name) { map, _ in
                first = map.digests.first ?? first
            }
            return first
        }
        func block(_ depth: UInt8, _ number: Int) -> Digest {
            switch shape {
            case .baseless: digest(depth)
            case .wrong: depth == 0 ? versions[0] : digest(depth)
            case .beside: versions[Int(depth)]
            case .fanned: depth == 0 ? versions[0] : digest(depth, number)
            }
        }
        for parity in [1, 0] as [UInt8] {
            var frames: [Forger.Frame] = []
            for depth in 1...8 as ClosedRange<UInt8> where depth % 2 == parity {
                for number in 0..<width {
                    frames.append(
                        Forger.Frame(
                            .patch, depth: depth, [block(depth, number)],
                            prefixes: [block(depth - 1, (number * 7 + 1) % width)],
                            payload: [1, 2, 3, UInt8(number % 251)]))
                }
            }
            // Packs of very many blocks go into the index in another way than these.
            for start in stride(from: 0, to: frames.count, by: 4000) {
                try forger.storePack(Array(frames[start..<min(start + 4000, frames.count)]))
            }
        }
        // Somebody who can create objects can say that a snapshot has all these blocks.
        var map = DeltaMap()
        let named = (0..<min(width, 64)).map { block(8, $0) }
        for (position, digest) in named.enumerated() {
            map.append(dataBlock: UInt64(position), digest: digest)
        }
        let tip = try #require(try lab.timeline().tip)
        var facts = tip.facts
        facts.byteCount = UInt64(named.count * 4096)
        facts.parent = .nothing
        facts.parentGeneration = 0
        let tree = ImageDigestTree(blockSize: lab.repository.blockSize)
        facts.imageDigest = tree.root(
            leaves: [tree.leaf(page: 0, digests: named.span)], byteCount: facts.byteCount,
            blockSize: lab.repository.blockSize)
        var head = DeltaHead(
            from: .nothing, fromGeneration: 0, fromByteCount: 0, toGeneration: tip.generation + 1,
            facts: facts)
        head.dataBlockCount = UInt64(named.count)
        try forger.storeDelta(lab.volume, from: 0, to: tip.generation + 1, head: head, map: map)
    }

    /// What a check and a repair beside a bomb of that width did.
    private static func work(
        _ shape: Shape,
        width: Int
    ) throws -> (readCount: Int, rowCount: Int) {
        let store = MemoryStore()
        let (lab, images) = try makeLab(store)
        try Self.store(shape, width: width, lab, Forger(lab.repository, seed: 1))
        let before = (store.readCount, lab.repository.lookups.rowCount)
        let report = try lab.check()
        if shape != .beside { #expect(!report.lostBlocks.isEmpty) }
        _ = try lab.repair()
        let work = (store.readCount - before.0, lab.repository.lookups.rowCount - before.1)
        lab.deleteIndex()
        for (snapshot, image) in zip(try lab.timeline().snapshots, images) {
            #expect(try lab.restore(snapshot) == image)
        }
        return work
    }

    @Test("Patches that lean on each other cost work in proportion", arguments: Shape.allCases)
    func patches(shape: Shape) throws {
        let small = try Self.work(shape, width: 12)
        let large = try Self.work(shape, width: 48)
        #expect(large.readCount < 5 * small.readCount, "\(shape): \(small) and \(large)")
        #expect(large.rowCount <= 6 * small.rowCount, "\(shape): \(small) and \(large)")
        // Eight hops for each patch, some times over: in the check, its second look and the repair.
        #expect(large.readCount < 8 * 48 * 8 * 8, "\(shape): \(large)")
    }

    @Test("Where each block has few places, none of them is tried again and again")
    func fewPlaces() throws {
        // Each hop by each way would be seven to the power of eight.
        let work = try Self.work(.baseless, width: 7).readCount
        #expect(work < 8 * 7 * 8 * 8, "\(work) reads")
    }

    /// What fills a pack that has no table.
    enum Filling: CaseIterable, Sendable {
        /// Headers of frames that overlap, of which none is whole.
        case overlapping
        /// Whole frames of many equal blocks.
        case dense
    }

    @Test(
        "A pack without a table is salvaged in proportion to its size", arguments: Filling.allCases)
    func salvage(filling: Filling) throws {
        var counts: [Int] = []
        for size in filling == .dense ? [150_000] : [100_000, 400_000] {
            let store = MemoryStore()
            let (lab, images) = try Self.makeLab(store)
            let lost = Self.digest(9)
            let name = try Self.storePack(filling, byteCount: size, lab)
            let pack = try #require(ObjectNames.packID(of: name))
            let repair = try BlockRepair(
                [lost], of: lab.repository, try lab.index(), identifiers: SeededIdentifiers(seed: 8)
            )
            _ = try repair.salvage([pack])
            counts.append(repair.salvagedByteCount)
            #expect(repair.lost == [lost])
            lab.deleteIndex()
            #expect(try lab.restoreAll() == images)
        }
        switch filling {
        case .overlapping:
            // A frame that the last header may claim lies behind them.
            let end = Format.framePlainByteCount(try #require(BlockSize(byteCount: 4096)))
            #expect(counts.allSatisfy { $0 <= 4 * (400_100 + end) }, "\(counts)")
        case .dense:
            // No more blocks than any pack has.
            #expect(counts.allSatisfy { $0 <= 4096 * Format.packBlockLimit + 400_000 }, "\(counts)")
        }
        #expect(counts.allSatisfy { $0 > 0 })
    }

    /// Stores a pack whose table is gone.
    private static func storePack(_ filling: Filling, byteCount: Int, _ lab: Lab) throws -> String {
        let limit = Format.frameBlockLimit(lab.repository.blockSize)
        let payload = [UInt8](repeating: 0, count: filling == .dense ? 40 : limit * 4096)
        let header = FrameHeader(
            kind: filling == .dense ? .zstd : .stored, blockCount: limit,
            payloadByteCount: payload.count)
        var frame = [UInt8](repeating: 0, count: header.byteCount) + payload
        var span = frame.mutableSpan
        var raw = span.mutableBytes
        try header.encode(into: &raw)
        if filling == .overlapping {
            frame.removeLast(payload.count)
            // Its checksum is none.
            frame[24] ^= 1
        }
        let id = ObjectID(high: 0xB0B, low: UInt64(byteCount))
        let name = ObjectNames.pack(id)
        var bytes = try ObjectHeader(kind: .pack, name: name, identity: lab.repository.identity)
            .encoded()
        while bytes.count < byteCount { bytes += frame }
        // Room for what the last ones claim.
        if filling == .overlapping { bytes += payload }
        try lab.store.create(name, bytes)
        return name
    }
}
