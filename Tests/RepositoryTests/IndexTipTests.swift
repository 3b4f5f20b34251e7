import BlockModel
import LMDB
import ObjectStore
import RepositoryFormat
import TestKit
import Testing

@testable import Maintenance
@testable import Packs
@testable import Repository
@testable import RepositoryIndex

/// Fingerprints of the newest snapshot, and what an index remembers beside them.
struct IndexTipTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func index(_ model: HistoryModel) throws -> Index {
        try Index(directory: directory.path + "/index", identity: model.home.repository.identity)
    }

    private static func page(_ blockCount: Int, seed: UInt64) -> TipPage {
        var generator = SeededGenerator(seed: seed)
        var page = TipPage(blockCount: blockCount)
        for slot in 0..<blockCount where generator.next() % 3 != 0 {
            page[slot] = Fingerprint(low: generator.next(), high: generator.next())
        }
        return page
    }

    private static func values(_ page: TipPage?) -> [Fingerprint?]? {
        page.map { page in (0..<page.blockCount).map { page[$0] } }
    }

    @Test("A page of fingerprints comes back, whatever its length", arguments: 1...3)
    func pages(seed: UInt64) {
        for blockCount in Array(0...200) + [1023, 1024, 4032, 4033, 4095, 4096] {
            let page = Self.page(blockCount, seed: seed)
            let encoded = page.encoded()
            let decoded = TipPage(decoding: encoded.rawSpan)
            #expect(Self.values(decoded) == Self.values(page))
            #expect(decoded?.isValid == page.isValid)
        }
    }

    @Test("Runs of one fingerprint, of zeros for one, take the room of one", arguments: 1...5)
    func repeatedFingerprints(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let zero = Fingerprint(low: 5, high: 6)
        var page = TipPage(blockCount: 4096)
        for slot in 0..<4096 { page[slot] = zero }
        #expect(page.encoded().count == 20)
        for _ in 0..<generator.next() % 40 {
            let start = Int(generator.next() % 4096)
            let end = min(4096, start + Int(generator.next() % 5))
            for slot in start..<end {
                page[slot] =
                    generator.next() % 3 == 0 ? nil : Fingerprint(low: generator.next(), high: 0)
            }
        }
        let encoded = page.encoded()
        #expect(encoded.count < 40 * 5 * 24 + 20)
        #expect(Self.values(TipPage(decoding: encoded.rawSpan)) == Self.values(page))
    }

    @Test("Bytes that no page has are none, wherever they are cut or changed")
    func badPages() {
        let encoded = Self.page(90, seed: 9).encoded()
        for byteCount in 1..<encoded.count {
            let bytes = Array(encoded[..<byteCount])
            guard let page = TipPage(decoding: bytes.rawSpan) else { continue }
            #expect(page.blockCount < 90 && page.encoded() == bytes, "\(byteCount)")
        }
        var generator = SeededGenerator(seed: 10)
        for _ in 0..<2000 {
            var bytes = encoded
            bytes[Int(generator.next() % UInt64(bytes.count))] ^= 1 << (generator.next() % 8)
            let blockCount = TipPage(decoding: bytes.rawSpan)?.blockCount ?? 0
            #expect(blockCount <= 4096)
        }
        let tooLong = TipPage(blockCount: 4097).encoded()
        let isNone = TipPage(decoding: tooLong.rawSpan) == nil
        #expect(isNone)
    }

    @Test("A page that grows knows nothing of its new blocks, one that shrinks forgets")
    func resize() {
        var page = Self.page(100, seed: 4)
        let before = Self.values(page) ?? []
        page.resize(to: 130)
        #expect(Self.values(page) == before + [Fingerprint?](repeating: nil, count: 30))
        page.resize(to: 40)
        #expect(Self.values(page) == Array(before[..<40]))
        page.resize(to: 100)
        #expect(Self.values(page) == before[..<40] + [Fingerprint?](repeating: nil, count: 60))
    }

    @Test("What a capture staged counts once its delta is applied, and not before")
    func staging() throws {
        var model = try HistoryModel(seed: 1)
        try model.begin(blockCount: 5000)
        let index = try index(model)
        let history = try index.historyForCapture(of: Home.volume, history: nil)
        #expect(history.tip == .nothing)
        let pages = [Self.page(4096, seed: 1), Self.page(904, seed: 2)]
        try index.stage([(0, pages[0]), (1, pages[1])], history: history.number, attempt: 77)
        let before = try index.tipPage(of: history.number, page: 0)
        #expect(Self.values(before) == nil)
        try index.applyCommitted(
            model.deltas[0], history: history.number,
            findings: CaptureFindings(attempt: 77, deltaByteCount: 1),
            repository: model.home.repository)
        for (number, page) in pages.enumerated() {
            let found = try index.tipPage(of: history.number, page: UInt64(number))
            #expect(Self.values(found) == Self.values(page))
        }
        let now = try #require(
            try index.synchronize(model.timeline, with: model.home.repository))
        #expect(now.number == history.number)
        #expect(now.tipGeneration == 1)
    }

    @Test("What another attempt staged is dropped when the next capture begins")
    func abandonedStaging() throws {
        var model = try HistoryModel(seed: 2)
        try model.begin(blockCount: 100)
        let index = try index(model)
        let history = try index.historyForCapture(of: Home.volume, history: nil)
        // More pages than one transaction drops, in front of those that count.
        let old = Self.page(1, seed: 1)
        try index.stage(
            (0..<600).map { ($0, old) }, history: history.number, attempt: 1)
        let again = try index.historyForCapture(of: Home.volume, history: history)
        let page = Self.page(100, seed: 2)
        try index.stage([(0, page)], history: again.number, attempt: 2)
        try index.applyCommitted(
            model.deltas[0], history: again.number,
            findings: CaptureFindings(attempt: 2, deltaByteCount: 1),
            repository: model.home.repository)
        let first = try index.tipPage(of: history.number, page: 0)
        #expect(Self.values(first) == Self.values(page))
        let second = try index.tipPage(of: history.number, page: 1)
        #expect(Self.values(second) == nil)
    }

    @Test("Another machine's commit makes the fingerprints of what it changed invalid, no others")
    func invalidation() throws {
        var model = try HistoryModel(seed: 3)
        let blocks = (0..<300).map { HistoryModel.Content.data(Digest(words: $0, 0, 0, 0)) }
        try model.commit(blocks, after: nil)
        let index = try index(model)
        let history = try index.historyForCapture(of: Home.volume, history: nil)
        var page = TipPage(blockCount: 300)
        for slot in 0..<300 { page[slot] = Fingerprint(low: UInt64(slot), high: 1) }
        page.leaf = model.leaves(of: blocks)[0]
        try index.applyCommitted(
            model.deltas[0], history: history.number,
            findings: CaptureFindings(tips: [(0, page)], deltaByteCount: 1),
            repository: model.home.repository)

        var changed = blocks
        for slot in [0, 7, 299] { changed[slot] = .data(Digest(words: 1000, 0, 0, 0)) }
        changed[8] = .zero
        try model.commit(changed, after: model.states[0])
        _ = try index.synchronize(model.timeline, with: model.home.repository)
        for slot in [0, 7, 8, 299] { page[slot] = nil }
        let found = try index.tipPage(of: history.number, page: 0)
        #expect(Self.values(found) == Self.values(page))
        #expect(found?.leaf == model.leaves(of: changed)[0])
    }

    @Test("Fingerprints of another state of the page are dropped by another machine's commit")
    func staleTip() throws {
        var model = try HistoryModel(seed: 14)
        let blocks = (0..<300).map { HistoryModel.Content.data(Digest(words: $0, 0, 0, 0)) }
        try model.commit(blocks, after: nil)
        let index = try index(model)
        let history = try index.historyForCapture(of: Home.volume, history: nil)
        var page = TipPage(blockCount: 300)
        page[1] = Fingerprint(low: 1, high: 1)
        page.leaf = .zero
        try index.applyCommitted(
            model.deltas[0], history: history.number,
            findings: CaptureFindings(tips: [(0, page)], deltaByteCount: 1),
            repository: model.home.repository)
        var changed = blocks
        changed[8] = .zero
        try model.commit(changed, after: model.states[0])
        _ = try index.synchronize(model.timeline, with: model.home.repository)
        let isGone = try index.tipPage(of: history.number, page: 0) == nil
        #expect(isGone)
    }

    @Test(
        "Before staged fingerprints are moved, the history says what is pending, whatever changed")
    func pendingBeforeStaged() throws {
        var model = try HistoryModel(seed: 12)
        try model.begin(blockCount: 100)
        var blocks = model.states[0].blocks
        blocks[3] = .data(Digest(words: 1000, 0, 0, 0))
        try model.commit(blocks, after: model.states[0])
        try model.commit(blocks, after: model.states[1])
        let index = try index(model)
        let (number, empty) = try index.openHistory(Home.volume, .nothing)
        var state = empty
        for delta in model.deltas {
            let writer = try HistoryWriter(
                index: index, history: number, state: state,
                findings: CaptureFindings(attempt: 1, deltaByteCount: 1))
            writer.begin(delta)
            try model.home.repository.forEachMap(of: delta.name) { map, _ in try writer.add(map) }
            try writer.suspend()
            let between = try index.environment.read { try index.historyState(number, $0) }
            #expect(between?.pending == HistoryState.Pending(of: delta))
            #expect(between?.tip == state.tip)
            try writer.end()
            try writer.flush()
            state = writer.state
            #expect(try index.environment.read { try index.historyState(number, $0) } == state)
        }
    }

    @Test("Fingerprints that a capture does not replace do not count for a page that it changed")
    func ownInvalidation() throws {
        var model = try HistoryModel(seed: 13)
        let blocks = (0..<300).map { HistoryModel.Content.data(Digest(words: $0, 0, 0, 0)) }
        try model.commit(blocks, after: nil)
        let index = try index(model)
        let history = try index.historyForCapture(of: Home.volume, history: nil)
        var page = TipPage(blockCount: 300)
        for slot in 0..<300 { page[slot] = Fingerprint(low: UInt64(slot), high: 1) }
        page.leaf = model.leaves(of: blocks)[0]
        try index.applyCommitted(
            model.deltas[0], history: history.number,
            findings: CaptureFindings(tips: [(0, page)], deltaByteCount: 1),
            repository: model.home.repository)
        var changed = blocks
        changed[8] = .zero
        try model.commit(changed, after: model.states[0])
        try index.applyCommitted(
            model.deltas[1], history: history.number, findings: CaptureFindings(deltaByteCount: 1),
            repository: model.home.repository)
        let found = try index.tipPage(of: history.number, page: 0)
        #expect(found?.leaf == model.leaves(of: blocks)[0])
        let leaves = try index.leaves(history.number, byteCount: 300 * 4096)
        #expect(leaves == model.leaves(of: changed))
    }

    @Test("A delta that a crash left half applied leaves no fingerprints that count")
    func halfApplied() throws {
        var model = try HistoryModel(seed: 8)
        let blocks = (0..<300).map { HistoryModel.Content.data(Digest(words: $0, 0, 0, 0)) }
        try model.commit(blocks, after: nil)
        let index = try index(model)
        let history = try index.historyForCapture(of: Home.volume, history: nil)
        var page = TipPage(blockCount: 300)
        for slot in 0..<300 { page[slot] = Fingerprint(low: UInt64(slot), high: 1) }
        try index.applyCommitted(
            model.deltas[0], history: history.number,
            findings: CaptureFindings(tips: [(0, page)], deltaByteCount: 1),
            repository: model.home.repository)
        var changed = blocks
        changed[5] = .data(Digest(words: 1000, 0, 0, 0))
        try model.commit(changed, after: model.states[0])
        try index.environment.write { transaction in
            var state = try #require(try index.historyState(history.number, transaction))
            state.pending = HistoryState.Pending(of: model.deltas[1])
            try index.putHistory(history.number, state, transaction)
            // The capture's own fingerprints came as far as this page, or did not.
            page[5] = Fingerprint(low: 77, high: 77)
            page.leaf = model.leaves(of: blocks)[0]
            try index.putTip(page, history.number, page: 0, transaction)
        }
        let now = try #require(
            try index.synchronize(model.timeline, with: model.home.repository))
        #expect(now.number == history.number)
        #expect(now.tipGeneration == 2)
        let found = try index.tipPage(of: history.number, page: 0)
        #expect(found?.leaf != model.leaves(of: changed)[0])
    }

    @Test("A commit that does not start at the history's tip is not applied")
    func notTheNext() throws {
        var model = try HistoryModel(seed: 4)
        try model.begin(blockCount: 100)
        try model.step()
        let index = try index(model)
        let history = try index.historyForCapture(of: Home.volume, history: nil)
        try index.applyCommitted(
            model.deltas[1], history: history.number, findings: CaptureFindings(deltaByteCount: 1),
            repository: model.home.repository)
        let now = try #require(
            try index.synchronize(model.timeline, with: model.home.repository))
        #expect(now.tipGeneration == 2)
        let contents = try HistoryModel.contents(
            index, now, model.states[1], zeroDigest: model.zeroDigest)
        #expect(contents == model.states[1].blocks)
    }

    @Test("The state of a history is read as it was written", arguments: [false, true])
    func lineStates(isPending: Bool) throws {
        var state = HistoryState(
            volume: Home.volume, forkTarget: SnapshotID(Digest(words: 1, 2, 3, 4)))
        state.tip = SnapshotID(Digest(words: 5, 6, 7, 8))
        state.tipGeneration = 9
        state.tipByteCount = .max
        if isPending {
            state.pending = HistoryState.Pending(
                snapshot: SnapshotID(Digest(words: 9, 9, 9, 9)), generation: 10)
        }
        #expect(try HistoryState(decoding: state.encoded()) == state)
        for count in 0..<state.encoded().count {
            #expect(throws: FormatError.self) {
                try HistoryState(decoding: Array(state.encoded()[..<count]))
            }
        }
    }

    @Test("A head is remembered under its delta's full name and size, and no other")
    func heads() throws {
        var model = try HistoryModel(seed: 5)
        try model.begin(blockCount: 100)
        let index = try index(model)
        let delta = model.deltas[0]
        #expect(index.heads(of: [(delta.name, 500)]) == [nil])
        index.remember([(delta, 500)])
        #expect(index.heads(of: [(delta.name, 500)]) == [delta.head])
        #expect(index.heads(of: [(delta.name, 501)]) == [nil])
        let moved = DeltaName(
            volume: Chain.name("other"), from: delta.name.from, to: delta.name.to,
            id: delta.name.id)
        #expect(index.heads(of: [(moved, 500)]) == [nil])
    }

    @Test("A listing with remembered heads is the one without")
    func cachedTimeline() throws {
        var model = try HistoryModel(seed: 6)
        try model.begin(blockCount: 100)
        for _ in 0..<5 { try model.step() }
        let index = try index(model)
        let plain = try model.timeline
        let learned = try model.home.repository.timeline(of: Home.volume, cache: index)
        for delta in model.deltas {
            let size = try model.home.store.byteCount(of: delta.name.objectName)
            #expect(index.heads(of: [(delta.name, size)]) == [delta.head])
        }
        let cached = try model.home.repository.timeline(of: Home.volume, cache: index)
        #expect(learned.deltas == plain.deltas)
        #expect(cached.deltas == plain.deltas)
        #expect(cached.snapshots == plain.snapshots)
    }
}
