import BlockModel
import LinuxIO
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryIndex
import RepositoryModel
import Serving
import SimulationSupport
import Synchronization
import TestKit
import Testing

/// A reader gives what a restore gives, whatever is asked for.
@Suite struct SnapshotReaderTests {
    private static func reader(
        _ lab: Lab,
        _ snapshot: Snapshot,
        _ change: (inout SnapshotReader.Options) -> Void = { _ in }
    ) throws -> SnapshotReader {
        let index = try lab.index()
        let map = try index.map(of: snapshot, in: try lab.timeline(), with: lab.repository)
        var options = SnapshotReader.Options()
        change(&options)
        return try SnapshotReader(snapshot, map, repository: lab.repository, options: options)
    }

    private static func bytes(
        _ reader: SnapshotReader,
        _ offset: UInt64,
        _ count: Int
    ) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        try bytes.withUnsafeMutableBytes { try reader.read(into: $0, at: offset) }
        return bytes
    }

    @Test(
        "Ranges of every snapshot of a random history are what the image held", arguments: 0..<8)
    func ranges(seed: UInt64) throws {
        let lab = try Lab(MemoryStore(), blockSize: seed % 2 == 0 ? 4096 : 65536)
        var model = ImageModel(byteCount: 700_000, seed: seed)
        var images: [[UInt8]] = []
        for _ in 0..<5 {
            try lab.capture(model.bytes)
            images.append(model.bytes)
            for _ in 0..<4 { model.change() }
        }
        var generator = SeededGenerator(seed: seed)
        for (snapshot, image) in zip(try lab.timeline().snapshots, images) {
            let reader = try Self.reader(lab, snapshot) {
                $0.slotCount = 3
                $0.cacheByteCount = seed % 3 == 0 ? 0 : 1 << 20
            }
            #expect(reader.byteCount == UInt64(image.count))
            #expect(try Self.bytes(reader, 0, image.count) == image)
            for _ in 0..<60 {
                let offset = Int(generator.next() % UInt64(image.count + 1))
                let limit = generator.next() % 3 == 0 ? image.count : 5000
                let count = Int(generator.next() % UInt64(min(limit, image.count - offset) + 1))
                #expect(
                    try Self.bytes(reader, UInt64(offset), count)
                        == Array(image[offset..<offset + count]), "\(offset)+\(count)")
            }
        }
    }

    @Test("Extents cover the volume, and call zeros only what is zeros")
    func extents() throws {
        let lab = try Lab(MemoryStore())
        // More than two pages, and one of them never written.
        var image = [UInt8](repeating: 0, count: 3 * 4096 * 4096 + 100)
        for index in 50_000..<90_000 { image[index] = 7 }
        for index in image.count - 9000..<image.count { image[index] = 8 }
        try lab.capture(image)
        for index in 50_000..<60_000 { image[index] = 0 }
        try lab.capture(image)
        let written = [60_000..<90_000, image.count - 9000..<image.count]
        let reader = try Self.reader(lab, #require(lab.timeline().snapshots.last))
        var position: UInt64 = 0
        var zeroCount: UInt64 = 0
        while position < reader.byteCount {
            let extents = try reader.extents(from: position, byteCount: reader.byteCount - position)
            try #require(!extents.isEmpty)
            for extent in extents {
                let range = Int(position)..<Int(position + extent.byteCount)
                if extent.isZero {
                    #expect(!written.contains { $0.overlaps(range) })
                    zeroCount += extent.byteCount
                }
                position += extent.byteCount
            }
        }
        #expect(position == reader.byteCount)
        // All but the blocks that have data.
        let blocks = written.reduce(0) {
            $0 + UInt64(($1.upperBound + 4095) / 4096 - $1.lowerBound / 4096)
        }
        let lastByteCount = UInt64(image.count % 4096)
        #expect(zeroCount == reader.byteCount - ((blocks - 1) * 4096 + lastByteCount))
        // Part of a block, at the end, and behind it.
        #expect(try reader.extents(from: 60_001, byteCount: 10).map(\.byteCount) == [10])
        #expect(try reader.extents(from: reader.byteCount - 1, byteCount: 9).count == 1)
        #expect(try reader.extents(from: reader.byteCount, byteCount: 9).isEmpty)
    }

    @Test("What lies behind the end is refused, at any offset")
    func behindTheEnd() throws {
        let lab = try Lab(MemoryStore())
        try lab.capture([UInt8](repeating: 3, count: 10_000))
        let reader = try Self.reader(lab, #require(lab.timeline().snapshots.last))
        #expect(try Self.bytes(reader, 10_000, 0).isEmpty)
        #expect(try Self.bytes(reader, 9_999, 1) == [3])
        for (offset, count) in [(9_999, 2), (10_001, 1), (UInt64.max, 1), (UInt64.max - 1, 5)]
            as [(UInt64, Int)]
        {
            #expect(throws: RepositoryError.self) { try Self.bytes(reader, offset, count) }
        }
    }

    @Test("Many threads read one snapshot at once")
    func threads() throws {
        let lab = try Lab(MemoryStore())
        let model = ImageModel(byteCount: 900_000, seed: 11)
        try lab.capture(model.bytes)
        let reader = try Self.reader(lab, #require(lab.timeline().snapshots.last)) {
            $0.slotCount = 2
            $0.cacheByteCount = 256 << 10
        }
        let image = model.bytes
        let failures = Mutex(0)
        let work: @Sendable (Int) throws -> Void = { worker in
            var generator = SeededGenerator(seed: UInt64(worker))
            for _ in 0..<200 {
                let offset = Int(generator.next() % UInt64(image.count - 9000))
                let count = Int(generator.next() % 9000)
                let read = try? Self.bytes(reader, UInt64(offset), count)
                if read != Array(image[offset..<offset + count]) { failures.withLock { $0 += 1 } }
            }
        }
        try Workers.run(count: 8, failure: SharedFailure(), idle: {}, work)
        #expect(failures.withLock { $0 } == 0)
    }

    @Test("Damage is an error of what its frame holds, names the pack, and is nothing else's")
    func damage() throws {
        let store = MemoryStore()
        let lab = try Lab(store)
        var generator = SeededGenerator(seed: 5)
        let image = (0..<64 * 4096).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        try lab.capture(Array(image[..<(32 * 4096)]))
        try lab.capture(image)
        let packs = store.objects.keys.filter { $0.hasPrefix("packs/") }.sorted()
        try #require(packs.count > 1)
        let victim = packs[0]
        var bytes = try #require(store.objects[victim])
        bytes[bytes.count / 3] ^= 1
        store.objects[victim] = bytes
        let reader = try Self.reader(lab, #require(lab.timeline().snapshots.last))
        var damaged = 0
        for block in 0..<64 {
            do {
                let read = try Self.bytes(reader, UInt64(block * 4096), 4096)
                #expect(read == Array(image[block * 4096..<(block + 1) * 4096]))
            } catch {
                damaged += 1
                #expect(
                    "\(error)".contains(victim.dropFirst("packs/".count).prefix(12)), "\(error)")
            }
        }
        #expect((1...32).contains(damaged))
    }
}
