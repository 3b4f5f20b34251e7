import BlockModel
import RepositoryFormat
import TestKit
import Testing

/// Decoders are fed what nobody wrote; they refuse it, and do nothing else.
@Suite(.timeLimit(.minutes(60)))
struct HostileBytesTests {
    @Test("Every shorter beginning of an object is refused", arguments: Decoder.all)
    func truncations(decoder: Decoder) throws {
        let bytes = try decoder.valid()
        let accepted = (0..<bytes.count).filter { !decoder.refuses(Array(bytes[..<$0])) }
        #expect(accepted == [])
    }

    @Test("An object with bytes behind its end is refused", arguments: Decoder.all)
    func trailingBytes(decoder: Decoder) throws {
        let bytes = try decoder.valid()
        #expect(decoder.refuses(bytes + [0]))
        #expect(decoder.refuses(bytes + bytes))
    }

    @Test("An object with any single bit flipped is refused", arguments: Decoder.all)
    func flips(decoder: Decoder) throws {
        var bytes = try decoder.valid()
        var accepted: [Int] = []
        for bit in 0..<bytes.count * 8 {
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            if !decoder.refuses(bytes) { accepted.append(bit) }
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        }
        #expect(accepted == [])
        #expect(!decoder.refuses(bytes))
    }

    @Test("Random bytes are refused", arguments: Decoder.all, 1...3)
    func randomBytes(decoder: Decoder, seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let valid = try decoder.valid()
        var accepted: [Int] = []
        for round in 0..<1000 {
            let random = generator.bytes(Int.random(in: 0...600, using: &generator))
            // Alone, and behind a beginning that is right.
            let kept = Int.random(in: 0..<valid.count, using: &generator)
            if !decoder.refuses(random) || !decoder.refuses(valid[..<kept] + random) {
                accepted.append(round)
            }
        }
        #expect(accepted == [])
    }

    @Test(
        "A section whose checksum was made to fit again is refused or means what it says",
        arguments: Decoder.all)
    func resealedFlips(decoder: Decoder) throws {
        let (header, sections) = try SectionedObject.decode(
            decoder.valid(), sectionCount: decoder.sectionCount)
        for number in sections.indices {
            for bit in 0..<sections[number].count * 8 {
                var forged = sections.map(Array.init)
                forged[number][bit / 8] ^= 1 << UInt8(bit % 8)
                let bytes = try SectionedObject.encode(header, sections: forged)
                try decoder.expectSameBytesOrRefusal(bytes, "section \(number), bit \(bit)")
            }
        }
    }

    @Test(
        "A random section under a right checksum is refused or means what it says",
        arguments: Decoder.all, 1...3)
    func resealedRandom(decoder: Decoder, seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let (header, sections) = try SectionedObject.decode(
            decoder.valid(), sectionCount: decoder.sectionCount)
        for round in 0..<1000 {
            var forged = sections.map(Array.init)
            let number = Int.random(in: forged.indices, using: &generator)
            let kept = Int.random(in: 0...forged[number].count, using: &generator)
            let random = generator.bytes(Int.random(in: 0...300, using: &generator))
            forged[number] = forged[number][..<kept] + random
            let bytes = try SectionedObject.encode(header, sections: forged)
            try decoder.expectSameBytesOrRefusal(bytes, "round \(round)")
        }
    }

    @Test("Random maps are refused or mean what they say", arguments: 1...10)
    func randomMaps(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let valid = DeltaMap.random(from: &generator, runs: 20, gap: 10).encoded()
        for round in 0..<2000 {
            var bytes = valid
            for _ in 0...Int.random(in: 0...3, using: &generator) {
                let bit = Int.random(in: 0..<bytes.count * 8, using: &generator)
                bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            }
            if Bool.random(using: &generator) {
                bytes.removeLast(Int.random(in: 1...40, using: &generator))
            }
            do throws(FormatError) {
                let map = try DeltaMap(decoding: bytes[...], within: 0..<Format.blockIndexLimit)
                #expect(map.encoded() == bytes, "seed \(seed), round \(round)")
            } catch {
                continue
            }
        }
    }
}

