import BlockModel
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// Deltas that cannot be read, have a number of their own, or begin at what never was, in the way of nothing.
@Suite struct StrayDeltaTests {
    private static func makeLab(_ store: MemoryStore, partByteLimit: Int) throws -> Lab {
        let lab = try Lab(store)
        lab.packByteTarget = 30_000
        lab.partByteLimit = partByteLimit
        lab.workerCount = 1
        return lab
    }

    private static func makeRepository(
        _ store: MemoryStore,
        count: Int,
        seed: UInt64,
        partByteLimit: Int = 600
    ) throws -> (lab: Lab, images: [SnapshotID: [UInt8]]) {
        let lab = try makeLab(store, partByteLimit: partByteLimit)
        var model = ImageModel(byteCount: 60_000, seed: seed)
        var images: [SnapshotID: [UInt8]] = [:]
        for _ in 0..<count {
            for _ in 0..<2 { model.change() }
            try lab.capture(model.bytes)
            let tip = try lab.timeline().tip
            images[try #require(tip).id] = model.bytes
        }
        return (lab, images)
    }

    private static func map(of delta: KnownDelta, _ repository: Repository) throws -> DeltaMap {
        var whole = DeltaMap()
        try repository.forEachMap(of: delta.name) { map, _ in
            var position = 0
            for run in map.runs {
                guard run.kind == .data else {
                    whole.append(run.kind, firstBlock: run.firstBlock, blockCount: run.blockCount)
                    continue
                }
                for block in run.firstBlock..<run.endBlock {
                    whole.append(dataBlock: block, digest: map.digests[position])
                    position += 1
                }
            }
        }
        return whole
    }

    private static func expectWhole(
        _ store: MemoryStore,
        _ images: [SnapshotID: [UInt8]],
        isHarmless: Bool = true,
        _ note: Comment
    ) throws {
        let fresh = try Lab(store)
        fresh.workerCount = 1
        let timeline = try fresh.timeline()
        #expect(timeline.isSound, note)
        #expect(Set(timeline.snapshots.map(\.id)).isSuperset(of: images.keys), note)
        for snapshot in timeline.snapshots {
            guard let image = images[snapshot.id] else { continue }
            fresh.deleteIndex()
            #expect(try fresh.restore(snapshot) == image, note)
        }
        let findings = try fresh.check().findings
        #expect(findings.filter { !$0.isHarmless } == [], note)
        if !isHarmless { #expect(findings == [], note) }
    }

    /// What all of the owner's commands do beside it.
    private static func maintain(
        _ lab: Lab,
        _ store: MemoryStore,
        _ images: inout [SnapshotID: [UInt8]],
        _ note: Comment
    ) throws {
        try lab.prune(.everything)
        try expectWhole(store, images, note)
        let trueOnes = try lab.timeline().snapshots.filter { images[$0.id] != nil }
        let victims = [1, 2, 4].map { trueOnes[$0].id }
        for victim in victims { images[victim] = nil }
        try lab.forget(victims, isThorough: true)
        #expect(try lab.timeline().forgotten.isEmpty, note)
        try expectWhole(store, images, note)
        try lab.prune(.everything)
        try expectWhole(store, images, note)
        let last = try #require(trueOnes.last)
        var image = try #require(images[last.id])
        image[image.count / 2] ^= 1
        try lab.capture(image)
        let tip = try lab.timeline().tip
        images[try #require(tip).id] = image
        try lab.consolidate(lengthLimit: 2)
        try expectWhole(store, images, note)
        let otherStore = MemoryStore()
        var generator = SeededGenerator(seed: 99)
        _ = try Repository(
            creatingIn: otherStore, blockSize: lab.repository.blockSize,
            created: Timestamp(seconds: 1), generator: &generator)
        let other = try makeLab(otherStore, partByteLimit: 600)
        try lab.copy(try lab.timeline().snapshots.filter { images[$0.id] != nil }, to: other)
        try expectWhole(otherStore, images, note)
    }

    // MARK: What cannot be read

    enum Unreadable: CaseIterable, Sendable {
        /// A part of the map is not there.
        case part
        /// The same of one from nothing.
        case base
        /// The same of one that passes others by.
        case shortCut
        /// The map has a wrong byte.
        case map
    }

    private static func store(
        _ kind: Unreadable,
        beside path: [KnownDelta],
        _ forger: Forger,
        _ lab: Lab,
        _ store: MemoryStore
    ) throws -> [DeltaName] {
        let missing = [
            PartReference(
                id: ObjectID(high: 7, low: 7), firstBlock: 0, endBlock: 3, mapByteCount: 50,
                mapChecksum: 5)
        ]
        return try path.indices.compactMap { position in
            let delta = path[position]
            var head = delta.head
            switch kind {
            case .part: head.parts = missing
            case .base:
                (head.from, head.fromGeneration, head.fromByteCount) = (.nothing, 0, 0)
                head.parts = missing
            case .shortCut:
                guard position > 2 else { return nil }
                let start = path[position - 3]
                head.from = start.head.to
                (head.fromGeneration, head.fromByteCount) = (start.name.to, start.head.toByteCount)
                head.parts = missing
            case .map:
                head.parts = []
                let name = try forger.storeDelta(
                    delta.name.volume, from: delta.name.from, to: delta.name.to, head: head,
                    map: try map(of: delta, lab.repository))
                let last = (store.objects[name.objectName]?.count ?? 1) - 1
                store.objects[name.objectName]?[last] ^= 1
                return name
            }
            return try forger.storeDelta(
                delta.name.volume, from: head.fromGeneration, to: delta.name.to, head: head)
        }
    }

    @Test(
        "A delta that cannot be read blocks nothing beside a path that can",
        arguments: Unreadable.allCases, 0..<4 as Range<UInt64>)
    func unreadable(kind: Unreadable, seed: UInt64) throws {
        let store = MemoryStore()
        var (lab, images) = try Self.makeRepository(
            store, count: 7, seed: seed, partByteLimit: seed % 2 == 0 ? 600 : Format.partByteLimit)
        let timeline = try lab.timeline()
        let tip = try #require(timeline.tip)
        let path = try #require(timeline.finestPath(to: tip.id))
        let names = try Self.store(
            kind, beside: path, Forger(lab.repository, seed: seed), lab, store)
        #expect(names.count > 3)
        if seed > 1 { lab.deleteIndex() }
        let note: Comment = "\(kind) \(seed)"
        let report = try lab.check()
        for name in names {
            let finding = report.findings.first { $0.subject == name.objectName }
            #expect(finding?.reason.contains("'varve repair' deletes this") == true, note)
        }
        try Self.maintain(lab, store, &images, note)
        try lab.repairPaths()
        for name in names { #expect(store.objects[name.objectName] == nil, note) }
        try Self.expectWhole(store, images, isHarmless: false, note)
    }

    @Test(
        "A delta that rotted after it was proved is not relied on by who deletes others",
        arguments: [true, false])
    func badFrames(isKnown: Bool) throws {
        let store = MemoryStore()
        var (lab, images) = try Self.makeRepository(
            store, count: 34, seed: 5, partByteLimit: 60)
        #expect(try lab.consolidate(lengthLimit: 10) == 2)
        let timeline = try lab.timeline()
        let shortCuts = timeline.deltas.filter { $0.name.to > $0.name.from + 1 }
        #expect(shortCuts.count == 2 && shortCuts.allSatisfy { !$0.head.parts.isEmpty })
        for delta in shortCuts {
            store.objects[ObjectNames.part(try #require(delta.head.parts.last).id)] = nil
        }
        if !isKnown { lab.deleteIndex() }
        let victims = timeline.snapshots[1..<14].map(\.id)
        for victim in victims { images[victim] = nil }
        let summary = try lab.forget(Array(victims), isThorough: true)
        #expect(summary.removedCount == 13 && summary.mergedCount == 1)
        try Self.expectWhole(store, images, "")
        try lab.prune(.everything)
        try Self.expectWhole(store, images, "")
        try lab.consolidate(lengthLimit: 4)
        try Self.expectWhole(store, images, "")
        try lab.repairPaths()
        try Self.expectWhole(store, images, isHarmless: false, "")
    }

    @Test("Where no other path leads to a snapshot, what cannot be read stays damage")
    func alone() throws {
        let store = MemoryStore()
        let (lab, _) = try Self.makeRepository(
            store, count: 5, seed: 3, partByteLimit: 60)
        let delta = try #require(try lab.timeline().deltas.dropFirst(2).first)
        for part in delta.head.parts { store.objects[ObjectNames.part(part.id)] = nil }
        #expect(!delta.head.parts.isEmpty)
        lab.deleteIndex()
        let before = Set(store.objects.keys)
        let first = try lab.timeline().snapshots[0].id
        let error = #expect(throws: RepositoryError.self) {
            try lab.forget([first], isThorough: true)
        }
        #expect(error?.kind == .damaged)
        let refusal = #expect(throws: RepositoryError.self) { try lab.prune(.everything) }
        #expect(refusal?.kind == .damaged)
        #expect(Set(store.objects.keys) == before)
        #expect(try lab.check().harmCount > 0)
    }

    // MARK: Numbers

    /// Snapshots 1, 2, 3, 5, 6, 7 and 8.
    private static func makeGap(
        _ store: MemoryStore
    ) throws -> (lab: Lab, images: [SnapshotID: [UInt8]]) {
        var (lab, images) = try makeRepository(store, count: 4, seed: 11)
        let tip = try #require(try lab.timeline().tip)
        images[tip.id] = nil
        let lost = try #require(store.objects.keys.first { $0.contains("-000000000004.") })
        store.objects[lost] = nil
        lab.deleteIndex()
        try lab.repairPaths(givesUp: true)
        var model = ImageModel(byteCount: 60_000, seed: 12)
        for _ in 0..<4 {
            model.change()
            try lab.capture(model.bytes)
            let tip = try lab.timeline().tip
            images[try #require(tip).id] = model.bytes
        }
        #expect(try lab.timeline().snapshots.map(\.generation) == [1, 2, 3, 5, 6, 7, 8])
        return (lab, images)
    }

    enum Copy: CaseIterable, Sendable {
        case lower, higher, newest
        /// With snapshots that begin there and call it so.
        case outvoted
    }

    @Test(
        "A true delta under another number costs no snapshot, and goes with the next forgetting",
        arguments: Copy.allCases, [true, false])
    func renumbered(copy: Copy, knowsNothing: Bool) throws {
        let store = MemoryStore()
        var (lab, images) = try Self.makeGap(store)
        let forger = Forger(lab.repository, seed: 5)
        let deltas = try lab.timeline().deltas
        let original = try #require(deltas.first { $0.name.to == (copy == .newest ? 8 : 5) })
        let number: Generation = copy == .lower || copy == .outvoted ? 4 : 12
        var head = original.head
        head.toGeneration = number
        head.parts = []
        let volume = lab.volume
        var names = [
            try forger.storeDelta(
                volume, from: head.fromGeneration, to: number, head: head,
                map: try Self.map(of: original, lab.repository))
        ]
        if copy == .outvoted {
            for letter in 1...2 as ClosedRange<Int64> {
                var facts = original.head.facts
                facts.parent = original.head.to
                facts.parentGeneration = 4
                facts.time = Timestamp(seconds: letter)
                let child = DeltaHead(
                    from: original.head.to, fromGeneration: 4,
                    fromByteCount: facts.byteCount, toGeneration: 5, facts: facts)
                try forger.storeDelta(volume, from: 4, to: 5, head: child)
            }
            names = [original.name]
        }
        if knowsNothing { lab.deleteIndex() }
        let note: Comment = "\(copy) \(knowsNothing)"
        let shown = try lab.timeline().snapshots.filter { images[$0.id] != nil }
        let isOutvoted = copy == .outvoted
        #expect(shown.map(\.generation) == [1, 2, 3, isOutvoted ? 4 : 5, 6, 7, 8], note)
        try Self.expectWhole(store, images, note)
        let report = try lab.check()
        for name in names {
            #expect(report.findings.contains { $0.subject == name.objectName }, note)
        }
        try Self.maintain(lab, store, &images, note)
        for name in names { #expect(store.objects[name.objectName] == nil, note) }
        // What was said of numbers keeps nobody from giving up what is lost.
        try lab.repairPaths(givesUp: true)
        try Self.expectWhole(store, images, isHarmless: false, note)
    }

    @Test("Of two numbers, a false delta hides no true one")
    func falseNumber() throws {
        let store = MemoryStore()
        var (lab, images) = try Self.makeGap(store)
        let original = try #require(try lab.timeline().deltas.first { $0.name.to == 5 })
        var head = original.head
        head.toGeneration = 4
        head.parts = []
        (head.dataBlockCount, head.zeroBlockCount, head.freeBlockCount) = (0, 0, 0)
        let forger = Forger(lab.repository, seed: 6)
        let name = try forger.storeDelta(lab.volume, from: 3, to: 4, head: head)
        for number in 0..<2 as Range<UInt64> {
            // A marker says so too, and what is relied on was never seen.
            let marker = NewestMarker(
                volume: lab.volume, generation: 4, snapshot: head.to,
                delta: ObjectID(high: 0, low: number))
            try lab.store.create(
                marker.objectName, marker.encoded(identity: lab.repository.identity))
        }
        lab.deleteIndex()
        try Self.expectWhole(store, images, "")
        try Self.maintain(lab, store, &images, "")
        #expect(store.objects[name.objectName] == nil)
    }

    // MARK: What never was

    enum Invention: CaseIterable, Sendable {
        case above, between, chain, toTrue, withoutPart
    }

    @Test(
        "A delta behind an invented snapshot is shown, blocks nothing, and goes by word",
        arguments: Invention.allCases, [true, false])
    func invented(invention: Invention, knowsNothing: Bool) throws {
        let store = MemoryStore()
        var (lab, images) = try Self.makeRepository(store, count: 7, seed: 21)
        let forger = Forger(lab.repository, seed: 7)
        let tip = try #require(try lab.timeline().tip)
        let ghost = SnapshotID(Digest(words: 5, 6, 7, 8))
        var facts = tip.facts
        facts.parent = ghost
        facts.tags = ["invented"]
        let number: Generation = invention == .between ? 3 : 8
        facts.parentGeneration = number
        var head = DeltaHead(
            from: ghost, fromGeneration: number, fromByteCount: facts.byteCount,
            toGeneration: number + 1, facts: facts)
        var map = DeltaMap()
        switch invention {
        case .withoutPart:
            head.parts = [
                PartReference(
                    id: ObjectID(high: 7, low: 7), firstBlock: 0, endBlock: 3, mapByteCount: 50,
                    mapChecksum: 5)
            ]
        case .toTrue:
            let start = try #require(try lab.timeline().snapshots.first)
            head = DeltaHead(
                from: ghost, fromGeneration: 4, fromByteCount: facts.byteCount, toGeneration: 7,
                facts: tip.facts)
            #expect(start.id != ghost)
        default:
            head.dataBlockCount = 1
            map.append(dataBlock: 0, digest: Digest(words: 1, 1, 1, 1))
        }
        var names = [
            try forger.storeDelta(
                lab.volume, from: head.fromGeneration, to: head.toGeneration, head: head, map: map)
        ]
        if invention == .chain {
            var next = facts
            next.parent = head.to
            next.parentGeneration = 9
            names.append(
                try forger.storeDelta(
                    lab.volume, from: 9, to: 10,
                    head: DeltaHead(
                        from: head.to, fromGeneration: 9, fromByteCount: facts.byteCount,
                        toGeneration: 10, facts: next)))
        }
        if knowsNothing { lab.deleteIndex() }
        let note: Comment = "\(invention) \(knowsNothing)"
        #expect(!(try lab.timeline().possibleLosses.isEmpty), note)
        let findings = try lab.check().findings
        for name in names {
            #expect(
                findings.contains {
                    $0.isHarmless && $0.reason.contains(name.objectName)
                        && $0.reason.contains("'varve repair --forget-lost'")
                }, note)
        }
        try Self.maintain(lab, store, &images, note)
        for name in names { #expect(store.objects[name.objectName] != nil, note) }
        try lab.repairPaths(givesUp: true)
        for name in names { #expect(store.objects[name.objectName] == nil, note) }
        #expect(try lab.timeline().possibleLosses.isEmpty, note)
        try Self.expectWhole(store, images, isHarmless: false, note)
    }
}
