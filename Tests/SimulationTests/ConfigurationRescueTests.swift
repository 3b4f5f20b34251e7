import BlockModel
import Maintenance
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// A repository whose `config` is lost or damaged.
@Suite struct ConfigurationRescueTests {
    private let store = MemoryStore()
    private let lab: Lab
    private let image: [UInt8]
    private let now = Timestamp(seconds: 1_800_000_000)

    init() throws {
        lab = try Lab(store, blockSize: 8192)
        var generator = SeededGenerator(seed: 3)
        image = generator.bytes(300_000)
        try lab.capture(image)
    }

    private func rescue() throws -> ConfigurationReport? {
        try ConfigurationRescue.run(in: store, now: now)
    }

    private func expectError(_ kind: RepositoryError.Kind, _ text: String) {
        let before = store.objects
        let error = #expect(throws: RepositoryError.self) { _ = try rescue() }
        #expect(error?.kind == kind)
        #expect(error?.description.contains(text) == true, "\(error as Any)")
        #expect(store.objects == before)
    }

    @Test("One that is whole is left as it is")
    func whole() throws {
        let before = store.objects
        #expect(try rescue() == nil)
        #expect(store.objects == before)
    }

    @Test("Lost, empty, cut short at any byte or with any byte changed, it is written as it was")
    func everyDamage() throws {
        let old = try #require(store.objects[ObjectNames.configuration])
        var variants: [[UInt8]?] = [nil, []]
        for count in 1..<old.count { variants.append(Array(old.prefix(count))) }
        for index in old.indices where !(62..<79).contains(index) {
            var bytes = old
            bytes[index] ^= 0x10
            variants.append(bytes)
        }
        for bytes in variants {
            store.objects[ObjectNames.configuration] = bytes
            let error = #expect(throws: RepositoryError.self) {
                _ = try Repository(openingIn: store)
            }
            #expect(error?.kind == .damaged)
            #expect(error?.description.contains("varve repair") == true)
            let rescue = try #require(try rescue())
            #expect(rescue.repository == lab.repository.identity.id)
            #expect(rescue.foreignCount == 0)
            let opened = try Repository(openingIn: store)
            #expect(opened.identity == lab.repository.identity)
            #expect(opened.configuration.features.required == 0)
        }
        let again = try Lab(store)
        #expect(try again.restoreAll() == [image])
        #expect(try again.check().findings == [])
    }

    @Test("A damaged one that may ask for features or sealing is not replaced", arguments: 62..<79)
    func protection(index: Int) throws {
        var bytes = try #require(store.objects[ObjectNames.configuration])
        bytes[index] |= 0x10
        store.objects[ObjectNames.configuration] = bytes
        expectError(.damaged, "features or sealing")
    }

    @Test("A damaged one that a newer version wrote, or of another repository, is not replaced")
    func otherOrigin() throws {
        let old = try #require(store.objects[ObjectNames.configuration])
        // Its header is whole, the rest is not.
        func damage(_ index: Int) {
            var bytes = Array(old.dropLast(5))
            bytes[index] ^= 3
            let end = 40 + ObjectNames.configuration.utf8.count
            let sum = TestHash.xxh3(Array(bytes[..<end]))
            for index in 0..<8 {
                bytes[end + index] = UInt8(truncatingIfNeeded: sum >> (8 * index))
            }
            store.objects[ObjectNames.configuration] = bytes
        }
        damage(8)
        expectError(.unsupported, "update varve")
        damage(16)
        expectError(.damaged, "is of repository")
    }

    @Test("Where a newer version wrote any object of the repository, nothing is written")
    func newerVersion() throws {
        store.objects[ObjectNames.configuration] = nil
        let name = try #require(store.objects.keys.first { $0.hasPrefix(ObjectNames.packs) })
        var bytes = try #require(store.objects[name])
        let end = 40 + name.utf8.count
        bytes[8] = 2
        let sum = TestHash.xxh3(Array(bytes[..<end]))
        for index in 0..<8 { bytes[end + index] = UInt8(truncatingIfNeeded: sum >> (8 * index)) }
        store.objects[name] = bytes
        expectError(.unsupported, "update varve")
    }

    @Test(
        "Objects of another repository are outvoted, and told; without a majority nothing is written"
    )
    func foreign() throws {
        let otherStore = MemoryStore()
        var generator = SeededGenerator(seed: 99)
        let size = try #require(BlockSize(byteCount: 4096))
        _ = try Repository(
            creatingIn: otherStore, blockSize: size, created: now, generator: &generator)
        let other = try Lab(otherStore)
        other.seed = 9
        other.packByteTarget = 20_000
        for _ in 0..<12 { try other.capture(generator.bytes(40_000)) }
        let packs = otherStore.objects.filter { $0.key.hasPrefix(ObjectNames.packs) }
        let old = try #require(store.objects[ObjectNames.configuration])
        store.objects[ObjectNames.configuration] = nil
        try store.create(packs.keys.sorted()[0], try #require(packs[packs.keys.sorted()[0]]))
        #expect(try rescue()?.foreignCount == 1)
        store.objects[ObjectNames.configuration] = nil
        store.objects.merge(packs) { own, _ in own }
        expectError(.damaged, "do not agree")
        store.objects[ObjectNames.configuration] = old
        #expect(try rescue() == nil)
    }

    @Test("An empty place has no repository")
    func nothing() {
        store.objects = [:]
        expectError(.noRepository, "varve init")
    }

    @Test("Stopped at any call, the next one finishes it", arguments: [0, 1, 2, 3])
    func stopped(steps: Int) throws {
        store.objects[ObjectNames.configuration] = [1, 2, 3]
        for effect in CrashEffect.allCases {
            store.crash(afterSteps: steps, effect)
            _ = try? rescue()
            store.restart()
            _ = try rescue()
            #expect(try Repository(openingIn: store).identity == lab.repository.identity)
            store.objects[ObjectNames.configuration] = [1, 2, 3]
        }
    }
}
