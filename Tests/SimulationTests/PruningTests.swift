import BlockModel
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// What nothing needs is given back, and nothing else.
@Suite struct PruningTests {
    private static func makeLab(_ store: MemoryStore) throws -> Lab {
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.partByteLimit = 500
        lab.workerCount = 1
        return lab
    }

    private static func packByteCount(_ store: MemoryStore) -> Int {
        store.objects.filter { $0.key.hasPrefix("packs/") }.reduce(0) { $0 + $1.value.count }
    }

    private static var everything: PruneOptions {
        var options = PruneOptions()
        options.maxUnused = .bytes(0)
        return options
    }

    @Test(
        "Whatever is forgotten and pruned, what is kept restores bit for bit",
        arguments: 0..<8 as Range<UInt64>)
    func random(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed + 4000)
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        if seed % 3 == 0 { lab.partByteLimit = Format.partByteLimit }
        var model = ImageModel(byteCount: 120_000, seed: seed)
        var old: [[UInt8]] = []
        var images: [SnapshotID: [UInt8]] = [:]
        var deletedCount = 0
        var repackedCount = 0
        var incrementalCount = 0
        for round in 0..<24 {
            for _ in 0..<Int.random(in: 1...4, using: &generator) { model.change() }
            // Content that was there once comes back, alive or dead.
            let isReturn = round % 5 == 4
            let earlier = isReturn ? old.randomElement(using: &generator) : nil
            let bytes = earlier ?? model.bytes
            old.append(bytes)
            try lab.capture(bytes)
            let tip = try lab.timeline().tip
            images[try #require(tip).id] = bytes
            if round % 3 == 2 {
                let shown = try lab.timeline().snapshots.dropLast()
                let victims = shown.filter { _ in Int.random(in: 0..<3, using: &generator) == 0 }
                let isThorough = Int.random(in: 0..<2, using: &generator) == 0
                try lab.forget(victims.map(\.id), isThorough: isThorough)
                for victim in victims { images[victim.id] = nil }
            }
            if round % 2 == 1 {
                var options = Bool.random(using: &generator) ? Self.everything : PruneOptions()
                options.isRecount = Int.random(in: 0..<4, using: &generator) == 0
                if Int.random(in: 0..<5, using: &generator) == 0 { lab.deleteIndex() }
                let summary = try lab.prune(options)
                deletedCount += summary.deletedPackCount
                repackedCount += summary.repackedPackCount
                let report = lab.lastLiveCountReport
                if report.reason == nil { incrementalCount += 1 }
                #expect((report.differenceCount ?? 0) == 0, "seed \(seed) \(round)")
                #expect(summary.damagedPacks.isEmpty)
                #expect(!store.objects.keys.contains { $0.hasPrefix("pruning/") })
                // The counts that were kept equal those that are made again.
                if Int.random(in: 0..<3, using: &generator) == 0 {
                    var recount = PruneOptions()
                    recount.isRecount = true
                    recount.maxUnused = .unlimited
                    try lab.prune(recount)
                    #expect(lab.lastLiveCountReport.differenceCount == 0, "seed \(seed) \(round)")
                }
            }
            if Int.random(in: 0..<6, using: &generator) == 0 { lab.deleteIndex() }
            for snapshot in try lab.timeline().snapshots {
                #expect(try lab.restore(snapshot) == images[snapshot.id], "seed \(seed) \(round)")
            }
            #expect(try lab.check().findings == [], "seed \(seed) \(round)")
        }
        #expect(deletedCount + repackedCount > 0)
        #expect(incrementalCount > 0)
        // All but the newest goes, and with it nearly all that was stored.
        let shown = try lab.timeline().snapshots
        try lab.forget(shown.dropLast().map(\.id), isThorough: true)
        try lab.prune(Self.everything)
        try lab.prune(Self.everything)
        #expect(lab.lastPlan?.isEmpty == true)
        let left = Self.packByteCount(store)
        let fresh = MemoryStore()
        let other = try Self.makeLab(fresh)
        let last = try #require(shown.last)
        try other.capture(try #require(images[last.id]))
        #expect(left < 2 * Self.packByteCount(fresh) + 40_000, "seed \(seed)")
        #expect(try lab.check().findings == [])
    }

    @Test("Forgetting everything but the newest of equal volumes frees exactly what is dead")
    func exact() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var generator = SeededGenerator(seed: 31)
        let first = generator.bytes(40 * 4096)
        let second = generator.bytes(40 * 4096)
        try lab.capture(first)
        let packs = Set(store.objects.keys.filter { $0.hasPrefix("packs/") })
        let byteCount = Self.packByteCount(store)
        try lab.capture(second)
        #expect(try lab.prune().freedByteCount == 0)
        try lab.forget([try lab.timeline().snapshots[0].id], isThorough: true)
        let before = Self.packByteCount(store)
        let summary = try lab.prune()
        #expect(lab.lastPlan?.deadByteCount == UInt64(byteCount))
        #expect(lab.lastPlan?.repackedPackCount == 0)
        #expect(lab.lastLiveCountReport.reason == nil)
        #expect(summary.freedByteCount == Int64(byteCount))
        #expect(before - Self.packByteCount(store) == byteCount)
        #expect(packs.isDisjoint(with: store.objects.keys))
        #expect(try lab.restoreAll() == [second])
        // From time to time everything is counted again and compared.
        lab.time = Timestamp(seconds: lab.time.seconds + 31 * 86_400)
        try lab.prune()
        #expect(lab.lastLiveCountReport.reason != nil)
        #expect(lab.lastLiveCountReport.differenceCount == 0)
        try lab.prune()
        #expect(lab.lastLiveCountReport.reason == nil)
        // What was pruned is stored again when it comes back.
        try lab.capture(first)
        #expect(try lab.restoreAll() == [second, first])
    }