/// One kind of object that is made of sections, a valid one of it, and its decoder.
struct Decoder: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let sectionCount: Int
    let valid: @Sendable () throws -> [UInt8]
    /// Decodes and encodes again.
    let reencode: @Sendable ([UInt8]) throws -> [UInt8]

    /// Whether the bytes are refused, and with an error of the format.
    func refuses(_ bytes: [UInt8]) -> Bool {
        do {
            _ = try reencode(bytes)
            return false
        } catch {
            return error is FormatError && error as? FormatError != .notReproducible
        }
    }

    func expectSameBytesOrRefusal(_ bytes: [UInt8], _ comment: Comment) throws {
        do {
            let again = try reencode(bytes)
            if again != bytes {
                Issue.record("\(comment): the bytes mean something else when written again")
            }
        } catch is FormatError {
            return
        }
    }

    static let all = [
        Decoder(
            testDescription: "configuration", sectionCount: 1,
            valid: { try Sample.configuration.encoded() },
            reencode: { try RepositoryConfiguration(decoding: $0).encoded() }),
        Decoder(
            testDescription: "delta with its map inside", sectionCount: 2,
            valid: { try reencodeDelta(Sample.head, Sample.map) },
            reencode: reencodeDelta),
        Decoder(
            testDescription: "delta with parts", sectionCount: 2,
            valid: { try reencodeDelta(Sample.headWithParts.head, DeltaMap()) },
            reencode: reencodeDelta),
        Decoder(
            testDescription: "part", sectionCount: 1,
            valid: { try part(Sample.headWithParts.maps[0]) },
            reencode: {
                try part(
                    PartObject.decode(
                        $0, reference: Sample.headWithParts.head.parts[0],
                        identity: Sample.identity))
            }),
        Decoder(
            testDescription: "newest marker", sectionCount: 1,
            valid: { try Sample.marker.encoded(identity: Sample.identity) },
            reencode: {
                try NewestMarker(
                    decoding: $0, volume: Sample.volume, name: Sample.marker.objectName,
                    identity: Sample.identity
                ).encoded(identity: Sample.identity)
            }),
        Decoder(
            testDescription: "note", sectionCount: 1,
            valid: {
                try Sample.note.encoded(name: Sample.noteName, identity: Sample.identity)
            },
            reencode: {
                try Note(decoding: $0, name: Sample.noteName, identity: Sample.identity)
                    .encoded(name: Sample.noteName, identity: Sample.identity)
            }),
        Decoder(
            testDescription: "hold", sectionCount: 1,
            valid: {
                try Sample.hold.encoded(name: Sample.holdName, identity: Sample.identity)
            },
            reencode: {
                try HoldRecord(decoding: $0, name: Sample.holdName, identity: Sample.identity)
                    .encoded(name: Sample.holdName, identity: Sample.identity)
            }),
        Decoder(
            testDescription: "prune list", sectionCount: 1,
            valid: {
                try Sample.pruneList.encoded(
                    name: Sample.pruneListName, identity: Sample.identity)
            },
            reencode: {
                try PruneList(
                    decoding: $0, name: Sample.pruneListName, identity: Sample.identity
                ).encoded(name: Sample.pruneListName, identity: Sample.identity)
            }),
        Decoder(
            testDescription: "feature set", sectionCount: 1,
            valid: {
                try Sample.features.encoded(id: Sample.objectID, identity: Sample.identity)
            },
            reencode: {
                try FeatureSet(
                    decoding: $0, name: Sample.featuresName, identity: Sample.identity
                ).encoded(id: Sample.objectID, identity: Sample.identity)
            }),
    ]

    private static func reencodeDelta(_ head: DeltaHead, _ map: DeltaMap) throws -> [UInt8] {
        try DeltaObject.encode(
            name: Sample.deltaName, identity: Sample.identity, head: head, inlineMap: map)
    }

    @Sendable private static func reencodeDelta(_ bytes: [UInt8]) throws -> [UInt8] {
        let (head, map) = try DeltaObject.decode(
            bytes, name: Sample.deltaName, identity: Sample.identity)
        return try reencodeDelta(head, map)
    }

    private static func part(_ map: DeltaMap) throws -> [UInt8] {
        try PartObject.encode(
            id: Sample.headWithParts.head.parts[0].id, identity: Sample.identity,
            encodedMap: map.encoded())
    }
}
