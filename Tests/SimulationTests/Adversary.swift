import BlockModel
import ObjectStore
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Workflows

/// Somebody who can create objects of a repository at random, and can delete and replace none.
struct Adversary {
    private enum Act: CaseIterable {
        case claim, falseDelta, inventedSnapshot, otherNumbers, copy, foreign, note, hold, marker
        case garbage, pruneList
    }

    private let lab: Lab
    private let store: MemoryStore
    private let forger: Forger
    private let identifiers: SeededIdentifiers
    private var generator: SeededGenerator
    /// Snapshots that it hid, as everybody can who may create a note.
    private(set) var hidden: Set<SnapshotID> = []
    /// Snapshots that it said are not protected any more.
    private(set) var unprotected: Set<SnapshotID> = []

    init(_ lab: Lab, _ store: MemoryStore, seed: UInt64) {
        self.lab = lab
        self.store = store
        forger = Forger(lab.repository, seed: seed)
        identifiers = SeededIdentifiers(seed: seed ^ 0xBAD_BAD)
        generator = SeededGenerator(seed: seed ^ 0xE71)
    }

    /// Creates an object or some; gives what it was.
    mutating func act(_ images: [[UInt8]]) throws -> String {
        let act = pick(Act.allCases)
        do {
            try run(act, images)
            return "\(act)"
        } catch is FormatError {
            // What the format itself refuses cannot be stored.
            return "\(act) (nothing)"
        }
    }

    private mutating func run(_ act: Act, _ images: [[UInt8]]) throws {
        switch act {
        case .claim: try claim(images)
        case .falseDelta: try storeFalseDelta()
        case .inventedSnapshot: try inventSnapshot()
        case .otherNumbers: try renumber()
        case .copy: try copyObject()
        case .foreign: try storeForeign()
        case .note: try storeNote()
        case .hold: try storeHold()
        case .marker: try storeMarker()
        case .garbage: try storeGarbage()
        case .pruneList: try storePruneList()
        }
    }

    private mutating func random(_ limit: Int) -> Int { Int(generator.next() % UInt64(limit)) }

