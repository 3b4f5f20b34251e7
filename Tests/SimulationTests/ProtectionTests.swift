import BlockModel
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import SnapshotService
import TestKit
import Testing
import Workflows

/// A protection that comes while another process forgets: it holds, or is said not to.
@Suite struct ProtectionTests {
    private let store = MemoryStore()
    private let lab: Lab
    private let other: Lab
    private let snapshot: Snapshot

    init() throws {
        lab = try Lab(store)
        other = try Lab(store)
        other.seed = 1
        var generator = SeededGenerator(seed: 4)
        for _ in 0..<3 { try lab.capture(generator.bytes(4 * 4096)) }
        snapshot = try #require(try lab.timeline().snapshots.first)
    }

    private func protect() throws -> String {
        try lab.open.protect(.prefix(snapshot.id.hexadecimal), true)
    }

    private func isProtected() throws -> Bool {
        try lab.repository.standings(of: lab.volume)[snapshot.id]?.isProtected == true
    }

    @Test("A protection waits until who forgets has ended")
    func waiting() throws {
        let lab = lab
        var holds = try other.forgettingHolds(lab.volume)
        var waits: [UInt32] = []
        lab.open.clock.sleep = { milliseconds in
            waits.append(milliseconds)
            if waits.count == 3 { holds.removeAll() }
        }
        #expect(try protect() == "disk@1")
        #expect(waits.count == 3)
        #expect(try isProtected())
        // Nobody forgets any more.
        #expect(try protect() == "disk@1")
        #expect(waits.count == 3)
    }

    @Test("Who captures is not waited for, nor who forgets on another volume")
    func others() throws {
        let capture = try other.hold(.volume(lab.volume), .exclusive, purpose: "backup")
        let volume = try #require(VolumeName("other"))
        let holds = try other.forgettingHolds(volume)
        defer { withExtendedLifetime((capture, holds)) {} }
        lab.open.clock.sleep = { _ in Issue.record("it waited") }
        _ = try protect()
        #expect(try isProtected())
    }

    @Test("A snapshot that was forgotten before its protection was seen is said to be gone")
    func tooLate() throws {
        let (lab, store, other, snapshot) = (lab, store, other, snapshot)
        var holds = try other.forgettingHolds(lab.volume)
        let before = store.objects
        var failure: (any Error)?
        lab.open.clock.sleep = { _ in
            guard !holds.isEmpty else { return }
            // It looked for notes before this one was written.
            let notes = store.objects.filter { $0.key.hasPrefix("notes/") && before[$0.key] == nil }
            for name in notes.keys { store.objects[name] = nil }
            do {
                _ = try other.open.forget(
                    [snapshot.id], of: try other.timeline(), isThorough: false, isByName: true)
            } catch { failure = error }
            store.objects.merge(notes) { _, new in new }
            holds.removeAll()
        }
        let error = #expect(throws: ServiceError.self) { try protect() }
        #expect(failure == nil)
        #expect("\(try #require(error))".contains("was forgotten while it was being protected"))
        #expect(try lab.timeline().snapshot(snapshot.id) == nil)
    }

    @Test("Who forgets for very long is not waited for without end")
    func endless() throws {
        let holds = try other.forgettingHolds(lab.volume)
        defer { withExtendedLifetime(holds) {} }
        var waitCount = 0
        lab.open.clock.sleep = { _ in waitCount += 1 }
        let error = #expect(throws: ServiceError.self) { try protect() }
        #expect(waitCount == 600)
        #expect("\(try #require(error))".contains("run the command again"))
        // The protection is there all the same.
        #expect(try isProtected())
    }

    @Test(
        "One that was protected meanwhile is refused by its name, and left out where a rule chose it"
    )
    func meanwhile() throws {
        let lab = lab
        let timeline = try lab.timeline()
        let snapshots = timeline.snapshots.dropLast().map(\.id)
        _ = try protect()
        let holds = try lab.forgettingHolds(lab.volume)
        defer { withExtendedLifetime(holds) {} }
        let error = #expect(throws: RepositoryError.self) {
            try lab.open.forget(snapshots, of: timeline, isThorough: false, isByName: true)
        }
        #expect("\(try #require(error))".contains("protected"))
        #expect(try lab.timeline().snapshots.count == 3)
        _ = try lab.open.forget(snapshots, of: timeline, isThorough: false)
        #expect(try lab.timeline().snapshots.map(\.generation) == [1, 3])
    }

    @Test(
        "What may be protected, for a note on it cannot be read, is not forgotten until it is said not to be"
    )
    func unreadable() throws {
        _ = try protect()
        let name = try #require(store.objects.keys.first { $0.hasPrefix("notes/") })
        store.objects[name]?[60] ^= 1
        let error = #expect(throws: RepositoryError.self) { try lab.forget([snapshot.id]) }
        #expect("\(try #require(error))".contains("may be protected"))
        let report = try lab.check()
        #expect(
            report.findings.contains {
                $0.subject == name && $0.reason.contains("protected")
                    && $0.reason.contains(snapshot.id.short)
            })
        _ = try lab.open.protect(.prefix(snapshot.id.hexadecimal), false)
        try lab.forget([snapshot.id])
        #expect(try lab.timeline().snapshot(snapshot.id) == nil)
    }
}
