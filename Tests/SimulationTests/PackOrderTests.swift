import BlockModel
import ObjectStore
import Packs
import Repository
import RepositoryFormat
import RepositoryIndex
import SimulationSupport
import Synchronization
import TestKit
import Testing

/// What a crash may leave behind depends on the order in which packs become durable.
@Suite struct PackOrderTests {
    @Test("A patch is not stored while its prefix lies in another pack that is not durable yet")
    func prefixIsDurableFirst() throws {
        let memory = MemoryStore()
        let lab = try Lab(memory)
        let store = WatchedStore(memory)
        let repository = try Repository(openingIn: store)
        let packs = PackWriter(
            repository: repository, index: try lab.index(), targetByteCount: 10_000,
            identifiers: SeededIdentifiers(seed: 5))
        let (small, large) = (Self.digest(1), Self.digest(2))
        #expect(packs.claim(small))
        #expect(!packs.holdsInFull(small))
        #expect(try packs.add(.stored, [small], payload: 4096))
        #expect(packs.holdsInFull(small))
        // In one pack the patch and its prefix live or die together.
        #expect(try packs.add(.patch, [Self.digest(3)], prefixes: [small], payload: 9))

        let during = Mutex<[Bool]>([])
        store.onFinish {
            let isHeld = packs.holdsInFull(small)
            let isAppended = try? packs.add(
                .patchOfTwo, [Self.digest(4)], prefixes: [Self.digest(9), small], payload: 9)
            during.withLock { $0 = [isHeld, isAppended ?? true] }
        }
        // Fills the pack, which is finished then.
        #expect(packs.claim(large))
        #expect(try packs.add(.stored, [large, Self.digest(5)], payload: 8192))
        #expect(during.withLock { $0 } == [false, false])
        store.onFinish(nil)
        #expect(packs.finishedPacks.count == 1)
        #expect(try packs.add(.patch, [Self.digest(6)], prefixes: [small], payload: 9))
        try packs.finish()
        #expect(packs.finishedPacks.count == 2)
    }

    @Test("A block whose patches branch at every hop is given up after each place was tried once")
    func branches() throws {
        let memory = MemoryStore()
        let lab = try Lab(memory)
        // Every frame in a pack of its own.
        let packs = PackWriter(
            repository: lab.repository, index: try lab.index(), targetByteCount: 1,
            identifiers: SeededIdentifiers(seed: 6))
        // Many places of each block, every one a patch of the block before; the first is nowhere.
        let width = 40
        for depth in 1...8 as ClosedRange<UInt8> {
            for _ in 0..<width {
                _ = try packs.add(
                    .patch, [Self.digest(UInt64(depth))], depth: depth,
                    prefixes: [Self.digest(UInt64(depth) - 1)], payload: 9)
            }
        }
        try packs.finish()
        let index = try lab.index()
        let known = try #require(try index.find(Self.digest(8)))
        let reader = try BlockReader(repository: lab.repository, index: index)
        func readIsRefused() {
            _ = #expect(throws: RepositoryError.self) {
                var block = [UInt8](repeating: 0, count: 4096)
                var span = block.mutableSpan
                var raw = span.mutableBytes
                try reader.read(known.number, digest: Self.digest(8), into: &raw)
            }
        }
        let before = memory.readCount
        readIsRefused()
        // Eight to the width's power would be without end.
        #expect(memory.readCount - before < 2 * 8 * width + 50)
        let after = memory.readCount
        for _ in 0..<100 { readIsRefused() }
        #expect(memory.readCount == after)
    }

    private static func digest(_ word: UInt64) -> Digest { Digest(words: word, 0, 0, 0) }
}

extension PackWriter {
    /// Appends a frame of zeros.
    func add(
        _ kind: FrameKind,
        _ digests: [Digest],
        depth: UInt8? = nil,
        prefixes: [Digest] = [],
        payload: Int
    ) throws -> Bool {
        let header = FrameHeader(
            kind: kind, depth: depth ?? (kind.isPatch ? 1 : 0), blockCount: digests.count,
            payloadByteCount: payload, chainByteCount: kind.isPatch ? payload : 0,
            prefixes: prefixes)
        var frame = [UInt8](repeating: 0, count: header.byteCount + payload)
        var span = frame.mutableSpan
        var raw = span.mutableBytes
        try header.encode(into: &raw)
        return try append(frame: frame.span.bytes, header: header, digests: digests[...])
    }
}