    @Test("What a snapshot is said to free is what forgetting and pruning it frees")
    func costs() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var model = ImageModel(byteCount: 150_000, seed: 21)
        var generator = SeededGenerator(seed: 22)
        for _ in 0..<10 {
            for _ in 0..<3 { model.change() }
            try lab.capture(model.bytes)
        }
        for _ in 0..<8 {
            try lab.prune(Self.everything)
            let snapshots = try lab.timeline().snapshots
            let costs = try lab.costs()
            #expect(costs.count == snapshots.count)
            let victim = Int.random(in: 0..<snapshots.count - 1, using: &generator)
            let before = Self.packByteCount(store)
            try lab.forget([snapshots[victim].id], isThorough: true)
            try lab.prune(Self.everything)
            let freed = before - Self.packByteCount(store)
            // What is written again is compressed in other company, and packs have ends.
            let said = Int(costs[victim].ownByteCount)
            #expect(abs(freed - said) < 3000 + said / 4, "freed \(freed), said \(said)")
        }
        try lab.prune(Self.everything)
        let alone = try #require(try lab.costs().last).aloneByteCount
        try lab.forget(try lab.timeline().snapshots.dropLast().map(\.id), isThorough: true)
        try lab.prune(Self.everything)
        #expect(abs(Self.packByteCount(store) - Int(alone)) < 2000 + Int(alone) / 4)
    }

    @Test(
        "After a stop at any step of pruning, nothing is lost, and the next prune ends it",
        arguments: CrashEffect.allCases)
    func stop(effect: CrashEffect) throws {
        let prepared = MemoryStore()
        var images: [[UInt8]] = []
        do {
            let lab = try Self.makeLab(prepared)
            lab.packByteTarget = 4000
            var model = ImageModel(byteCount: 90_000, seed: 6)
            var generator = SeededGenerator(seed: 61)
            for generation in 0..<9 {
                for _ in 0..<4 { model.change() }
                // Of these nothing is needed once they are forgotten.
                images.append(
                    generation == 3 || generation == 4 ? generator.bytes(15 * 4096) : model.bytes)
                try lab.capture(images[generation])
            }
            let shown = try lab.timeline().snapshots
            try lab.forget([0, 1, 3, 4, 6].map { shown[$0].id }, isThorough: true)
        }
        let kept = [2, 5, 7, 8].map { images[$0] }
        func copy() throws -> (MemoryStore, Lab) {
            let store = MemoryStore()
            store.objects = prepared.objects
            let lab = try Self.makeLab(store)
            lab.packByteTarget = 4000
            return (store, lab)
        }
        let stepCount: Int
        let left: Int
        do {
            let (store, lab) = try copy()
            let start = store.stepCount
            let summary = try lab.prune(Self.everything)
            #expect(summary.deletedPackCount > 0 && summary.repackedPackCount > 2)
            stepCount = store.stepCount - start
            left = Self.packByteCount(store)
        }
        #expect(stepCount > 25)
        for step in 0..<stepCount {
            var (store, lab) = try copy()
            lab.seed = 2
            if step % 3 == 0 { try lab.prune(PruneOptions.nothing) }
            store.crash(afterSteps: step, effect)
            _ = try? lab.prune(Self.everything)
            #expect(store.hasCrashed || step % 3 == 0, "step \(step)")
            store.restart()
            lab.closeIndex()
            if step % 2 == 0 {
                lab = try Self.makeLab(store)
                lab.packByteTarget = 4000
            }
            lab.seed = 3
            #expect(try lab.restoreAll() == kept, "step \(step) \(effect)")
            #expect(try lab.check().findings == [], "step \(step) \(effect)")
            // Content that was given up comes back before the prune is gone on with.
            if step % 4 == 0 {
                try lab.capture(images[3])
                #expect(try lab.restoreAll() == kept + [images[3]], "step \(step) \(effect)")
            }
            try lab.prune(Self.everything)
            try lab.prune(Self.everything)
            #expect(try lab.restoreAll().prefix(kept.count) == kept[...], "step \(step) \(effect)")
            #expect(try lab.check().findings == [], "step \(step) \(effect)")
            #expect(!store.objects.keys.contains { $0.hasPrefix("pruning/") })
            if step % 4 != 0 {
                #expect(Self.packByteCount(store) <= left * 11 / 10 + 1000, "step \(step)")
            }
            store = MemoryStore()
        }
    }

    @Test("A block that cannot be read keeps its pack, and what hides a delta keeps everything")
    func damage() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var generator = SeededGenerator(seed: 12)
        var image = generator.bytes(40 * 4096)
        for round in 0..<6 {
            for block in 10..<20 + round { image[block * 4096 + 7 * round] ^= 0x33 }
            if round > 2 { image.replaceSubrange(0..<4 * 4096, with: generator.bytes(4 * 4096)) }
            try lab.capture(image)
        }
        let shown = try lab.timeline().snapshots
        try lab.forget(shown.dropLast().map(\.id), isThorough: true)
        let sound = store.objects

        // A delta whose start is lost.
        let newest = try #require(sound.keys.first { $0.hasPrefix("volumes/disk/0000") })
        store.objects[newest] = nil
        #expect(throws: RepositoryError.self) { try lab.prune(Self.everything) }
        store.objects = sound
        store.objects[newest]?[90] ^= 1
        lab.deleteIndex()
        #expect(throws: RepositoryError.self) { try lab.prune(Self.everything) }
        // A delta under a name that is none.
        store.objects = sound
        store.objects["volumes/disk/copy"] = sound[newest]
        #expect(throws: RepositoryError.self) { try lab.prune(Self.everything) }
        #expect(store.objects.count == sound.count + 1)

        // Packs damaged one by one: a frame, which may be one of a patch that is needed.
        var keptCount = 0
        var refusedCount = 0
        for name in sound.keys.sorted() where name.hasPrefix("packs/") {
            for offset in stride(from: 150, to: try #require(sound[name]).count - 500, by: 700) {
                store.objects = sound
                store.objects[name]?[offset] ^= 0x10
                let damaged = store.objects[name]
                lab.deleteIndex()
                lab.seed += 1
                do {
                    let summary = try lab.prune(Self.everything)
                    guard !summary.damagedPacks.isEmpty else { continue }
                    keptCount += 1
                    // It stays, and so do packs with patches of what is damaged.
                    #expect(store.objects[name] == damaged)
                    for other in summary.damagedPacks.map(ObjectNames.pack) where other != name {
                        #expect(store.objects[other] == sound[other])
                    }
                } catch let error as RepositoryError where error.kind == .damaged {
                    refusedCount += 1
                    #expect(store.objects.count == sound.count)
                }
            }
        }
        #expect(keptCount > 0 && refusedCount > 0)
    }

    @Test("What an interrupted backup stored waits for the next one, for a while")
    func unfinished() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var generator = SeededGenerator(seed: 77)
        let image = generator.bytes(3000 * 4096)
        func interrupt() {
            store.onCreate = { name in
                if name.hasPrefix("packs/") { store.crash(afterSteps: 0, .lost) }
            }
        }
        store.setStoredSeconds(lab.time.seconds)
        interrupt()
        #expect(throws: (any Error).self) { try lab.capture(image) }
        store.onCreate = nil
        store.restart()
        lab.closeIndex()
        let left = Self.packByteCount(store)
        #expect(left > 0)
        // Nothing of the volume was committed yet.
        #expect(try lab.prune().deletedPackCount == 0)
        #expect(lab.lastPlan?.unfinishedPackCount ?? 0 > 0)
        lab.seed = 5
        try lab.capture(image)
        #expect(Self.packByteCount(store) < image.count * 11 / 10)
        #expect(try lab.prune(Self.everything).deletedPackCount == 0)

        // A later one, interrupted too, whose packs are newer than all deltas.
        let other = generator.bytes(3000 * 4096)
        store.setStoredSeconds(lab.time.seconds + 10)
        interrupt()
        #expect(throws: (any Error).self) { try lab.capture(other) }
        store.onCreate = nil
        store.restart()
        lab.closeIndex()
        #expect(try lab.prune().deletedPackCount == 0)
        #expect(lab.lastPlan?.unfinishedPackCount ?? 0 > 0)
        var options = PruneOptions()
        options.minimumAgeSeconds = 0
        lab.time = Timestamp(seconds: lab.time.seconds + 20)
        #expect(try lab.prune(options).deletedPackCount > 0)
        #expect(try lab.restoreAll() == [image])
    }

    @Test("A capture that lost its hold to a prune commits nothing, and undoes nothing that it did")
    func sleeper() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var model = ImageModel(byteCount: 60_000, seed: 3)
        try lab.capture(model.bytes)
        model.change()
        // Somebody publishes a list while the capture runs: by the time it commits it is there.
        store.onCreate = { name in
            guard name.hasPrefix("packs/") else { return }
            store.objects["pruning/00000000000000000000000000000001"] = [1]
        }
        #expect(throws: RepositoryError.self) { try lab.capture(model.bytes) }
        #expect(try lab.timeline().snapshots.count == 1)
        // The next one has its hold, so that no prune can live beside it.
        store.onCreate = nil
        try lab.capture(model.bytes)
        #expect(try lab.timeline().snapshots.count == 2)
        #expect(!store.objects.keys.contains { $0.hasPrefix("pruning/") })
        // Its holds go while the delta is written.
        model.change()
        let packs = Set(store.objects.keys.filter { $0.hasPrefix("packs/") })
        store.onCreate = { name in
            guard name.hasPrefix("volumes/"), !name.contains("newest") else { return }
            store.objects = store.objects.filter { !$0.key.hasPrefix("locks/") }
        }
        let error = #expect(throws: RepositoryError.self) { try lab.capture(model.bytes) }
        #expect(error?.kind == .locked)
        #expect(error?.description.hasPrefix("disk@3 was stored") == true)
        store.onCreate = nil
        // Somebody may build on it by now: it stays.
        #expect(try lab.timeline().snapshots.count == 3)
        #expect(try lab.check().findings == [])
        // What the other command has deleted meanwhile is stored again.
        for name in store.objects.keys where name.hasPrefix("packs/") && !packs.contains(name) {
            store.objects[name] = nil
        }
        try lab.capture(model.bytes)
        #expect(try lab.check().findings == [])
        #expect(try lab.restore(try #require(try lab.timeline().tip)) == model.bytes)
    }

    @Test(
        "A hold of another host that ran out is taken away, after which a prune waits and looks again"
    )
    func expiredHold() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var model = ImageModel(byteCount: 60_000, seed: 4)
        for _ in 0..<4 {
            for _ in 0..<5 { model.change() }
            try lab.capture(model.bytes)
        }
        let last = model.bytes
        try lab.forget(try lab.timeline().snapshots.dropLast().map(\.id), isThorough: true)
        let owner = HoldOwner(host: "elsewhere", bootID: "x", processID: 1, processStart: 1)
        let time = lab.time
        let hold = try lab.repository.hold(
            .repository, .shared, purpose: "backup", owner: owner, now: { time })
        store.releaseLocks()
        #expect(throws: RepositoryError.self) { try lab.prune(Self.everything) }
        lab.time = Timestamp(seconds: time.seconds + 3600)
        #expect(try lab.prune(Self.everything).deletedPackCount > 0)
        #expect(lab.graceCount == 1)
        #expect(throws: RepositoryError.self) { try hold.verify() }
        #expect(try lab.restoreAll() == [last])
    }

    @Test("On a full store what is dead goes, and what does not fit is left")
    func fullStore() throws {
        let store = MemoryStore()
        let lab = try Self.makeLab(store)
        var generator = SeededGenerator(seed: 41)
        var image = generator.bytes(60 * 4096)
        try lab.capture(image)
        image = generator.bytes(60 * 4096)
        try lab.capture(image)
        image.replaceSubrange(0..<20 * 4096, with: generator.bytes(20 * 4096))
        try lab.capture(image)
        try lab.forget(try lab.timeline().snapshots.dropLast().map(\.id), isThorough: true)
        store.limit(freeByteCount: 4000)
        let summary = try lab.prune(Self.everything)
        #expect(summary.deletedPackCount > 0)
        #expect(summary.isOutOfSpace)
        store.limit(freeByteCount: nil)
        #expect(try lab.restoreAll() == [image])
        #expect(try lab.check().findings == [])
        #expect(!(try lab.prune(Self.everything)).isOutOfSpace)
        #expect(try lab.restoreAll() == [image])
    }
}

extension PruneOptions {
    /// Nothing is written again, and what is dead goes.
    fileprivate static var nothing: PruneOptions {
        var options = PruneOptions()
        options.maxUnused = .unlimited
        options.minimumAgeSeconds = .max / 4
        return options
    }
}
