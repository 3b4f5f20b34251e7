import BlockModel
import Hashing
import LinuxIO
import ObjectStore
import RepositoryFormat
import TestKit
import Testing

@testable import Maintenance
@testable import Packs
@testable import Repository
@testable import RepositoryIndex

/// Digests, their numbers and places; and an index file that is not what it should be.
struct IndexBlockTests {
    private let directory: TemporaryDirectory
    private let home: Home

    init() throws {
        directory = try TemporaryDirectory()
        home = try Home()
    }

    private func index(_ identity: RepositoryIdentity? = nil) throws -> Index {
        try Index(
            directory: directory.path + "/index",
            identity: identity ?? home.repository.identity)
    }

    /// A table of frames of one block each, for digests that are told apart by a number.
    private static func table(
        _ numbers: [UInt64],
        kind: FrameKind = .zstd,
        depth: UInt8 = 0
    ) -> PackTable {
        var table = PackTable()
        for (position, number) in numbers.enumerated() {
            let header = FrameHeader(
                kind: kind, depth: depth, blockCount: 1, payloadByteCount: 100 + position)
            table.append(
                FrameEntry(byteOffset: UInt32(position * 1000), header: header),
                digests: [digest(number)])
        }
        return table
    }

    private static func digest(_ number: UInt64) -> Digest {
        Digest(words: number &* 0x9E37_79B9_7F4A_7C15, number, 0, 0)
    }

    private static func pack(_ number: UInt64) -> ObjectID { ObjectID(high: 1, low: number) }

    @Test("Every digest of a pack is found, and no other", arguments: [1, 84, 85, 86, 5000, 9001])
    func finding(count: Int) throws {
        let index = try index()
        let numbers = Array(0..<UInt64(count))
        try index.addOwnPacks([(Self.pack(1), 99, Self.table(numbers))])
        #expect(index.blockCount == count)
        #expect(index.packCount == 1)
        let found = try Set(numbers.compactMap { try index.find(Self.digest($0)) })
        #expect(found.count == count)
        #expect(found.filter(\.isOwn).count == count)
        let unknown = try (UInt64(count)..<UInt64(count) + 100).filter {
            try index.find(Self.digest($0)) != nil
        }
        #expect(unknown == [])
    }

    @Test("Digests that begin with the same sixteen bytes are told apart")
    func collisions() throws {
        let index = try index()
        let digests = (0..<50).map { Digest(words: 7, 7, UInt64($0), 0) }
        var table = PackTable()
        for (position, digest) in digests.enumerated() {
            let header = FrameHeader(kind: .zstd, blockCount: 1, payloadByteCount: 1)
            table.append(
                FrameEntry(byteOffset: UInt32(position), header: header), digests: [digest])
        }
        try index.addOwnPacks([(Self.pack(1), 99, table)])
        let offsets = try digests.map { digest in
            try index.allPlaces(of: #require(try index.find(digest)).number).map(\.byteOffset)
        }
        #expect(offsets == (0..<50).map { [$0] })
        #expect(try index.find(Digest(words: 7, 7, 50, 0)) == nil)
        #expect(try index.find(Digest(words: 7, 8, 0, 0)) == nil)
    }

    @Test(
        "A digest in several packs has a place in each, the shallowest first",
        arguments: [false, true])
    func places(isTogether: Bool) throws {
        let index = try index()
        let packs: [(id: ObjectID, byteCount: UInt64, table: PackTable)] = [
            (Self.pack(1), 10, Self.table([5, 6], kind: .patch, depth: 4)),
            (Self.pack(2), 10, Self.table([6], kind: .patch, depth: 2)),
            (Self.pack(3), 10, Self.table([7, 6])),
        ]
        if isTogether {
            try index.addOwnPacks(packs)
        } else {
            for pack in packs { try index.addOwnPacks([pack]) }
        }
        let number = try #require(try index.find(Self.digest(6))).number
        let places = try index.allPlaces(of: number)
        #expect(places.map(\.depth) == [0, 2, 4])
        #expect(
            places.map { index.pack($0.pack)?.id } == [Self.pack(3), Self.pack(2), Self.pack(1)])
        #expect(places.map(\.byteOffset) == [1000, 0, 1000])
        #expect(places.map(\.payloadByteCount) == [101, 100, 101])
        #expect(index.blockCount == 3)
    }

    @Test("The blocks of a frame have its place, each with its own slot")
    func slots() throws {
        let index = try index()
        var table = PackTable()
        table.append(
            FrameEntry(
                byteOffset: 96,
                header: FrameHeader(kind: .zstd, blockCount: 64, payloadByteCount: 500)),
            digests: (0..<64).map(Self.digest)[...])
        try index.addOwnPacks([(Self.pack(1), 10, table)])
        let slots = try (0..<64 as Range<UInt64>).map { number in
            try index.allPlaces(of: #require(try index.find(Self.digest(number))).number)
                .map(\.slot)
        }
        #expect(slots == (0..<64).map { [$0] })
    }

    @Test("A place comes back from its sixteen bytes")
    func placeBytes() {
        let place = Place(
            pack: 1, byteOffset: 0xFEDC_BA98, payloadByteCount: 0x0102_0304, slot: 63,
            frameBlockCount: 64, kind: .patch, depth: 8)
        var bytes = [UInt8](repeating: 0xFF, count: 20)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        place.store(at: 2, in: &raw)
        #expect(bytes[..<2] == [0xFF, 0xFF])
        #expect(bytes[18...] == [0xFF, 0xFF])
        let again = Place(at: 2, in: bytes.rawSpan)
        #expect(again == place)
        #expect(place.frameByteCount == 64 + 0x0102_0304)
    }

    @Test("Packs that are gone from the repository are dropped, and their blocks with them")
    func droppedPacks() throws {
        let index = try index()
        try index.addOwnPacks([(Self.pack(1), 10, Self.table([1, 2]))])
        try index.addOwnPacks([(Self.pack(2), 10, Self.table([2, 3]))])
        // The repository has neither of them.
        try index.synchronizePacks(with: home.repository)
        #expect(index.packCount == 0)
        #expect(try index.find(Self.digest(2)) == nil)
        // A block that comes back keeps its number and gets the new place.
        try index.addOwnPacks([(Self.pack(3), 10, Self.table([9, 2]))])
        let number = try #require(try index.find(Self.digest(2))).number
        #expect(
            try index.allPlaces(of: number).map { index.pack($0.pack)?.id } == [Self.pack(3)])
    }

