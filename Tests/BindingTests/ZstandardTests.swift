import TestKit
import Testing
import Zstandard

struct ZstandardTests {
    private let compressor: Compressor
    private let decompressor: Decompressor

    init() throws {
        compressor = try Compressor(level: 3)
        decompressor = try Decompressor()
    }

    @Test("Bytes come back, at every kind of level", arguments: [-5, 1, 3, 19])
    func roundTrip(level: Int) throws {
        let compressor = try Compressor(level: level)
        for byteCount in [0, 1, 100, 4096, 65_536, 262_144] {
            let bytes = Self.text(byteCount, seed: 1)
            let frame = try #require(try Self.compress(bytes, with: compressor))
            #expect(try decompress(frame, capacity: byteCount) == bytes)
            if byteCount >= 4096 { #expect(frame.count < byteCount * 3 / 4) }
        }
    }

    @Test("A frame carries neither its content's size nor a checksum")
    func bareFrame() throws {
        let frame = try #require(try Self.compress(Self.text(4096, seed: 1), with: compressor))
        #expect(frame.prefix(4) == [0x28, 0xB5, 0x2F, 0xFD])
        // Frame header descriptor: no content size, no single segment, no checksum, no dictionary.
        #expect(frame[4] == 0)
    }

    @Test("A level takes effect")
    func levels() throws {
        let bytes = Self.text(262_144, seed: 2)
        let fast = try #require(try Self.compress(bytes, with: Compressor(level: -20)))
        let best = try #require(try Self.compress(bytes, with: Compressor(level: 19)))
        #expect(best.count < fast.count)
        #expect(Compressor.levels.contains(-20))
        #expect(Compressor.levels.upperBound == 22)
    }

    @Test("A target that is too small gives nothing, and the next block comes out right")
    func smallTarget() throws {
        var generator = SeededGenerator(seed: 4)
        let random = generator.bytes(65_536)
        let text = Self.text(65_536, seed: 5)
        let frame = try #require(try Self.compress(text, with: compressor))
        #expect(try Self.compress(random, with: compressor, capacity: 65_536) == nil)
        #expect(try Self.compress(text, with: compressor, capacity: frame.count - 1) == nil)
        #expect(try Self.compress(text, with: compressor, capacity: 0) == nil)
        #expect(try Self.compress(text, with: compressor) == frame)
        #expect(
            try Self.compress(
                random, with: compressor,
                capacity: Compressor.bound(forByteCount: 65_536)) != nil)
    }

    @Test(
        "With its earlier version as prefix, a block takes as much as its change", arguments: 1...5)
    func prefix(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let old = generator.bytes(65_536)
        var new = old
        let change = Int.random(in: 0..<65_000, using: &generator)
        new.replaceSubrange(change..<change + 100, with: generator.bytes(100))
        let patch = try #require(try Self.compress(new, prefix: old, with: compressor))
        #expect(patch.count < 300)
        #expect(try decompress(patch, prefix: old, capacity: 65_536) == new)
    }

    @Test("A prefix serves one block alone")
    func prefixIsUsedOnce() throws {
        let old = Self.text(65_536, seed: 6)
        let new = Array(old.dropFirst(10)) + Array(old.prefix(10))
        _ = try Self.compress(new, prefix: old, with: compressor)
        let frame = try #require(try Self.compress(new, with: compressor))
        #expect(try decompress(frame, capacity: 65_536) == new)
        // Also where the block before did not fit.
        #expect(try Self.compress(new, prefix: old, with: compressor, capacity: 3) == nil)
        #expect(try Self.compress(new, with: compressor) == frame)
        #expect(try Self.compress(new, with: compressor, capacity: 3) == nil)
        let afterwards = try #require(try Self.compress(new, prefix: old, with: compressor))
        #expect(try decompress(afterwards, prefix: old, capacity: 65_536) == new)
        // And for the reader.
        let patch = try #require(try Self.compress(new, prefix: old, with: compressor))
        #expect(try decompress(patch, prefix: old, capacity: 65_536) == new)
        #expect(try decompress(frame, capacity: 65_536) == new)
    }

    @Test("A patch does not give its block without the prefix, or with another one")
    func wrongPrefix() throws {
        var generator = SeededGenerator(seed: 7)
        let old = generator.bytes(65_536)
        var new = old
        new[100] ^= 1
        let patch = try #require(try Self.compress(new, prefix: old, with: compressor))
        let other = generator.bytes(65_536)
        #expect((try? decompress(patch, capacity: 65_536)) != new)
        #expect((try? decompress(patch, prefix: other, capacity: 65_536)) != new)
        #expect((try? decompress(patch, prefix: [], capacity: 65_536)) != new)
        #expect(try decompress(patch, prefix: old, capacity: 65_536) == new)
    }

    @Test("A frame that does not fit its target is refused")
    func smallOutput() throws {
        let bytes = Self.text(10_000, seed: 8)
        let frame = try #require(try Self.compress(bytes, with: compressor))
        for capacity in [0, 1, 9999] {
            #expect(throws: ZstandardError.self) { try decompress(frame, capacity: capacity) }
        }
        #expect(try decompress(frame, capacity: 20_000) == bytes)
    }

