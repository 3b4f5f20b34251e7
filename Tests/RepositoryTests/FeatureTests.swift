import BlockModel
import Maintenance
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// Features that a later version added to a repository which this one created.
struct FeatureTests {
    private let store = MemoryStore()
    private let identity: RepositoryIdentity

    init() throws {
        let size = try #require(BlockSize(byteCount: 4096))
        var generator = SeededGenerator(seed: 1)
        identity = try Repository(
            creatingIn: store, blockSize: size, created: Timestamp(seconds: 1),
            generator: &generator
        ).identity
    }

    private func add(_ features: FeatureSet, of identity: RepositoryIdentity) throws -> String {
        let id = ObjectID(high: 3, low: features.required ^ features.optional)
        let name = ObjectNames.featureSet(features, id: id)
        try store.create(name, try features.encoded(id: id, identity: identity))
        return name
    }

    private func open() throws -> Repository { try Repository(openingIn: store) }

    @Test("A required feature that nobody here knows refuses the repository, and says its bits")
    func required() throws {
        _ = try add(FeatureSet(required: 1 << 40), of: identity)
        let error = #expect(throws: RepositoryError.self) { try open() }
        #expect(error?.kind == .unsupported)
        #expect(error?.description.contains("0x10000000000") == true)
    }

    @Test("An optional one lets it be read and not written; several count together")
    func optional() throws {
        try open().requireWritable()
        _ = try add(FeatureSet(optional: 1), of: identity)
        _ = try add(FeatureSet(optional: 1 << 63), of: identity)
        let repository = try open()
        #expect(repository.features == FeatureSet(optional: 1 << 63 | 1))
        let error = #expect(throws: RepositoryError.self) { try repository.requireWritable() }
        #expect(error?.kind == .unsupported)
    }

    @Test("A damaged feature set counts by its name, and a check names it")
    func damaged() throws {
        let name = try add(FeatureSet(optional: 2), of: identity)
        try store.delete(name, .durable)
        try store.create(name, [1, 2, 3])
        let repository = try open()
        #expect(repository.features == FeatureSet(optional: 2))
        #expect(throws: RepositoryError.self) { try repository.requireWritable() }
        let findings = try findings(repository)
        #expect(findings.map(\.subject) == [name] && findings.allSatisfy(\.isHarmless))
    }

    @Test("One that was copied from another repository counts for nothing, nor does another name")
    func foreign() throws {
        let other = RepositoryIdentity(id: ObjectID(high: 9, low: 9), blockSize: identity.blockSize)
        let name = try add(FeatureSet(required: 1, optional: 1), of: other)
        try store.create("features/Thumbs.db", [1])
        let repository = try open()
        #expect(repository.features == FeatureSet())
        try repository.requireWritable()
        #expect(Set(try findings(repository).map(\.subject)) == [name, "features/Thumbs.db"])
    }

    private func findings(_ repository: Repository) throws -> [Finding] {
        let scratch = ScratchDirectory()
        var check = try RepositoryCheck(repository, scratchDirectory: scratch.path)
        var generator = SeededGenerator(seed: 1)
        return try check.run(.none, workerCount: 1, generator: &generator) { _, _ in }.findings
    }
}
