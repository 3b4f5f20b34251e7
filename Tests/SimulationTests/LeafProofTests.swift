import BlockModel
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

@testable import Maintenance
@testable import Packs
@testable import Repository
@testable import RepositoryIndex

/// What a capture takes from an index of the snapshot before is that snapshot's.
@Suite struct LeafProofTests {
    private let lab: Lab

    init() throws {
        lab = try Lab(MemoryStore())
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<2 { try lab.capture(generator.bytes(4 * 4096)) }
        // One that is opened again may have lost writes.
        lab.closeIndex()
    }

    @Test("Leaves are believed of the snapshot whose image digest they give, and of no other")
    func leaves() throws {
        let timeline = try lab.timeline()
        let index = try lab.index()
        let line = try #require(try index.synchronize(timeline, with: lab.repository))
        let tree = ImageDigestTree(blockSize: lab.repository.blockSize)
        let tip = try #require(timeline.snapshots.last)
        #expect(try index.provedLeaves(of: line, at: tip, tree).count == 1)
        var facts = tip.facts
        facts.imageDigest = Digest(words: 1, 2, 3, 4)
        let other = try #require(timeline.snapshots.first)
        for wrong in [
            Snapshot(id: tip.id, generation: tip.generation, facts: facts),
            // Its leaves would be another's.
            Snapshot(id: other.id, generation: other.generation, facts: tip.facts),
        ] {
            let error = #expect(throws: RepositoryError.self) {
                try index.provedLeaves(of: line, at: wrong, tree)
            }
            #expect(error?.kind == .index)
        }
    }
}
