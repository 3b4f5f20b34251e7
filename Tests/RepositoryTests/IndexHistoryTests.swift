import BlockModel
import LMDB
import ObjectStore
import RepositoryFormat
import RepositoryModel
import TestKit
import Testing

@testable import Maintenance
@testable import Packs
@testable import Repository
@testable import RepositoryIndex

/// The history pages of an index against a model of the volume.
struct IndexHistoryTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func index(_ model: HistoryModel, _ name: String = "index") throws -> Index {
        try Index(
            directory: directory.path + "/" + name, identity: model.home.repository.identity)
    }

    /// The generations whose blocks the index has otherwise than the model.
    private func differences(
        _ index: Index,
        _ history: History,
        _ model: HistoryModel
    ) throws -> [Generation] {
        try model.states.filter { state in
            try HistoryModel.contents(index, history, state, zeroDigest: model.zeroDigest)
                != state.blocks
        }.map(\.generation)
    }

    @Test("Every generation is read as it was, step by step and rebuilt", arguments: 1...6)
    func histories(seed: UInt64) throws {
        var model = try HistoryModel(seed: seed)
        let index = try index(model)
        try model.begin(blockCount: 1 + Int.random(in: 0...9000, using: &model.generator))
        for _ in 0..<14 {
            let history = try #require(
                try index.synchronize(
                    model.timeline, with: model.home.repository,
                    options: [.verifyingImageDigests]))
            #expect(history.tip == model.states.last?.facts.snapshotID)
            #expect(history.tipByteCount == model.states.last?.facts.byteCount)
            try model.step()
        }
        let history = try #require(
            try index.synchronize(model.timeline, with: model.home.repository))
        #expect(try differences(index, history, model) == [], "seed \(seed)")

        let rebuilt = try self.index(model, "rebuilt")
        let rebuiltLine = try #require(
            try rebuilt.synchronize(model.timeline, with: model.home.repository))
        #expect(try differences(rebuilt, rebuiltLine, model) == [], "seed \(seed)")
        let last = try #require(model.states.last)
        #expect(
            try rebuilt.leaves(rebuiltLine.number, byteCount: last.facts.byteCount)
                == model.leaves(of: last.blocks))
    }

    /// The patches of a page outweigh a full one after some fifty generations.
    @Test("A page that changes a little very often is read as it was")
    func longChains() throws {
        var model = try HistoryModel(seed: 1)
        let index = try index(model)
        try model.begin(blockCount: 300)
        for _ in 0..<70 {
            guard let last = model.states.last else { return }
            var blocks = last.blocks
            for _ in 0..<Int.random(in: 60...140, using: &model.generator) {
                let word = model.generator.next()
                blocks[Int(word % 300)] = .data(Digest(words: word, word, word, word))
            }
            try model.commit(blocks, after: last)
        }
        let history = try #require(
            try index.synchronize(
                model.timeline, with: model.home.repository, options: [.verifyingImageDigests]))
        #expect(try differences(index, history, model) == [])
    }

    @Test("What was cut off by a shrink does not come back with a later growth")
    func shrinkAndGrow() throws {
        var model = try HistoryModel(seed: 5)
        let data: [HistoryModel.Content] = (0..<5000).map {
            .data(Digest(words: UInt64($0), 1, 2, 3))
        }
        try model.commit(data, after: nil)
        for blockCount in [4096, 100, 1, 5000, 4097, 9000] {
            guard let last = model.states.last else { return }
            let kept = last.blocks.prefix(blockCount)
            let added = [HistoryModel.Content](repeating: .zero, count: blockCount - kept.count)
            try model.commit(kept + added, after: last)
        }
        let index = try index(model)
        let history = try #require(
            try index.synchronize(
                model.timeline, with: model.home.repository, options: [.verifyingImageDigests]))
        #expect(try differences(index, history, model) == [])
    }

    @Test("A map in parts is applied like one inside its delta")
    func parts() throws {
        var model = try HistoryModel(seed: 6)
        var blocks = [HistoryModel.Content](repeating: .free, count: 9000)
        for block in 0..<9000 where block % 3 == 0 {
            blocks[block] = .data(Digest(words: UInt64(block), 0, 0, 1))
        }
        let delta = try model.commit(blocks, after: nil, partByteLimit: 10_000)
        #expect(delta.head.parts.count > 5)
        #expect(delta.head.dataBlockCount == 3000)
        #expect(delta.head.freeBlockCount == 6000)
        let index = try index(model)
        let history = try #require(
            try index.synchronize(
                model.timeline, with: model.home.repository, options: [.verifyingImageDigests]))
        #expect(try differences(index, history, model) == [])
    }

    @Test("A map that does not give the image digest of its snapshot is damage")
    func wrongImageDigest() throws {
        var model = try HistoryModel(seed: 7)
        try model.begin(blockCount: 500)
        try model.commit(
            model.states[0].blocks, after: model.states[0],
            imageDigest: Digest(words: 1, 2, 3, 4))
        let index = try index(model)
        let timeline = try model.timeline
        let history = try index.synchronize(
            timeline, with: model.home.repository, options: [.verifyingImageDigests])
        #expect(history?.tipGeneration == 1)
        // It is known from then on, and relied on no more.
        let left = index.withoutFalse(timeline)
        #expect(left.unproved.map(\.delta.name) == [model.deltas[1].name])
        #expect(left.unproved.first?.reason.contains("image digest") == true)
        #expect(left.snapshots.map(\.generation) == [1])
        #expect(try index.synchronize(left, with: model.home.repository)?.tipGeneration == 1)
    }

    @Test("Both sides of a fork are read, each on its own history", arguments: 1...4)
    func forks(seed: UInt64) throws {
        var model = try HistoryModel(seed: seed)
        try model.begin(blockCount: 3000)
        try model.step()
        let base = model.states[1]
        try model.commit(model.changed(base.blocks), after: base)
        try model.commit(model.changed(base.blocks), after: base)
        let index = try index(model)
        let timeline = try model.timeline
        #expect(timeline.snapshots.map(\.generation) == [1, 2, 3, 3])
        var histories: Set<HistoryNumber> = []
        for state in model.states {
            let snapshot = try #require(timeline.snapshot(state.facts.snapshotID))
            let history = try index.map(of: snapshot, in: timeline, with: model.home.repository)
                .history
            #expect(history.tip == snapshot.id)
            #expect(history.tipByteCount == state.facts.byteCount)
            let contents = try HistoryModel.contents(
                index, history, state, zeroDigest: model.zeroDigest)
            #expect(contents == state.blocks, "seed \(seed), \(snapshot.id.short)")
            histories.insert(history.number)
        }
        #expect(histories.count == 2)
    }

    @Test("A forked snapshot is read through merged deltas too")
    func forkBehindMergedDelta() throws {
        var model = try HistoryModel(seed: 9)
        try model.begin(blockCount: 3000)
        try model.step()
        try model.step()
        let base = model.states[1]
        let fork = try model.commit(model.changed(base.blocks), after: base)
        let target = try #require(model.states.last)
        let merged = try model.write(from: nil, to: target)
        let timeline = try model.timeline
        #expect(timeline.deltas.contains(merged))
        let snapshot = try #require(timeline.snapshot(fork.head.to))
        let index = try index(model)
        let history = try index.map(of: snapshot, in: timeline, with: model.home.repository).history
        let contents = try HistoryModel.contents(
            index, history, target, zeroDigest: model.zeroDigest)
        #expect(contents == target.blocks)
    }

    @Test("An index that shows another history of the volume is replaced")
    func otherHistory() throws {
        var model = try HistoryModel(seed: 10)
        try model.begin(blockCount: 2000)
        try model.step()
        let index = try index(model)
        let first = try #require(
            try index.synchronize(model.timeline, with: model.home.repository))
        // The second snapshot is lost and another one took its place.
        try model.home.store.delete(model.deltas[1].name.objectName)
        let lost = model.states.remove(at: 1)
        try model.commit(model.changed(lost.blocks), after: model.states[0], as: 2)
        let second = try #require(
            try index.synchronize(model.timeline, with: model.home.repository))
        #expect(second.number != first.number)
        #expect(try differences(index, second, model) == [])
    }

    @Test("A delta that a crash left half applied is applied again", arguments: 1...4)
    func halfApplied(seed: UInt64) throws {
        var model = try HistoryModel(seed: seed)
        try model.begin(blockCount: 6000)
        for _ in 0..<3 { try model.step() }
        let index = try index(model)
        let history = try #require(
            try index.synchronize(model.timeline, with: model.home.repository))
        // All pages of the last delta are there, and the history says that it is not finished.
        let before = model.states[2]
        let pending = HistoryState.Pending(
            snapshot: model.states[3].facts.snapshotID, generation: 4)
        try index.environment.write { transaction in
            var state = try #require(try index.historyState(history.number, transaction))
            state.tip = before.facts.snapshotID
            state.tipGeneration = before.generation
            state.tipByteCount = before.facts.byteCount
            state.pending = pending
            try index.putHistory(history.number, state, transaction)
        }
        let again = try #require(
            try index.synchronize(
                model.timeline, with: model.home.repository, options: [.verifyingImageDigests]))
        #expect(again == history)
        #expect(try differences(index, again, model) == [], "seed \(seed)")
    }

    @Test("If a delta disappears before it was fully applied, the history starts again")
    func halfAppliedAndGone() throws {
        var model = try HistoryModel(seed: 11)
        try model.begin(blockCount: 600)
        try model.step()
        let index = try index(model)
        let history = try #require(
            try index.synchronize(model.timeline, with: model.home.repository))
        try index.environment.write { transaction in
            var state = try #require(try index.historyState(history.number, transaction))
            state.pending = HistoryState.Pending(
                snapshot: SnapshotID(Digest(words: 9, 9, 9, 9)), generation: 3)
            try index.putHistory(history.number, state, transaction)
        }
        let again = try #require(
            try index.synchronize(model.timeline, with: model.home.repository))
        #expect(again.number != history.number)
        #expect(again.tipGeneration == 2)
        #expect(try differences(index, again, model) == [])
    }

    @Test(
        "The difference of two snapshots is every run of bytes that reads otherwise",
        arguments: 1...6)
    func difference(seed: UInt64) throws {
        var model = try HistoryModel(seed: seed)
        try model.begin(blockCount: 5000)
        for _ in 0..<5 { try model.step() }
        let index = try index(model)
        let history = try #require(
            try index.synchronize(model.timeline, with: model.home.repository))
        for (a, b) in [(0, 5), (5, 0), (2, 3), (1, 1)] {
            let (from, to) = (model.states[a], model.states[b])
            let maps = [from, to].map {
                SnapshotMap(
                    index, history, generation: $0.generation, byteCount: $0.facts.byteCount)
            }
            var found: [DifferingBytes] = []
            try maps[1].changes(since: maps[0]) {
                found.append(
                    DifferingBytes(
                        offset: $0.byteOffset, byteCount: $0.byteCount, isZero: $0.isZero))
            }
            #expect(
                found
                    == Self.difference(
                        model.digests(of: from.blocks), model.digests(of: to.blocks),
                        zero: model.zeroDigest), "seed \(seed), \(a) to \(b)")
        }
    }

    private struct DifferingBytes: Equatable {
        var offset: UInt64
        var byteCount: UInt64
        var isZero: Bool
    }

    /// Block by block; what is beyond an end reads as zeros.
    private static func difference(
        _ before: [Digest],
        _ after: [Digest],
        zero: Digest
    ) -> [DifferingBytes] {
        var runs: [DifferingBytes] = []
        for block in 0..<max(before.count, after.count) {
            let old = block < before.count ? before[block] : zero
            let new = block < after.count ? after[block] : zero
            guard old != new else { continue }
            let offset = UInt64(block) * 4096
            if let last = runs.last, last.offset + last.byteCount == offset,
                last.isZero == (new == zero)
            {
                runs[runs.count - 1].byteCount += 4096
            } else {
                runs.append(
                    DifferingBytes(offset: offset, byteCount: 4096, isZero: new == zero))
            }
        }
        return runs
    }
}
