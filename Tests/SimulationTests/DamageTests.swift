import BlockModel
import CaptureEngine
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryIndex
import RepositoryModel
import SimulationSupport
import SnapshotService
import TestKit
import Testing
import Workflows

/// One object at a time is flipped, cut, deleted or swapped.
@Suite struct DamageTests {
    private static let images: [[UInt8]] = {
        // Small and compressible, so that every byte of every object can be tried.
        var image = [UInt8](repeating: 0, count: 20_000)
        for index in 0..<12_000 { image[index] = UInt8(index / 700) }
        var second = image
        second[100] = 99
        var third = second
        third[9_000] = 1
        for index in 14_000..<20_000 { third[index] = 0x41 }
        return [image, second, third]
    }()

    private static func makeStore() throws -> MemoryStore {
        let store = MemoryStore()
        let lab = try Lab(store)
        lab.workerCount = 1
        // The second delta has its map in a part, the others have theirs inline.
        for (position, image) in images.enumerated() {
            lab.partByteLimit = position == 2 ? 60 : 16 << 20
            try lab.capture(image)
        }
        return store
    }

    /// Whether a check notices; damage to the configuration shows when it is opened.
    private static func isNoticed(_ store: MemoryStore) -> Bool {
        do {
            let lab = try Lab(store)
            lab.workerCount = 1
            return try !lab.check().findings.isEmpty
        } catch {
            return true
        }
    }

    /// Restores everything that is listed; wrong bytes without an error are the one sin.
    private static func restoresHonestly(_ store: MemoryStore) -> Bool {
        guard let lab = try? Lab(store), let timeline = try? lab.timeline() else { return true }
        lab.workerCount = 1
        for snapshot in timeline.snapshots {
            guard let bytes = try? lab.restore(snapshot) else { continue }
            if bytes != images[Int(snapshot.generation) - 1] { return false }
        }
        return true
    }

    @Test("The repository of these tests has every kind of object, and is sound")
    func sound() throws {
        let store = try Self.makeStore()
        let kinds = Set(store.objects.keys.map { $0.prefix { $0 != "/" } })
        #expect(kinds == ["config", "packs", "volumes", "parts"])
        #expect(!Self.isNoticed(store))
        #expect(try Lab(store).restoreAll() == Self.images)
    }

    @Test("A flipped bit in any byte of any object is found, and never gives wrong bytes")
    func flips() throws {
        let store = try Self.makeStore()
        let original = store.objects
        for (name, bytes) in original.sorted(by: { $0.key < $1.key }) {
            for position in bytes.indices {
                var damaged = bytes
                damaged[position] ^= 1 << UInt8(position % 8)
                store.objects[name] = damaged
                #expect(Self.isNoticed(store), "\(name) byte \(position)")
                if position % 5 == 0 {
                    #expect(Self.restoresHonestly(store), "\(name) byte \(position)")
                }
            }
            store.objects[name] = bytes
        }
    }

    @Test("Damage to blocks that are stored as patches of their likes is found")
    func likes() throws {
        let store = MemoryStore()
        let lab = try Lab(store, blockSize: 8192)
        lab.workerCount = 1
        // Between the copies lies more than a frame holds, of blocks that take little.
        let text = (0..<16_384).map { UInt8($0 / 300 * 37 % 251) }
        let between = (0..<130 * 8192).map { UInt8($0 >> 13) }
        let image = text + between + [UInt8](repeating: 0, count: 4096) + text
        try lab.capture(image)
        let original = store.objects
        let pack = try #require(try lab.repository.listPacks().first)
        let table = try lab.repository.readPackTable(pack.id, byteCount: pack.byteCount)
        let patches = table.frames.filter(\.header.kind.isPatch)
        #expect(patches.contains { $0.header.kind == .patchOfTwo })
        let name = ObjectNames.pack(pack.id)
        let bytes = try #require(original[name])
        let ofPatches = patches.flatMap { patch in
            let start = Int(patch.byteOffset)
            return start..<start + patch.header.byteCount + patch.header.payloadByteCount
        }
        for position in Set(ofPatches).union(stride(from: 0, to: bytes.count, by: 31)) {
            var damaged = bytes
            damaged[position] ^= 1 << UInt8(position % 8)
            store.objects[name] = damaged
            #expect(Self.isNoticed(store), "byte \(position)")
            if position % 5 == 0, let lab = try? Lab(store),
                let tip = try? lab.timeline().tip, let restored = try? lab.restore(tip)
            {
                #expect(restored == image, "byte \(position)")
            }
        }
        store.objects = original
        #expect(try Lab(store).restoreAll() == [image])
    }