    @Test("A frame that is cut short is refused")
    func truncated() throws {
        let frame = try #require(try Self.compress(Self.text(3000, seed: 9), with: compressor))
        for count in 1..<frame.count {
            #expect(throws: ZstandardError.self, "\(count) of \(frame.count) bytes") {
                try decompress(Array(frame[..<count]), capacity: 3000)
            }
        }
    }

    @Test("The start of a frame can be had alone, and the next frame comes out whole")
    func start() throws {
        let text = Self.text(1_000_000, seed: 10)
        let frame = try #require(try Self.compress(text, with: compressor))
        for wanted in [0, 1, 4096, 131_072, 131_073, 400_000, 999_999, 1_000_000, 2_000_000] {
            let start = try decompress(frame, atLeast: wanted, capacity: 1_000_000)
            #expect(start.count >= min(wanted, 1_000_000), "\(wanted)")
            #expect(start.count < wanted + 262_144, "\(wanted)")
            #expect(start.elementsEqual(text[..<start.count]), "\(wanted)")
            // Whatever the context was in the middle of, it begins anew.
            let patch = try #require(
                try Self.compress(Array(text[..<5000]), prefix: text, with: compressor))
            #expect(try decompress(patch, prefix: text, capacity: 5000) == Array(text[..<5000]))
        }
        #expect(try decompress(frame, capacity: 1_000_000) == text)
        // A frame that was cut gives what is there, and less than was asked for.
        let half = Array(frame[..<(frame.count / 2)])
        let start = try decompress(half, atLeast: 1_000_000, capacity: 1_000_000)
        #expect(start.count < 1_000_000)
        #expect(start.elementsEqual(text[..<start.count]))
        // One that holds more than there is room for gives no more than that.
        #expect(try decompress(frame, atLeast: 500_000, capacity: 300_000).count <= 300_000)
    }

    @Test("A frame that asks for a large window is refused where only its start is wanted")
    func largeWindow() throws {
        // Frame header descriptor 0, a window of 16 MiB, which libzstd itself would allow, and an
        // empty last block.
        let frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0, 0x70, 1, 0, 0]
        #expect(try decompress(frame, capacity: 4096) == [])
        #expect(throws: ZstandardError.self) {
            try decompress(frame, atLeast: 10, capacity: 4096)
        }
    }

    @Test("Garbage is refused, with and without a prefix, and harms nothing", arguments: 1...5)
    func garbage(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let text = Self.text(5000, seed: seed)
        let frame = try #require(try Self.compress(text, with: compressor))
        for _ in 0..<300 {
            let noise = generator.bytes(Int.random(in: 1...200, using: &generator))
            #expect(throws: ZstandardError.self) { try decompress(noise, capacity: 65_536) }
            #expect(throws: ZstandardError.self) {
                try decompress(noise, prefix: text, capacity: 65_536)
            }
            // Flipped bits may give other bytes, but never more of them than fit.
            var flipped = frame
            let bit = Int.random(in: 0..<frame.count * 8, using: &generator)
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            let decoded = try? decompress(flipped, capacity: 5000)
            #expect((decoded?.count ?? 0) <= 5000)
            let start = try? decompress(flipped, atLeast: 3000, capacity: 5000)
            #expect((start?.count ?? 0) <= 5000)
        }
        #expect(try decompress(frame, capacity: 5000) == text)
    }

    // MARK: Helpers

    private static func compress(
        _ bytes: [UInt8],
        prefix: [UInt8]? = nil,
        with compressor: Compressor,
        capacity: Int? = nil
    ) throws -> [UInt8]? {
        let room = capacity ?? Compressor.bound(forByteCount: bytes.count)
        var target = [UInt8](repeating: 0, count: room)
        var span = target.mutableSpan
        var raw = span.mutableBytes
        let count =
            if let prefix {
                try compressor.compress(bytes.span.bytes, prefix: prefix.span.bytes, into: &raw)
            } else {
                try compressor.compress(bytes.span.bytes, into: &raw)
            }
        return count.map { Array(target[..<$0]) }
    }

    private func decompress(
        _ frame: [UInt8],
        prefix: [UInt8]? = nil,
        capacity: Int
    ) throws -> [UInt8] {
        var target = [UInt8](repeating: 0, count: capacity)
        var span = target.mutableSpan
        var raw = span.mutableBytes
        let count =
            if let prefix {
                try decompressor.decompress(
                    frame.span.bytes, prefix: prefix.span.bytes, into: &raw)
            } else {
                try decompressor.decompress(frame.span.bytes, into: &raw)
            }
        return Array(target[..<count])
    }

    private func decompress(
        _ frame: [UInt8],
        atLeast wanted: Int,
        capacity: Int
    ) throws -> [UInt8] {
        var target = [UInt8](repeating: 0, count: capacity)
        var span = target.mutableSpan
        var raw = span.mutableBytes
        let count = try decompressor.decompress(
            frame.span.bytes, atLeast: wanted, into: &raw)
        return Array(target[..<count])
    }

    /// Words from a small dictionary: compresses well, but not to nothing.
    private static func text(_ byteCount: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        let words = (0..<200).map { _ in
            generator.bytes(Int.random(in: 2...9, using: &generator)).hexadecimal
        }
        var bytes: [UInt8] = []
        while bytes.count < byteCount {
            bytes += Array(words[Int.random(in: words.indices, using: &generator)].utf8)
        }
        return Array(bytes[..<byteCount])
    }
}
