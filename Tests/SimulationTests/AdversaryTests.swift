import BlockModel
import CaptureEngine
import Foundation
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryIndex
import RepositoryModel
import Retention
import SimulationSupport
import SnapshotService
import TestKit
import Testing
import Workflows

/// Somebody who can create objects works at random beside an owner: nothing that was captured is lost.
///
/// `VARVE_SEEDS=FROM-TO` chooses other histories than the few that every run tries, and lists what the
/// owner's commands refused.
@Suite struct AdversaryTests {
    private static let seeds: ClosedRange<UInt64> = {
        let words = (ProcessInfo.processInfo.environment["VARVE_SEEDS"] ?? "").split(separator: "-")
            .compactMap { UInt64($0) }
        guard words.count == 2, words[0] <= words[1] else { return 0...23 }
        return words[0]...words[1]
    }()

    @Test(
        "What was captured and not forgotten is restored, whatever others created beside it",
        arguments: seeds)
    func history(seed: UInt64) throws {
        var owner = try Owner(seed: seed)
        for _ in 0..<18 { try owner.step() }
        try owner.expectWhole("after \(owner.log)")
        try owner.maintain()
        try owner.expectWhole("after maintenance, \(owner.log)")
        if ProcessInfo.processInfo.environment["VARVE_SEEDS"] != nil {
            for refusal in owner.refusals { print("seed \(seed): \(refusal)") }
        }
    }
}

/// Who captures, forgets, prunes and repairs, and what is to be restored after that.
private struct Owner {
    private let store = MemoryStore()
    private let lab: Lab
    private let seed: UInt64
    private var adversary: Adversary
    private var generator: SeededGenerator
    private var image: [UInt8]
    private var images: [SnapshotID: [UInt8]] = [:]
    private var forgotten: Set<SnapshotID> = []
    private var protected: Set<SnapshotID> = []
    private(set) var log: [String] = []
    private(set) var refusals: [String] = []

    init(seed: UInt64) throws {
        self.seed = seed
        generator = SeededGenerator(seed: seed)
        lab = try Lab(store)
        lab.seed = 1
        lab.workerCount = 1
        lab.packByteTarget = seed % 2 == 0 ? 20_000 : 60_000
        lab.partByteLimit = seed % 3 == 0 ? 300 : Format.partByteLimit
        image = generator.bytes(10 * 4096)
        adversary = Adversary(lab, store, seed: seed)
        store.setStoredSeconds(lab.time.seconds)
        try capture()
        try capture()
    }

    private mutating func random(_ limit: Int) -> Int { Int(generator.next() % UInt64(limit)) }

    /// Lets time pass: what is held then is held no more.
    private func wait(_ seconds: Int64) {
        lab.time = Timestamp(seconds: lab.time.seconds + seconds)
        store.setStoredSeconds(lab.time.seconds)
    }

    mutating func step() throws {
        if random(2) == 0 {
            log.append(try adversary.act(images.values.sorted { $0.lexicographicallyPrecedes($1) }))
            return
        }
        if random(4) > 0 { wait(2400) }
        let commands: [(name: String, run: (inout Owner) throws -> Void)] = [
            ("capture", { try $0.capture() }), ("capture", { try $0.capture() }),
            ("capture", { try $0.capture() }), ("protect", { try $0.protect() }),
            ("forget by name", { try $0.forgetByName() }), ("forget", { try $0.forgetByPolicy() }),
            ("prune", { try $0.prune() }), ("check", { _ = try $0.lab.check() }),
            ("repair", { try $0.repair() }), ("index lost", { $0.lab.deleteIndex() }),
            ("copy", { try $0.copy() }),
        ]
        let command = commands[random(commands.count)]
        try run(command.name, command.run)
    }

    /// Runs a command, which may refuse.
    private mutating func run(_ name: String, _ body: (inout Owner) throws -> Void) throws {
        do {
            do {
                try body(&self)
            } catch let error as RepositoryError where error.kind == .index {
                // Commands run again then, with an index that is new.
                lab.closeIndex()
                try body(&self)
            }
            log.append("\(name).")
        } catch let error as RepositoryError {
            refusals.append("\(name): \(error.kind) \(error.cause)")
            log.append("\(name) refused.")
        } catch let error as ObjectStoreError {
            refusals.append("\(name): \(error)")
            log.append("\(name) refused.")
        }
    }

    // MARK: Commands

    private mutating func capture() throws {
        for _ in 0..<random(4) {
            let block = random(image.count / 4096) * 4096
            switch random(4) {
            case 0: image.replaceSubrange(block..<block + 4096, with: generator.bytes(4096))
            case 1: image.replaceSubrange(block..<block + 4096, with: repeatElement(0, count: 4096))
            case 2:
                let other = random(image.count / 4096) * 4096
                image.replaceSubrange(block..<block + 4096, with: image[other..<other + 4096])
            default: image[block + random(4096)] ^= 0x55
            }
        }
        switch random(12) {
        case 0: image += generator.bytes(4096 + random(4096))
        case 1: if image.count > 40_000 { image.removeLast(random(9000)) }
        default: break
        }
        // A capture of an hour later, by the store's clock too.
        store.setStoredSeconds(lab.time.seconds + 3600)
        let result = try lab.capture(image)
        images[result.facts.snapshotID] = image
    }

