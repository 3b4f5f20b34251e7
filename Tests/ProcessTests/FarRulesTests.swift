import BlockModel
import Foundation
import Glibc
import LinuxIO
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// What somebody who may only add objects can do to a repository, followed by its owner's maintenance.
@Suite(.serialized) struct FarRulesTests {
    private let place: Place
    private let lab: Lab
    private var images: [SnapshotID: [UInt8]] = [:]
    private static let snapshotCount = 24

    /// A volume of a day of hours, long ago.
    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init", "--block-size", "4096"], in: place).status == 0)
        lab = try Lab(DirectoryStore(path: place.repository))
        lab.workerCount = 1
        var model = ImageModel(byteCount: 40_960, seed: 5)
        for _ in 0..<Self.snapshotCount {
            model.change()
            try lab.capture(model.bytes)
            let tip = try #require(try lab.timeline().tip)
            images[tip.id] = model.bytes
        }
    }

    private func varve(_ arguments: String...) throws -> Child.Result {
        try Child.run(arguments, in: place)
    }

    /// Stores a delta that changes nothing of the snapshot that it begins at.
    private func forge(
        _ number: UInt64,
        on parent: Snapshot,
        as generation: Generation,
        _ change: (inout DeltaHead) -> Void
    ) throws {
        var facts = parent.facts
        facts.parent = parent.id
        facts.parentGeneration = parent.generation
        var head = DeltaHead(
            from: parent.id, fromGeneration: parent.generation,
            fromByteCount: parent.facts.byteCount, toGeneration: generation, facts: facts)
        change(&head)
        head.to = head.facts.snapshotID
        let name = DeltaName(
            volume: lab.volume, from: head.fromGeneration, to: generation,
            id: ObjectID(high: 0xFA, low: number))
        let bytes = try DeltaObject.encode(
            name: name, identity: lab.repository.identity, head: head, inlineMap: DeltaMap())
        try lab.store.create(name.objectName, bytes)
    }

    /// What the owner does next; everything that is kept restores from a new index.
    private func maintain() throws {
        for arguments in [
            ["forget", "--now"], ["prune", "--max-unused", "0%"], ["check", "--read-data"],
        ] {
            let result = try Child.run(arguments, in: place)
            #expect(result.status == 0, "\(arguments): \(result.output)\(result.errors)")
        }
        try FileManager.default.removeItem(atPath: place.cache)
        lab.deleteIndex()
        for snapshot in try lab.timeline().snapshots {
            let target = place.path + "/out"
            try? FileManager.default.removeItem(atPath: target)
            let result = try varve("restore", snapshot.id.hexadecimal, target, "-q")
            #expect(result.status == 0, "\(result.errors)")
            if let image = images[snapshot.id] {
                #expect(try place.read("out") == Data(image), "generation \(snapshot.generation)")
            }
        }
    }

    private func lines(_ output: String) throws -> [[String: Any]] {
        try output.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }

    enum Forgery: CaseIterable {
        /// Behind the newest, each on the one before it.
        case onTop
        /// Each on the true one before that which it is to push out.
        case forks
        /// A whole branch beside the true one.
        case branch
    }

    @Test(
        "Snapshots dated a second after the true ones push none of them out",
        arguments: Forgery.allCases, [true, false])
    func retention(forgery: Forgery, isRemembered: Bool) throws {
        if isRemembered { #expect(try varve("restore", "disk@latest", "-").status == 0) }
        let real = try lab.timeline().snapshots
        var last = try #require(forgery == .onTop ? real.last : real.first)
        for (position, snapshot) in real.enumerated().dropFirst() {
            let parent = forgery == .forks ? real[position - 1] : last
            let generation =
                forgery == .onTop ? UInt64(Self.snapshotCount + position) : snapshot.generation
            try forge(UInt64(position), on: parent, as: generation) {
                $0.facts.time = Timestamp(seconds: snapshot.facts.time.seconds + 1)
            }
            let known = Set(real.map(\.id))
            last =
                try lab.timeline().snapshots.last {
                    $0.generation == generation && !known.contains($0.id)
                } ?? last
        }
        #expect(try lab.timeline().snapshots.count == 2 * Self.snapshotCount - 1)
        let result = try varve("forget", "--keep-hourly", "24", "--now", "--json")
        #expect(result.status == 0, "\(result.errors)")
        let kept = Set(
            try lines(result.output).filter { $0["keep"] as? Bool == true }
                .compactMap { $0["snapshot_id"] as? String })
        #expect(real.allSatisfy { kept.contains($0.id.hexadecimal) })
        if forgery == .onTop {
            let shown = try lines(varve("snapshots", "--json").output)
            #expect(shown.count { $0["out_of_time"] is String } == Self.snapshotCount - 2)
        }
        // Nor does it by and by.
        for _ in 0..<2 {
            #expect(try varve("forget", "--keep-hourly", "24", "--now").status == 0)
        }
        try maintain()
        let left = Set(try lab.timeline().snapshots.map(\.id))
        #expect(left.isSuperset(of: real.map(\.id)))
    }

    @Test("A number that is far above all others counts nothing and blocks nothing")
    func numbers() throws {
        let volume = lab.volume
        let far = NewestMarker(
            volume: volume, generation: 999_999_999_999,
            snapshot: SnapshotID(Digest(words: 1, 2, 3, 4)), delta: ObjectID(high: 1, low: 1))
        try lab.store.create(
            far.objectName, try far.encoded(identity: lab.repository.identity))
        // Neither does one that cannot be read, nor a delta that nothing is joined to.
        try lab.store.create(
            ObjectNames.newest(of: volume, generation: 5000, id: ObjectID(high: 1, low: 2)), [1])
        try lab.store.create(
            ObjectNames.delta(
                of: volume, from: 5, to: 999_999_999_998, id: ObjectID(high: 1, low: 3)), [1])
        try forge(9, on: try #require(try lab.timeline().tip), as: 88_888) {
            $0.from = SnapshotID(Digest(words: 5, 6, 7, 8))
            $0.fromGeneration = 77_777
        }

        let shown = try varve("snapshots", "--json")
        #expect(shown.status == 0, "\(shown.errors)")
        #expect(try lines(shown.output).count { $0["possible_loss"] as? Bool == true } == 4)
        let image = try place.write(Data(repeating: 9, count: 40_960), to: "image")
        let backup = try varve("backup", image, "--volume", "disk", "--same-volume", "--json")
        #expect(backup.status == 0, "\(backup.errors)")
        #expect(try lines(backup.output).last?["generation"] as? Int == Self.snapshotCount + 1)
        #expect(try varve("forget", "disk@3", "disk@4").status == 0)
        try maintain()
        #expect(try lab.timeline().snapshots.count == Self.snapshotCount - 1)
        // Whoever wants them gone says so.
        #expect(try varve("repair", "--forget-lost").status == 0)
        #expect(try lab.timeline().possibleLosses == [])
        #expect(try varve("backup", image, "--volume", "disk").status == 0)
        #expect(try lab.timeline().tip?.generation == UInt64(Self.snapshotCount + 2))
    }

    @Test("A hold that ends in the year 3000 blocks nobody for longer than half an hour")
    func endlessHold() throws {
        let image = try place.write(Data(repeating: 9, count: 40_960), to: "image")
        var number: UInt64 = 0
        for scope in [HoldScope.repository, .volume(lab.volume)] {
            for kind in HoldKind.allCases {
                number += 1
                let record = HoldRecord(
                    purpose: "evil", host: "elsewhere", bootID: "another", processID: 1,
                    processStart: 1, created: Timestamp(seconds: 32_503_680_000),
                    expires: Timestamp(seconds: .max))
                let name = ObjectNames.hold(
                    scope: scope, kind: kind, id: ObjectID(high: 0, low: number))
                try lab.store.create(
                    name, try record.encoded(name: name, identity: lab.repository.identity))
            }
        }
        let fresh = try varve("backup", image, "--volume", "disk", "--same-volume")
        #expect(fresh.status == 11)
        #expect(fresh.errors.contains("'varve unlock --all'"))
        let kept = try varve("unlock")
        #expect(kept.output.contains("removed 0 holds, kept 4 that are in use"))
        #expect(kept.errors.contains("--all"))
        // By the store's clock half an hour passes.
        let aged = try Child.shell(
            "find \(place.repository)/locks -type f -exec touch -d '31 minutes ago' {} +", in: place
        )
        #expect(aged.status == 0)
        #expect(try varve("backup", image, "--volume", "disk", "--same-volume").status == 0)
        #expect(try varve("unlock").status == 0)
        #expect(try lab.store.list(ObjectNames.locks) == [])
        try maintain()
    }

    @Test(
        "Numbers and times at the ends of what can be stored end no command",
        arguments: [Int64.min, -1, 0, .max])
    func extremes(number: Int64) throws {
        let wide = UInt64(bitPattern: number)
        let tip = try #require(try lab.timeline().tip)
        let generation = tip.generation
        try forge(1, on: tip, as: generation + 1) {
            $0.facts.time = Timestamp(seconds: number, nanoseconds: .max)
            $0.facts.durationNanoseconds = wide
            $0.facts.bytesRead = wide
            $0.facts.bytesStored = wide
            $0.facts.bytesChanged = wide
            $0.facts.blocksChanged = wide
            $0.facts.parentGeneration = wide
            $0.dataBlockCount = wide
            $0.zeroBlockCount = wide
            $0.freeBlockCount = wide
        }
        let first = try #require(try lab.timeline().snapshots.first)
        // What the format itself refuses cannot be stored.
        for (number, generation) in [(2, 40), (3, 41)] as [(UInt64, Generation)] {
            do {
                try forge(number, on: first, as: generation) { head in
                    if number == 2 {
                        head.facts.byteCount = wide
                    } else {
                        head.fromByteCount = wide
                    }
                }
            } catch is FormatError {}
        }
        let name = ObjectNames.note(
            on: tip.id, of: lab.volume, number: 999_999_999_999, id: ObjectID(high: 3, low: 3))
        let note = Note(kind: .tags, time: Timestamp(seconds: number), texts: ["x"])
        try lab.store.create(
            name, try note.encoded(name: name, identity: lab.repository.identity))
        let image = try place.write(Data(repeating: 9, count: 40_960), to: "image")
        for arguments in [
            ["snapshots"], ["snapshots", "--json"], ["stats"], ["stats", "--json"],
            ["stats", "--snapshots"], ["check"], ["check", "--json"],
            ["diff", "disk@3", "disk@25"],
            ["diff", "disk@1", "disk@40"], ["restore", "disk@1970-01-01T00:00Z", "-"],
            ["restore", "disk@9999-12-31", "-"], ["find", "x", "--volume", "disk"],
            ["forget", "--keep-hourly", "3", "--keep-within", "9y9m9d", "--dry-run"],
            [
                "forget", "--keep-within-weekly", "100000y", "--keep-yearly", "2", "--dry-run",
                "--json",
            ],
            ["prune", "--dry-run"], ["tag", "disk@25", "--add", "y"], ["protect", "disk@25"],
            ["backup", image, "--volume", "disk", "--same-volume"], ["forget", "--now"], ["prune"],
            ["index", "rebuild"], ["repair"], ["unlock"],
        ] {
            let result = try Child.run(arguments, in: place)
            #expect(
                [0, 1, 2, 13].contains(result.status),
                "\(arguments): \(result.status) \(result.errors)")
            #expect(!result.errors.contains("Fatal error"), "\(arguments): \(result.errors)")
        }
        lab.deleteIndex()
        for snapshot in try lab.timeline().snapshots {
            guard let image = images[snapshot.id] else { continue }
            #expect(try lab.restore(snapshot) == image)
        }
    }
}