    @Test(
        "Every place of a block is kept that a pack names more than once", arguments: [10, 70_000])
    func placesInOnePack(count: UInt64) throws {
        let index = try index()
        try index.addOwnPacks([(Self.pack(1), 10, Self.table(Array(0..<count) + [3, 5, 3]))])
        for (number, placeCount) in [(3, 3), (5, 2), (7, 1)] as [(UInt64, Int)] {
            let found = try #require(try index.find(Self.digest(number)))
            #expect(try index.allPlaces(of: found.number).count == placeCount)
        }
    }

    @Test("Digests that begin alike are not gone through one by one")
    func likeDigests() throws {
        let lookups = Lookups()
        let index = try Index(
            directory: directory.path + "/index", identity: home.repository.identity,
            lookups: lookups)
        var table = PackTable()
        let digests = (0..<500 as Range<UInt64>).map { Digest(words: 7, 7, 7, $0) }
        for (position, digest) in digests.enumerated() {
            table.append(
                FrameEntry(
                    byteOffset: UInt32(position * 1000),
                    header: FrameHeader(kind: .zstd, blockCount: 1, payloadByteCount: 100)),
                digests: [digest])
        }
        try index.addOwnPacks([(Self.pack(1), 10, table)])
        for digest in digests { #expect(try index.find(digest) != nil) }
        #expect(lookups.rowCount < 1000)
    }

    @Test("A pack that cannot be read is reported and left out")
    func damagedPack() throws {
        let index = try index()
        try home.store.create(ObjectNames.pack(Self.pack(1)), [1, 2, 3])
        var damaged: [ObjectID] = []
        try index.synchronizePacks(with: home.repository) { id, error in
            damaged.append(id)
            #expect(error.kind == .damaged)
        }
        #expect(damaged == [Self.pack(1)])
        #expect(index.packCount == 0)
    }

    @Test("What the index knows is there when it is opened again")
    func reopening() throws {
        try index().addOwnPacks([(Self.pack(1), 10, Self.table([1]))])
        let index = try index()
        #expect(index.packCount == 1)
        #expect(try index.find(Self.digest(1))?.isOwn == true)
        try index.clear()
        #expect(index.packCount == 0)
        #expect(index.blockCount == 0)
        #expect(try index.find(Self.digest(1)) == nil)
    }

    @Test("Each index has a secret of its own, and keeps it")
    func secrets() throws {
        let block: [UInt8] = Array(repeating: 1, count: 4096)
        func fingerprint(_ directory: String) throws -> [UInt64] {
            let index = try Index(
                directory: self.directory.path + directory, identity: home.repository.identity)
            let value = index.fingerprints.hash128(block.rawSpan)
            return [value.low, value.high]
        }
        let first = try fingerprint("/a")
        #expect(try fingerprint("/a") == first)
        #expect(try fingerprint("/b") != first)
    }

    @Test("The index of another repository or block size is replaced")
    func otherRepository() throws {
        let own = home.repository.identity
        for other in [
            RepositoryIdentity(id: ObjectID(high: 1, low: 2), blockSize: own.blockSize),
            RepositoryIdentity(id: own.id, blockSize: .standard),
        ] {
            try index(own).addOwnPacks([(Self.pack(1), 10, Self.table([1]))])
            #expect(try index(other).packCount == 0)
            #expect(try index(own).packCount == 0)
        }
    }

    @Test(
        "An index file of garbage is replaced",
        arguments: [0, 1, 4095, 4096, 8191, 8192, 12_288, 100_000])
    func garbage(byteCount: Int) throws {
        for seed in [nil, 1, 2] as [UInt64?] {
            var generator = SeededGenerator(seed: seed ?? 0)
            let bytes =
                seed == nil
                ? [UInt8](repeating: 0, count: byteCount) : generator.bytes(byteCount)
            let directory = try TemporaryDirectory()
            let path = directory.path + "/index.mdb"
            let file = try FileHandle(path, .create)
            try PositionedIO.write(file.descriptor, bytes.rawSpan, at: 0, subject: path)
            let index = try Index(directory: directory.path, identity: home.repository.identity)
            #expect(index.packCount == 0)
            try index.addOwnPacks([(Self.pack(1), 10, Self.table([1]))])
            #expect(try index.find(Self.digest(1)) != nil)
        }
    }

    @Test("A truncated index file is replaced or whole", arguments: 0..<10)
    func cutShort(tenths: Int) throws {
        let path = directory.path + "/index/index.mdb"
        do {
            let index = try index()
            try index.addOwnPacks([(Self.pack(1), 10, Self.table(Array(0..<3000)))])
        }
        let file = try FileHandle(path, .readWrite)
        let byteCount = try file.status(path).byteCount
        try FileOperation.truncate(
            file.descriptor, to: byteCount * UInt64(tenths) / 10, subject: path)
        let index = try index()
        #expect(index.packCount == 0)
        try index.addOwnPacks([(Self.pack(1), 10, Self.table([1]))])
        #expect(try index.find(Self.digest(1)) != nil)
    }
}
