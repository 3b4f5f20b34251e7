import BlockModel
import ChangeTracking
import TestKit
import Testing

struct ExceptionStoreTests {
    private static let chunkByteCount = 8192
    private static let perArea = UInt64(chunkByteCount / 16)

    private static func bytes(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    }

    /// A store as the kernel writes it, with these chunks of the origin in it.
    private static func store(_ chunks: [UInt64], valid: UInt64 = 1) -> [UInt8] {
        var areas: [[UInt8]] = [[]]
        var contents: [[UInt8]] = []
        var next: UInt64 = 2
        for chunk in chunks {
            if areas[areas.count - 1].count == chunkByteCount { areas.append([]) }
            if next % (perArea + 1) == 1 { next += 1 }
            areas[areas.count - 1] += bytes(chunk, 8) + bytes(next, 8)
            contents.append([UInt8](repeating: 7, count: chunkByteCount))
            next += 1
        }
        // The kernel clears the next area before it is needed.
        if areas[areas.count - 1].count == chunkByteCount { areas.append([]) }
        var store = bytes(0x7041_6E53, 4) + bytes(valid, 4) + bytes(1, 4) + bytes(16, 4)
        store += [UInt8](repeating: 0, count: chunkByteCount - store.count)
        for (index, area) in areas.enumerated() {
            store += area + [UInt8](repeating: 0, count: chunkByteCount - area.count)
            let first = index * Int(perArea)
            for content in contents.dropFirst(first).prefix(Int(perArea)) { store += content }
        }
        return store
    }

    private static func changes(
        _ store: [UInt8],
        originByteCount: UInt64 = 1 << 30,
        blockByteCount: Int = 65_536
    ) throws -> [Range<UInt64>] {
        let size = try #require(BlockSize(byteCount: blockByteCount))
        return try ExceptionStore.changes(
            storeByteCount: UInt64(store.count), originByteCount: originByteCount, blockSize: size
        ) { offset, count in
            let start = min(Int(clamping: offset), store.count)
            return Array(store[start..<min(start + count, store.count)])
        }.ranges
    }

    @Test("The chunks of a store are blocks of the volume")
    func chunks() throws {
        #expect(try Self.changes(Self.store([])) == [])
        #expect(try Self.changes(Self.store([0, 5, 6, 500])) == [0..<1, 62..<63])
        #expect(try Self.changes(Self.store([8, 7]), blockByteCount: 4096) == [14..<18])
        // The origin ends in the middle of its last chunk.
        #expect(
            try Self.changes(Self.store([2]), originByteCount: 16_385, blockByteCount: 4096)
                == [4..<5])
    }

    @Test("A list over several areas is read whole", arguments: [511, 512, 513, 1024, 2000])
    func areas(count: Int) throws {
        var generator = SeededGenerator(seed: UInt64(count))
        let chunks = (0..<count).map { _ in generator.next() % 131_072 }
        let wanted = BlockExtents(joining: chunks.map { 2 * $0..<2 * $0 + 2 }).ranges
        #expect(try Self.changes(Self.store(chunks), blockByteCount: 4096) == wanted)
    }

    @Test("What is not a store, or overflowed, is refused")
    func refused() {
        let sound = Self.store([1, 2, 3])
        var cases: [([UInt8], ExceptionStore.Refusal)] = [
            ([], .noStore), ([UInt8](repeating: 0, count: 8192), .noStore),
            (Self.store([1], valid: 0), .invalid), (Array(sound.prefix(9000)), .cutShort),
            (Array(sound.prefix(8192)), .cutShort), (Array(sound.prefix(16_383)), .cutShort),
            // A full area, and nothing behind it that says whether more follow.
            (Array(Self.store(Array(0..<Self.perArea)).prefix(514 * 8192)), .cutShort),
        ]
        var other = sound
        other[8] = 2
        cases.append((other, .unknownVersion(2)))
        other = sound
        other[12] = 17
        cases.append((other, .badChunkSize(17)))
        for (offset, value) in [(8, 1), (8, 0xFF), (24, 1), (7, 1)] {
            other = sound
            other[Self.chunkByteCount + offset] = UInt8(value)
            let old = offset == 7 ? 1 | 1 << 56 : offset == 24 ? 2 : 1 as UInt64
            let new = offset == 7 ? 2 : UInt64(value)
            cases.append((other, .badException(old: old, new: new)))
        }
        for (store, refusal) in cases {
            #expect(throws: refusal) { try Self.changes(store) }
        }
    }

    @Test("Any bytes give a list or a refusal")
    func hostile() {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<300 {
            var store = Self.store((0..<600).map { $0 * 3 })
            for _ in 0..<1 + generator.next() % 40 {
                let position = Int(generator.next() % UInt64(store.count))
                store[position % (3 * Self.chunkByteCount)] = UInt8(
                    truncatingIfNeeded: generator.next())
            }
            _ = try? Self.changes(Array(store.prefix(Int(generator.next() % 6_000_000))))
        }
    }
}