    private mutating func shown() throws -> [Snapshot] {
        try lab.timeline().snapshots.filter { images[$0.id] != nil }
    }

    private mutating func protect() throws {
        let snapshots = try shown()
        guard !snapshots.isEmpty else { return }
        let id = snapshots[random(snapshots.count)].id
        try lab.repository.setProtected(
            true, on: id, of: lab.volume, time: lab.time,
            identifiers: SeededIdentifiers(seed: seed << 20 | UInt64(log.count)))
        protected.insert(id)
    }

    private mutating func forgetByName() throws {
        let snapshots = try shown().filter { !protected.contains($0.id) }
        guard snapshots.count > 2 else { return }
        let ids = (0...random(2)).map { _ in snapshots[random(snapshots.count)].id }
        forgotten.formUnion(ids)
        try lab.forget(ids, isThorough: random(2) == 0)
    }

    /// Forgets by the rules of `varve forget`.
    private mutating func forgetByPolicy() throws {
        let timeline = try lab.timeline()
        let standings = try lab.repository.standings(of: lab.volume)
        let order = SnapshotOrder(
            timeline, memory: try lab.index().branchMemory(of: timeline), now: lab.time)
        let candidates = timeline.snapshots.map { snapshot in
            let standing = standings[snapshot.id] ?? Standing()
            let isKept =
                standing.isProtected || standing.hasUnreadableNote
                || order.witnesses.contains(snapshot.id)
            let isMisfit =
                order.outOfTime[snapshot.id] != nil || order.beside.contains(snapshot.id)
            return RetentionCandidate(
                id: snapshot.id, generation: snapshot.generation, time: snapshot.facts.time,
                protection: isKept ? "kept" : nil, misfit: isMisfit ? "misfit" : nil)
        }
        var policy = RetentionPolicy()
        policy.last = random(3)
        policy.counts[.hour] = 2 + random(5)
        policy.counts[.day] = 1
        let decision = RetentionDecision(
            policy, candidates, calendar: ZoneCalendar { _ in 0 }, now: lab.time)
        let ids = candidates.map(\.id).filter { decision.reasons[$0] == nil }
        forgotten.formUnion(ids)
        try lab.forget(ids, isThorough: random(2) == 0)
    }

    private mutating func prune() throws {
        var options = PruneOptions()
        if random(3) > 0 { options.maxUnused = .bytes(0) }
        if random(3) > 0 { options.minimumAgeSeconds = 0 }
        try lab.prune(options)
    }

    private mutating func repair(givesUp: Bool? = nil) throws {
        // What is false is found out first, as the command does.
        _ = try lab.index().judged(lab.timeline(), with: lab.repository)
        try lab.repairPaths(givesUp: givesUp ?? (random(2) == 0))
        _ = try lab.repair()
    }

    private mutating func copy() throws {
        let otherStore = MemoryStore()
        _ = try Repository(
            creatingIn: otherStore, blockSize: lab.repository.blockSize, created: lab.time,
            generator: &generator)
        let other = try Lab(otherStore)
        other.workerCount = 1
        let wanted = try expected().intersection(shown().map(\.id))
        let snapshots = try lab.timeline().snapshots.filter { wanted.contains($0.id) }
        try lab.copy(snapshots, to: other)
        let copied = try other.timeline()
        for id in wanted {
            let snapshot = try #require(copied.snapshot(id), "seed \(seed): not copied")
            #expect(try other.restore(snapshot) == images[id], "seed \(seed): copied")
        }
    }

    // MARK: What must be there

    /// Honest snapshots that nobody who may hide any did hide.
    private func expected() -> Set<SnapshotID> {
        let safe = protected.subtracting(adversary.unprotected)
        return Set(images.keys).subtracting(forgotten).subtracting(
            adversary.hidden.subtracting(safe))
    }

    func expectWhole(_ note: String) throws {
        let fresh = try Lab(store)
        fresh.workerCount = 1
        fresh.seed = 2
        // Nobody waits here for who says that it works there.
        _ = try fresh.open.unlock(all: true)
        let timeline = try fresh.timeline()
        for id in expected() {
            guard let snapshot = timeline.snapshot(id) else {
                Issue.record("seed \(seed): a snapshot is not listed \(note)")
                continue
            }
            do {
                #expect(try fresh.restore(snapshot) == images[id], "seed \(seed): \(note)")
            } catch {
                Issue.record("seed \(seed): @\(snapshot.generation) \(error) \(note)")
            }
        }
    }

    /// What the owner does when nobody disturbs any more, with an index that knows nothing.
    mutating func maintain() throws {
        wait(100_000)
        lab.deleteIndex()
        let expected = expected().count
        try run("last repair", { try $0.repair(givesUp: true) })
        try run("last forget", { try $0.lab.forget([], isThorough: true) })
        try run("last capture", { try $0.capture() })
        try run(
            "last prune",
            {
                var options = PruneOptions()
                options.maxUnused = .bytes(0)
                options.minimumAgeSeconds = 0
                try $0.lab.prune(options)
            })
        #expect(self.expected().count >= expected)
    }
}
