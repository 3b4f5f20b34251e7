import BlockModel
import LinuxIO
import LiveVolumes
import Logging
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SnapshotService
import Synchronization
import TestKit
import Testing
import Workflows

/// Commands and the holds that they have.
struct HoldKeeperTests {
    private let directory: TemporaryDirectory
    private let service: OpenRepository
    private let volume: VolumeName

    init() throws {
        directory = try TemporaryDirectory()
        let location = directory.path + "/repository"
        _ = try OpenRepository.create(location: location, blockSize: .standard)
        service = try OpenRepository(
            location: location, environment: ["VARVE_CACHE_DIR": directory.path + "/cache"],
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        volume = try #require(VolumeName("d"))
        for number in 1...3 as ClosedRange<UInt8> {
            let path = directory.path + "/image"
            let bytes = [number, 2, 3]
            try FileOperation.replace(path, with: bytes.rawSpan)
            _ = try BackupWorkflow(
                service, states: StateDirectory(path: directory.path + "/states")
            )
            .run(BackupWorkflow.Source(file: path, volume: volume, options: BackupOptions()))
        }
    }

    private func holds() throws -> Set<String> {
        Set(try service.repository.store.list(ObjectNames.locks).map(\.name))
    }

    private func later(_ seconds: Int64) -> Timestamp {
        Timestamp(seconds: Moment.steady().seconds + seconds)
    }

    @Test("Every hold of a command is renewed while it works, whatever it calls back")
    func renewal() throws {
        func expectRenewal(_ hold: Hold?) throws {
            let first = try holds()
            service.holdKeeper?.renewAll(now: later(299))
            #expect(try holds() == first)
            service.holdKeeper?.renewAll(now: later(301))
            #expect(try holds().count == 1)
            #expect(try holds().isDisjoint(with: first))
            try #require(hold).verify()
        }
        try service.withReadingHold(purpose: "check", expectRenewal)
        #expect(try holds() == [])
        try service.withHold(.volume(volume), .exclusive, purpose: "diff", expectRenewal)
        #expect(try holds() == [])
        // Of holds that are gone nothing comes back.
        service.holdKeeper?.renewAll(now: later(900))
        #expect(try holds() == [])
    }

    @Test("A check, a difference and a rebuild of the index have a hold that is kept")
    func commands() throws {
        let seen = Mutex<[Set<String>]>([])
        let keeper = try #require(service.holdKeeper)
        let store = service.repository.store
        let look: @Sendable () -> Void = {
            let names = (try? store.list(ObjectNames.locks).map(\.name)) ?? []
            seen.withLock { $0.append(Set(names)) }
        }
        func sample(_ seconds: Int64) {
            look()
            keeper.renewAll(now: later(seconds))
            look()
        }
        _ = try service.check(.all) { _, _ in look() }
        #expect(seen.withLock { $0.allSatisfy { $0.count == 1 } && !$0.isEmpty })
        seen.withLock { $0 = [] }
        let older = SnapshotSelector.generation(volume, 1)
        _ = try service.difference(older, .latest(volume)) { _ in sample(400) }
        let samples = seen.withLock { $0 }
        #expect(samples.count == 2)
        #expect(samples.allSatisfy { $0.count == 1 })
        #expect(samples.first != samples.last)
    }

    @Test("What is protected while it is forgotten is kept, and what is gone by then is said to be")
    func protection() throws {
        let timeline = try #require(try service.timelines(volume).first)
        let first = timeline.snapshots[0].id
        try service.withForgettingHolds(volume) {
            // The command has looked, and somebody protects it now.
            try service.repository.setProtected(
                true, on: first, of: volume, time: later(0), identifiers: RandomIdentifiers())
            let error = #expect(throws: RepositoryError.self) {
                _ = try service.forget(
                    [first], of: timeline, isThorough: true, isByName: true)
            }
            #expect(error?.description == "d@1 is protected; 'varve unprotect d@1' allows it")
            _ = try service.forget([first], of: timeline, isThorough: true)
        }
        #expect(try service.timelines(volume).first?.snapshots.count == 3)
        #expect(try service.protect(.generation(volume, 2), true) == "d@2")
        #expect(throws: (any Error).self) {
            _ = try service.forget(
                [timeline.snapshots[1].id], of: timeline, isThorough: true, isByName: true)
        }
    }

    @Test("Clocks of holds only go forward")
    func steady() {
        let first = Moment.steady()
        #expect(abs(first.seconds - Moment.now().seconds) < 3600)
        #expect(Moment.steady() >= first)
    }
}
