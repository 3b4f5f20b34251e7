import BlockModel
import CaptureEngine
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing
import Workflows

/// Random volumes with random histories, held against a model.
@Suite struct HistoryTests {
    @Test(
        "Every snapshot of a random history restores to the bytes that were captured",
        arguments: 0..<24 as Range<UInt64>)
    func history(seed: UInt64) throws {
        let lab = try Lab(MemoryStore(), blockSize: [8192, 4096, 16_384][Int(seed % 3)])
        lab.packByteTarget = seed % 2 == 0 ? 20_000 : 64 << 20
        lab.partByteLimit = seed % 4 == 1 ? 400 : 16 << 20
        var model = ImageModel(byteCount: 150_000, seed: seed)
        var images: [[UInt8]] = []
        for step in 0..<14 {
            for _ in 0..<step % 4 { model.change() }
            // The index is derived: it may be gone, or closed and opened, at any time.
            if (UInt64(step) + seed) % 5 == 0 { lab.deleteIndex() }
            if (UInt64(step) + seed) % 5 == 2 { lab.closeIndex() }
            try lab.capture(model.bytes)
            images.append(model.bytes)
        }
        let timeline = try lab.timeline()
        #expect(timeline.isSound)
        #expect(timeline.snapshots.map(\.generation) == Array(1...14))
        for (snapshot, image) in zip(timeline.snapshots, images) {
            #expect(
                try lab.restore(snapshot) == image,
                "seed \(seed), generation \(snapshot.generation)")
        }
        let report = try lab.check()
        #expect(report.findings == [], "seed \(seed)")
        #expect(report.snapshotCount == 14)
    }

    @Test(
        "Restoring in place over any other content gives the snapshot",
        arguments: 100..<108 as Range<UInt64>)
    func inPlace(seed: UInt64) throws {
        let lab = try Lab(MemoryStore())
        var model = ImageModel(byteCount: 120_000, seed: seed)
        var images: [[UInt8]] = []
        for _ in 0..<4 {
            for _ in 0..<3 { model.change() }
            try lab.capture(model.bytes)
            images.append(model.bytes)
        }
        for snapshot in try lab.timeline().snapshots {
            let wanted = images[Int(snapshot.generation) - 1]
            for other in images + [ImageModel(byteCount: 90_000, seed: seed + 1).bytes] {
                #expect(try lab.restore(snapshot, over: other) == wanted, "seed \(seed)")
            }
        }
    }

    @Test("A hundred generations of small changes store little and all restore")
    func longHistory() throws {
        let lab = try Lab(MemoryStore(), blockSize: 16384)
        var image = ImageModel(byteCount: 400_000, seed: 5).bytes
        var images: [[UInt8]] = []
        for generation in 0..<100 {
            image[generation * 37 % image.count] ^= 0x55
            image[123_456] = UInt8(generation)
            try lab.capture(image)
            images.append(image)
        }
        lab.deleteIndex()
        let snapshots = try lab.timeline().snapshots
        for generation in [1, 2, 9, 10, 50, 99, 100] {
            #expect(try lab.restore(snapshots[generation - 1]) == images[generation - 1])
        }
        #expect(try lab.check().findings == [])
    }

    @Test("A volume that shrinks and grows again reads as zeros where it grew")
    func shrinkAndGrow() throws {
        let lab = try Lab(MemoryStore())
        let full = [UInt8](repeating: 7, count: 100_000)
        let images = [
            full, Array(full[..<30_000]),
            Array(full[..<30_000]) + [UInt8](repeating: 0, count: 60_000),
            [], full, Array(full[..<50_000]), full, Array(full[..<8_192]), full,
            // What stood behind an end must not be taken for what is there now.
            [], [UInt8](repeating: 0, count: full.count), full,
            [], [UInt8](repeating: 0, count: 20_000), [UInt8](repeating: 0, count: full.count),
            full,
            Array(full[..<9_000]), Array(full[..<9_000]) + [UInt8](repeating: 0, count: 60_000),
            full,
        ]
        for image in images { try lab.capture(image) }
        for (snapshot, image) in zip(try lab.timeline().snapshots, images) {
            #expect(try lab.restore(snapshot) == image, "generation \(snapshot.generation)")
        }
        #expect(try lab.check().findings == [])
    }

    @Test("An hour in which nothing changed stores at most 4 KiB")
    func unchanged() throws {
        let store = MemoryStore()
        let lab = try Lab(store)
        let image = ImageModel(byteCount: 200_000, seed: 9).bytes
        try lab.capture(image)
        let before = store.objects.values.reduce(0) { $0 + $1.count }
        // The new marker takes the place of the old one.
        let markerByteCount = try #require(
            store.objects.first { $0.key.contains("newest") }?.value.count)
        let result = try lab.capture(image)
        let after = store.objects.values.reduce(0) { $0 + $1.count }
        #expect(after - before <= 4096)
        #expect(result.facts.blocksChanged == 0)
        #expect(result.facts.bytesStored == UInt64(after - before + markerByteCount))
    }

    @Test("A second volume with the same content stores no block again")
    func deduplication() throws {
        let store = MemoryStore()
        let lab = try Lab(store)
        let image = ImageModel(byteCount: 250_000, seed: 11).bytes
        try lab.capture(image)
        let packs = store.objects.keys.filter { $0.hasPrefix("packs/") }
        lab.volume = try #require(VolumeName("twin"))
        try lab.capture(image)
        #expect(store.objects.keys.filter { $0.hasPrefix("packs/") }.sorted() == packs.sorted())
        let twin = try #require(try lab.timeline().tip)
        #expect(try lab.restore(twin) == image)
    }

    @Test(
        "What is there twice is stored once, whatever its alignment to blocks",
        arguments: [8192, 16_384, 65_536], [1, 2])
    func similar(blockSize: Int, workerCount: Int) throws {
        let store = MemoryStore()
        let lab = try Lab(store, blockSize: blockSize)
        lab.workerCount = workerCount
        var generator = SeededGenerator(seed: 12)
        let file = generator.bytes(800_000)
        let other = generator.bytes(2_000_000)
        // The second copy lies one page further, and far away: in no frame of the first.
        var image = file
        image.append(contentsOf: repeatElement(0, count: 823_296 - image.count))
        image += other
        image.append(contentsOf: repeatElement(0, count: 2_871_296 - image.count))
        image += file
        image.append(contentsOf: repeatElement(0, count: 4097))
        try lab.capture(image)
        let stored = { store.objects.values.reduce(0) { $0 + $1.count } }
        let base = stored()
        // With two workers the first copy may not be stored yet when the second is found.
        let once = file.count + other.count
        if workerCount == 1 { #expect(base < once + once / 20, "\(base)") }
        // A block that is a patch of its likes can be patched in turn.
        var changed = image
        for position in stride(from: 2_872_000, to: image.count, by: 100_000) {
            changed[position] ^= 1
        }
        try lab.capture(changed)
        #expect(stored() - base < 12_000)
        lab.deleteIndex()
        #expect(try lab.restoreAll() == [image, changed])
        #expect(try lab.check().findings == [])
    }

    @Test("An index copied back from an earlier hour, or from another repository, does no harm")
    func foreignIndex() throws {
        let store = MemoryStore()
        let lab = try Lab(store)
        var model = ImageModel(byteCount: 150_000, seed: 21)
        try lab.capture(model.bytes)
        lab.closeIndex()
        let saved = try lab.contents(of: lab.indexDirectory + "/index.mdb")
        var images = [model.bytes]
        for _ in 0..<3 {
            model.change()
            try lab.capture(model.bytes)
            images.append(model.bytes)
        }
        try lab.replaceIndex(with: saved)
        model.change()
        try lab.capture(model.bytes)
        images.append(model.bytes)
        #expect(try lab.restoreAll() == images)

        let other = try Lab(MemoryStore(), blockSize: 8192)
        try other.capture(ImageModel(byteCount: 90_000, seed: 22).bytes)
        other.closeIndex()
        try lab.replaceIndex(with: other.contents(of: other.indexDirectory + "/index.mdb"))
        model.change()
        try lab.capture(model.bytes)
        images.append(model.bytes)
        #expect(try lab.restoreAll() == images)
        #expect(try lab.check().findings == [])

        // Cut short in the middle, as a full disk leaves it.
        lab.closeIndex()
        let whole = try lab.contents(of: lab.indexDirectory + "/index.mdb")
        try lab.replaceIndex(with: Array(whole[..<(whole.count / 2 / 4096 * 4096)]))
        #expect(try lab.restoreAll() == images)
    }
}
