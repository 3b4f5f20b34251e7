import BlockModel
import Repository
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// The order of calls that workflows make: their safety rests on it, and where two commands meet no crash
/// shows it.
@Suite struct WorkflowOrderTests {
    private let store = WatchedStore(MemoryStore())
    private let lab: Lab

    /// Six snapshots of a small disk, each with a block of its own.
    init() throws {
        lab = try Lab(store)
        lab.workerCount = 1
        var generator = SeededGenerator(seed: 7)
        var image = generator.bytes(20 * 4096)
        for number in 0..<6 {
            image.replaceSubrange(number * 4096..<(number + 1) * 4096, with: generator.bytes(4096))
            try lab.capture(image)
        }
    }

    /// Where the first, or the last, call of a kind stands among all that `body` makes.
    private struct Trace {
        let calls: [String]

        func first(_ call: String) throws -> Int {
            try #require(calls.firstIndex { $0.hasPrefix(call) }, "no '\(call)' in \(calls)")
        }

        func last(_ call: String) throws -> Int {
            try #require(calls.lastIndex { $0.hasPrefix(call) }, "no '\(call)' in \(calls)")
        }
    }

    private func trace(_ body: () throws -> Void) rethrows -> Trace {
        let before = store.calls.count
        try body()
        return Trace(calls: Array(store.calls.dropFirst(before)))
    }

    @Test(
        "A backup holds its volume before it lists it; packs, delta and marker follow in this order"
    )
    func backup() throws {
        var generator = SeededGenerator(seed: 8)
        let image = generator.bytes(20 * 4096)
        let trace = try trace { try lab.capture(image) }
        let held = try trace.first("hold locks/volume.disk/exclusive.")
        #expect(held < (try trace.first("list volumes/disk/")))
        let delta = try trace.first("create volumes/disk/0")
        #expect(try trace.last("create packs/") < delta)
        #expect(delta < (try trace.first("create volumes/disk/newest.")))
        #expect(
            try trace.last("create volumes/disk/newest.") < trace.last("delete locks/volume.disk/"))
    }

    @Test(
        "What is forgotten is hidden before a delta goes, and a delta goes after what replaces it")
    func forget() throws {
        let snapshots = try lab.timeline().snapshots
        let trace = try trace { try lab.forget([snapshots[2].id], isThorough: true) }
        let held = try trace.first("hold locks/volume.disk/exclusive.")
        let listed = try trace.first("list volumes/disk/")
        let hidden = try trace.first("create notes/disk/")
        let merged = try trace.first("create volumes/disk/0")
        #expect(held < listed && listed < hidden && hidden < merged)
        #expect(merged < (try trace.first("delete volumes/disk/0")))
        #expect(try trace.last("delete volumes/disk/0") < trace.last("delete locks/volume.disk/"))
    }

    @Test(
        "A prune has the repository to itself, says what goes, and deletes after what replaces it")
    func prune() throws {
        let snapshots = try lab.timeline().snapshots
        try lab.forget(snapshots.dropLast().map(\.id), isThorough: true)
        let trace = try trace { try lab.prune(.everything) }
        let held = try trace.first("hold locks/repository/exclusive.")
        #expect(held < (try trace.first("list volumes/")))
        let told = try trace.first("create pruning/")
        #expect(told < (try trace.first("delete packs/")))
        #expect(try trace.last("create packs/") < trace.first("delete packs/"))
        #expect(try trace.last("delete packs/") < trace.last("delete pruning/"))
        #expect(try trace.last("delete pruning/") < trace.last("delete locks/repository/"))
    }
}