    @Test("A cut, extended, emptied or deleted object is found")
    func cuts() throws {
        let store = try Self.makeStore()
        let original = store.objects
        for (name, bytes) in original {
            let variants: [[UInt8]?] = [
                nil, [], Array(bytes.dropLast()), Array(bytes[..<(bytes.count / 2)]), bytes + [0],
                bytes + bytes, Array(bytes.dropFirst()),
            ]
            for variant in variants {
                store.objects[name] = variant
                #expect(Self.isNoticed(store), "\(name), \(variant?.count ?? -1) bytes")
                #expect(Self.restoresHonestly(store), "\(name), \(variant?.count ?? -1) bytes")
            }
            store.objects[name] = bytes
        }
    }

    @Test("Two objects that changed places are found")
    func swaps() throws {
        let store = try Self.makeStore()
        let original = store.objects
        let names = original.keys.sorted()
        for first in names {
            for second in names where first < second {
                store.objects[first] = original[second]
                store.objects[second] = original[first]
                #expect(Self.isNoticed(store), "\(first) and \(second)")
                #expect(Self.restoresHonestly(store), "\(first) and \(second)")
                store.objects = original
            }
        }
    }

    @Test("A snapshot whose delta is lost is listed as damaged, and no base is begun over it")
    func lostDelta() throws {
        let store = try Self.makeStore()
        let original = store.objects
        let deltas = original.keys.filter { $0.hasPrefix("volumes/") && !$0.contains("newest") }
            .sorted()
        #expect(deltas.count == 3)
        for (position, name) in deltas.enumerated() {
            store.objects[name] = nil
            let timeline = try Lab(store).timeline()
            #expect(timeline.snapshots.map(\.generation) == Array(1..<1 + UInt64(position)))
            #expect(timeline.damaged.map(\.generation) == Array(UInt64(position) + 1...3))
            let lab = try Lab(store)
            if position == 0 {
                let error = #expect(throws: RepositoryError.self) {
                    try lab.capture(Self.images[0])
                }
                #expect(error?.kind == .damaged)
            } else {
                // What is whole can be built upon, under a number that was never used.
                #expect(try lab.capture(Self.images[0]).generation == 4)
            }
            store.objects = original
        }
    }

    @Test("A part of the history that is damaged leaves the older snapshots restorable")
    func damagedMap() throws {
        let store = try Self.makeStore()
        let part = try #require(store.objects.keys.first { $0.hasPrefix("parts/") })
        store.objects[part] = nil
        let lab = try Lab(store)
        let snapshots = try lab.timeline().snapshots
        #expect(try lab.restore(snapshots[0]) == Self.images[0])
        #expect(try lab.restore(snapshots[1]) == Self.images[1])
        let error = #expect(throws: RepositoryError.self) { try lab.restore(snapshots[2]) }
        #expect(error?.kind == .damaged)
    }

    @Test(
        "A backup stores again what a lost pack held, where the source still has it",
        arguments: [false, true])
    func healing(losesIndex: Bool) throws {
        let store = try Self.makeStore()
        let lab = try Lab(store)
        lab.seed = 5
        // The index of the lab has seen all packs and all fingerprints of the last image.
        try lab.capture(Self.images[2])
        let original = store.objects
        let packs = original.keys.filter { $0.hasPrefix("packs/") }
        #expect(packs.count > 2)
        for pack in packs {
            store.objects = original
            let home = try Lab(store)
            home.seed = 6
            try home.capture(Self.images[2])
            store.objects[pack] = nil
            let lab = losesIndex ? try Lab(store) : home
            lab.seed = 7
            let result = try lab.capture(Self.images[2])
            #expect(result.facts.blocksChanged == 0)
            let snapshots = try lab.timeline().snapshots
            for snapshot in snapshots where snapshot.generation >= 3 {
                #expect(try lab.restore(snapshot) == Self.images[2], "\(pack)")
            }
            // What only older snapshots had stays lost, and is not forgotten.
            let lacking = Self.lacking(in: try lab.check())
            #expect(lacking.isDisjoint(with: [3, 4]), "\(pack): \(lacking)")
        }
    }

    /// How an index comes to know that a frame is bad.
    enum Discovery: CaseIterable {
        case check
        case checkThenRebuild
        case restore
    }

    @Test(
        "A backup stores again what a rotten frame held, once somebody saw that it is rotten",
        arguments: Discovery.allCases)
    func healingRot(discovery: Discovery) throws {
        let store = try Self.makeStore()
        let original = store.objects
        var healed = 0
        for pack in original.keys.filter({ $0.hasPrefix("packs/") }).sorted() {
            let frames = try Self.frames(of: pack, in: store)
            for frame in frames {
                store.objects = original
                let lab = try Lab(store)
                lab.workerCount = 1
                // The index sees all packs and all fingerprints before anything rots.
                lab.seed = 6
                try lab.capture(Self.images[2])
                let byte = Int(frame.byteOffset) + frame.header.byteCount
                store.objects[pack]?[byte + frame.header.payloadByteCount / 2] ^= 4
                let needsIt = try lab.timeline().snapshots.last.map {
                    (try? lab.restore($0)) == nil
                }
                switch discovery {
                case .restore: try lab.index().saveBadFrames()
                case .check:
                    lab.closeIndex()
                    try lab.index().learn(from: try lab.check().evidence)
                case .checkThenRebuild:
                    lab.closeIndex()
                    try lab.index().learn(from: try lab.check().evidence)
                    try lab.index().rebuild {
                        try lab.index().synchronizePacks(with: lab.repository)
                    }
                }
                lab.closeIndex()
                let result = try lab.capture(Self.images[2])
                #expect(result.facts.blocksChanged == 0)
                for snapshot in try lab.timeline().snapshots where snapshot.generation >= 3 {
                    #expect(try lab.restore(snapshot) == Self.images[2], "\(pack) \(frame)")
                }
                if needsIt == true {
                    healed += 1
                    #expect(result.facts.bytesStored > 0)
                }
                // What only older snapshots had stays lost, and is not forgotten.
                let lacking = Self.lacking(in: try lab.check())
                #expect(lacking.isDisjoint(with: [3, 4, 5]), "\(pack) \(frame)")
            }
        }
        #expect(healed > 1)
    }

    private static func frames(of pack: String, in store: MemoryStore) throws -> [FrameEntry] {
        let repository = try Repository(openingIn: store)
        let id = try #require(ObjectNames.packID(of: pack))
        return try repository.readPackTable(
            id, byteCount: UInt64(store.objects[pack]?.count ?? 0)
        ).frames
    }

    /// Generations that a check says lack blocks.
    private static func lacking(in report: CheckReport) -> Set<Generation> {
        Set(report.findings.flatMap { finding in finding.lack.map { Array($0.generations) } ?? [] })
    }

    @Test("A check that reads data names exactly the snapshots that cannot be restored")
    func namedSnapshots() throws {
        let store = try Self.makeStore()
        let original = store.objects
        var found: Set<Set<Generation>> = []
        for pack in original.keys.filter({ $0.hasPrefix("packs/") }) {
            let byteCount = original[pack]?.count ?? 0
            for position in [nil] + stride(from: 0, to: byteCount, by: 5).map(Optional.some) {
                store.objects = original
                if let position {
                    store.objects[pack]?[position] ^= 0x10
                } else {
                    store.objects[pack] = nil
                }
                let lab = try Lab(store)
                lab.workerCount = 1
                let unrestorable = try lab.timeline().snapshots.filter {
                    (try? lab.restore($0)) == nil
                }
                let report = try lab.check()
                let lacking = Self.lacking(in: report)
                #expect(lacking == Set(unrestorable.map(\.generation)), "\(pack) \(position ?? -1)")
                // What costs no snapshot anything is no reason for alarm, and the other way round.
                #expect(report.harmCount > 0 || lacking.isEmpty)
                found.insert(lacking)
            }
        }
        #expect(found.contains([1, 2, 3]))
        #expect(found.contains([3]))
    }

    @Test(
        "Rot that decodes without an error below a patch does not hide a copy that is whole",
        arguments: 0..<12 as Range<UInt64>)
    func quietRotBelowPatch(seed: UInt64) throws {
        let store = MemoryStore()
        let lab = try Lab(store, blockSize: 65_536)
        lab.seed = seed
        lab.workerCount = 1
        var generator = SeededGenerator(seed: 2)
        // Half of each block lies in its frame as it is. A reader that needs the first block decodes
        // the frame not much further, and does not come to its checksum.
        let first = (0..<6 * 65_536).map {
            $0 % 4096 < 2048 ? UInt8(truncatingIfNeeded: generator.next()) : 0
        }
        var second = first
        second[7] ^= 1
        // Of the frame only the first block is still there, so that nothing else reads it.
        for index in 65_536..<second.count { second[index] = UInt8(index >> 12) }
        try lab.capture(first)
        let pack = try #require(store.objects.keys.first { $0.hasPrefix("packs/") })
        try lab.capture(second)
        let frame = try #require(try Self.frames(of: pack, in: store).first)
        #expect(frame.header.kind == .zstd && frame.header.blockCount == 6)
        store.objects[pack]?[Int(frame.byteOffset) + frame.header.byteCount + 1000] ^= 0x20
        try lab.index().learn(from: try lab.check().evidence)
        try lab.capture(first)

        // An index that knows nothing of the rot may meet the bad copy first: the names of the
        // packs, which come from the seed, decide.
        let fresh = try Lab(store)
        let snapshots = try fresh.timeline().snapshots
        #expect(try fresh.restore(snapshots[1]) == second)
        #expect(try fresh.restoreAll() == [first, second, first])
        #expect(try fresh.check().harmCount == 0)
    }

    @Test("Rot in what is held elsewhere too is found, and called harmless")
    func harmlessRot() throws {
        let store = try Self.makeStore()
        let pack = try #require(store.objects.keys.filter { $0.hasPrefix("packs/") }.min())
        let lab = try Lab(store)
        lab.seed = 8
        try lab.capture(Self.images[2])
        let frame = try #require(try Self.frames(of: pack, in: store).first)
        store.objects[pack]?[Int(frame.byteOffset) + frame.header.byteCount] ^= 1
        let before = try lab.check()
        #expect(before.harmCount > 0)
        try lab.index().learn(from: before.evidence)
        for image in Self.images { try lab.capture(image) }
        let after = try lab.check()
        #expect(!after.findings.isEmpty)
        #expect(after.harmCount == 0, "\(after.findings)")
    }

    @Test("Without reading data, a check names the snapshots whose patches lost what is below them")
    func lostPack() throws {
        let store = try Self.makeStore()
        let lab = try Lab(store)
        let packs = store.objects.keys.filter { $0.hasPrefix("packs/") }
        let original = store.objects
        var found: [Set<Generation>] = []
        for pack in packs {
            store.objects[pack] = nil
            found.append(Self.lacking(in: try lab.check(.none)))
            store.objects = original
        }
        #expect(found.contains([1, 2, 3]))
    }

    @Test(
        "A volume that vanished as a whole is told of, and not begun again, by a machine that has seen it"
    )
    func vanished() throws {
        let store = MemoryStore()
        let lab = try Lab(store)
        var generator = SeededGenerator(seed: 61)
        let images = [generator.bytes(20_000), generator.bytes(20_000)]
        for image in images { try lab.capture(image) }
        let good = store.objects
        store.objects = good.filter { !$0.key.hasPrefix("volumes/") }
        let finding = try #require(try lab.check().findings.first { !$0.isHarmless })
        #expect(finding.subject == "volume disk" && finding.reason.contains("disk@2"))
        let error = #expect(throws: ServiceError.self) { try lab.capture(images[0]) }
        #expect(error?.kind == .damaged)
        // It is all as it was once it is brought back.
        store.objects.merge(good) { own, _ in own }
        try lab.capture(images[0])
        #expect(try lab.restoreAll() == images + [images[0]])
        #expect(try lab.check().harmCount == 0)
        // Given up, it may begin again.
        store.objects = good.filter { !$0.key.hasPrefix("volumes/") }
        _ = try lab.open.rebuildIndex()
        try lab.capture(images[1])
        #expect(try lab.restoreAll() == [images[1]])
    }
}