    private mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[random(elements.count)]
    }

    // MARK: Packs

    private mutating func claim(_ images: [[UInt8]]) throws {
        let hasher = BlockHasher()
        let image = pick(images)
        let blocks = stride(from: 0, to: image.count / 4096 * 4096, by: 4096).map { start in
            let bytes = Array(image[start..<start + 4096])
            return (digest: hasher.digest(of: bytes.span.bytes), bytes: bytes)
        }
        guard !blocks.isEmpty else { return }
        var frames: [Forger.Frame] = []
        let kind = random(7)
        for block in blocks where random(3) > 0 {
            let other = pick(blocks)
            let patch = [UInt8](generator.bytes(1 + random(40)))
            switch kind {
            case 0: frames.append(.init(.stored, [block.digest], payload: other.bytes))
            case 1:
                frames.append(.init(.stored, [block.digest], payload: block.bytes, isRotten: true))
            case 2: frames.append(.init(.stored, [block.digest], payload: block.bytes))
            case 3:
                frames.append(
                    .init(
                        .patch, depth: 1, [block.digest], prefixes: [other.digest], payload: patch,
                        isRotten: random(2) == 0))
            case 4:
                frames.append(
                    .init(
                        .patchOfTwo, depth: 1, [block.digest],
                        prefixes: [other.digest, block.digest], payload: patch))
            case 5: frames.append(.init(.zstd, [block.digest, other.digest], payload: patch))
            default:
                frames.append(
                    .init(
                        .stored, [block.digest, block.digest, other.digest],
                        payload: block.bytes + other.bytes + block.bytes))
            }
        }
        if !frames.isEmpty { try forger.storePack(frames) }
    }

    // MARK: Deltas

    /// The whole map of a delta.
    private func map(of delta: KnownDelta) throws -> DeltaMap {
        var whole = DeltaMap()
        try lab.repository.forEachMap(of: delta.name) { map, _ in
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

    private func store(_ head: DeltaHead, _ map: DeltaMap) throws {
        var head = head
        head.parts = []
        head.dataBlockCount = UInt64(map.digests.count)
        head.zeroBlockCount = 0
        head.freeBlockCount = 0
        for run in map.runs where run.kind == .zero { head.zeroBlockCount += run.blockCount }
        for run in map.runs where run.kind == .free { head.freeBlockCount += run.blockCount }
        try forger.storeDelta(
            lab.volume, from: head.fromGeneration, to: head.toGeneration, head: head, map: map)
    }

    private func start(_ head: inout DeltaHead, at snapshot: Snapshot?) {
        head.from = snapshot?.id ?? .nothing
        head.fromGeneration = snapshot?.generation ?? 0
        head.fromByteCount = snapshot?.facts.byteCount ?? 0
    }

    private mutating func storeFalseDelta() throws {
        let timeline = try lab.timeline()
        guard !timeline.deltas.isEmpty else { return }
        let delta = pick(timeline.deltas)
        var head = delta.head
        var map = DeltaMap()
        let earlier = timeline.snapshots.filter { $0.generation < head.toGeneration }
        switch random(7) {
        case 0: break
        case 1: map = try self.map(of: pick(timeline.deltas))
        case 2: start(&head, at: nil)
        case 3: if !earlier.isEmpty { start(&head, at: pick(earlier)) }
        case 4:
            map = try self.map(of: delta)
            if !earlier.isEmpty { start(&head, at: pick(earlier)) }
        case 5:
            map = try self.map(of: delta)
            if head.from != .nothing { head.fromByteCount += UInt64(4096 * (1 + random(5))) }
        default:
            map.append(dataBlock: 0, digest: Digest(words: generator.next(), 1, 2, 3))
        }
        try store(head, map)
    }

    /// A snapshot that nobody captured: on another or on none, of any time, size and number.
    private mutating func inventSnapshot() throws {
        let timeline = try lab.timeline()
        guard !timeline.deltas.isEmpty else { return }
        let delta = pick(timeline.deltas)
        var head = delta.head
        if random(3) > 0, !timeline.snapshots.isEmpty {
            let parent = random(2) == 0 ? timeline.snapshots.last : pick(timeline.snapshots)
            start(&head, at: parent)
            head.facts.parent = parent?.id ?? .nothing
            head.facts.parentGeneration = parent?.generation ?? 0
            head.facts.imageDigest = parent?.facts.imageDigest ?? .zero
            head.facts.byteCount = parent?.facts.byteCount ?? 0
        }
        let seconds = pick([
            lab.time.seconds, lab.time.seconds + 1, head.facts.time.seconds &+ 1, 0, .min, .max,
            lab.time.seconds + 1_000_000,
        ])
        head.facts.time = Timestamp(seconds: seconds)
        if random(3) == 0 { head.facts.imageDigest = Digest(words: generator.next(), 5, 6, 7) }
        if random(3) == 0 { head.facts.byteCount = UInt64(random(200_000)) }
        let next = head.fromGeneration + 1
        head.toGeneration = pick([
            next, next, timeline.highestGeneration + 1, next + UInt64(random(5000)),
            999_999_999_998,
        ])
        head.to = head.facts.snapshotID
        try store(head, random(2) == 0 ? DeltaMap() : try map(of: delta))
    }

    /// A true delta with other numbers.
    private mutating func renumber() throws {
        let timeline = try lab.timeline()
        guard !timeline.deltas.isEmpty else { return }
        let delta = pick(timeline.deltas)
        var head = delta.head
        switch random(3) {
        case 0: head.toGeneration += UInt64(1 + random(4))
        case 1: if head.fromGeneration > 1 { head.fromGeneration -= 1 }
        default:
            head.toGeneration += UInt64(random(9000))
            if head.fromGeneration > 0, random(2) == 0 { head.fromGeneration += 1 }
        }
        guard head.fromGeneration < head.toGeneration else { return }
        try store(head, try map(of: delta))
    }

    // MARK: Other objects

    private mutating func freeName(like name: String, of snapshot: SnapshotID) -> String {
        let id = identifiers.next()
        if name.hasPrefix(ObjectNames.packs) { return ObjectNames.pack(id) }
        if name.hasPrefix(ObjectNames.parts) { return ObjectNames.part(id) }
        if name.hasPrefix(ObjectNames.notes) {
            return ObjectNames.note(on: snapshot, of: lab.volume, number: random(100), id: id)
        }
        if name.hasPrefix(ObjectNames.locks) {
            return ObjectNames.hold(scope: .repository, kind: pick(HoldKind.allCases), id: id)
        }
        if name.hasPrefix(ObjectNames.volumes) {
            if name.contains("newest") {
                return ObjectNames.newest(
                    of: lab.volume, generation: UInt64(random(9000)), id: id)
            }
            let from = UInt64(random(9))
            return ObjectNames.delta(
                of: lab.volume, from: from, to: from + UInt64(1 + random(5)), id: id)
        }
        return ObjectNames.pruneList(id)
    }

    private mutating func anySnapshot() throws -> SnapshotID {
        let snapshots = try lab.timeline().snapshots
        guard !snapshots.isEmpty, random(5) > 0 else {
            return SnapshotID(Digest(words: generator.next(), 1, 1, 1))
        }
        return pick(snapshots).id
    }

    /// The bytes of an object under another name; a true delta once more.
    private mutating func copyObject() throws {
        let timeline = try lab.timeline()
        if random(3) == 0, !timeline.deltas.isEmpty {
            let delta = pick(timeline.deltas)
            // The parts of one delta may be named by others.
            if delta.head.parts.isEmpty { return try store(delta.head, try map(of: delta)) }
            try forger.storeDelta(
                lab.volume, from: delta.name.from, to: delta.name.to, head: delta.head)
            return
        }
        let name = pick(store.objects.keys.sorted())
        let new = freeName(like: name, of: try anySnapshot())
        guard let bytes = store.objects[name], store.objects[new] == nil else { return }
        try store.create(new, bytes)
    }

    /// An object with the id of another repository.
    private mutating func storeForeign() throws {
        let name = freeName(like: pick(store.objects.keys.sorted()), of: try anySnapshot())
        guard store.objects[name] == nil else { return }
        let identity = RepositoryIdentity(
            id: identifiers.next(), blockSize: lab.repository.blockSize)
        let kind: ObjectKind =
            name.hasPrefix(ObjectNames.packs)
            ? .pack : name.hasPrefix(ObjectNames.notes) ? .note : .delta
        let header = ObjectHeader(kind: kind, name: name, identity: identity)
        try store.create(name, try header.encoded() + generator.bytes(random(300)))
    }

    private mutating func storeNote() throws {
        let snapshot = try anySnapshot()
        let note: Note
        switch random(6) {
        case 0:
            note = Note(kind: .forgotten, time: lab.time, texts: [])
            hidden.insert(snapshot)
        case 1: note = Note(kind: .protection, time: lab.time, texts: ["protected"])
        case 2:
            note = Note(kind: .protection, time: lab.time, texts: [])
            unprotected.insert(snapshot)
        case 3: note = Note(kind: .damage, time: lab.time, texts: ["99"])
        case 4: note = Note(kind: .distrust, time: lab.time, texts: ["it lies"])
        default:
            note = Note(kind: .tags, time: Timestamp(seconds: .max), texts: ["x", "\u{1B}[2J"])
        }
        let name = ObjectNames.note(
            on: snapshot, of: lab.volume, number: random(3) == 0 ? 999_999_999_999 : random(50),
            id: identifiers.next())
        try store.create(name, try note.encoded(name: name, identity: lab.repository.identity))
    }

    private mutating func storeHold() throws {
        let record = HoldRecord(
            purpose: pick(["forget", "prune", "backup", ""]), host: "elsewhere", bootID: "another",
            processID: 1, processStart: 1, created: Timestamp(seconds: 32_503_680_000),
            expires: Timestamp(seconds: .max))
        let name = ObjectNames.hold(
            scope: pick([.repository, .volume(lab.volume)]), kind: pick(HoldKind.allCases),
            id: identifiers.next())
        try store.create(name, try record.encoded(name: name, identity: lab.repository.identity))
    }

    private mutating func storeMarker() throws {
        let highest = try lab.timeline().highestGeneration
        let marker = NewestMarker(
            volume: lab.volume,
            generation: pick([
                0, highest, highest + 1, highest + UInt64(random(5000)), 999_999_999_999,
            ]),
            snapshot: try anySnapshot(), delta: identifiers.next())
        try store.create(marker.objectName, try marker.encoded(identity: lab.repository.identity))
    }

    private mutating func storeGarbage() throws {
        let name = freeName(like: pick(store.objects.keys.sorted()), of: try anySnapshot())
        guard store.objects[name] == nil else { return }
        try store.create(name, generator.bytes(pick([0, 1, 50, 500, 5000])))
    }

    /// Says that packs are about to be deleted.
    private mutating func storePruneList() throws {
        let packs = try lab.repository.listPacks().map(\.id).filter { _ in random(2) == 0 }
        let name = ObjectNames.pruneList(identifiers.next())
        let list = PruneList(time: lab.time, packs: packs)
        try store.create(name, try list.encoded(name: name, identity: lab.repository.identity))
    }
}
