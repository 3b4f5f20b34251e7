package import BlockModel
internal import LMDB
internal import Repository
package import RepositoryFormat

/// Number of a block in one index: stands for its digest in history pages.
///
/// 0 is a block of zeros and 1 a free one; both read as zeros. Digests start at 2.
package typealias BlockNumber = UInt64

package enum SpecialBlock {
    package static let zero: BlockNumber = 0
    package static let free: BlockNumber = 1
    package static let firstDigest: BlockNumber = 2
}

/// Number of a history in one index: a volume's history, or the path to a single forked snapshot.
package typealias HistoryNumber = UInt32

/// Where a block's bytes are: a frame in a pack, and the block's slot in it, in 16 bytes.
package struct Place: Hashable, Sendable {
    static let byteCount = 16
    /// The pack number of a digest that a delta names and no pack holds.
    package static let missingPack: UInt32 = 0
    static let missing = Place(
        pack: missingPack, byteOffset: 0, payloadByteCount: 0, slot: 0, frameBlockCount: 1,
        kind: .stored, depth: 0)

    package let pack: UInt32
    package let byteOffset: UInt32
    package let payloadByteCount: UInt32
    package let slot: UInt8
    package let frameBlockCount: UInt8
    package let kind: FrameKind
    package let depth: UInt8

    init(
        pack: UInt32,
        byteOffset: UInt32,
        payloadByteCount: UInt32,
        slot: UInt8,
        frameBlockCount: UInt8,
        kind: FrameKind,
        depth: UInt8
    ) {
        self.pack = pack
        self.byteOffset = byteOffset
        self.payloadByteCount = payloadByteCount
        self.slot = slot
        self.frameBlockCount = frameBlockCount
        self.kind = kind
        self.depth = depth
    }

    /// The place of block `slot` of `frame`.
    package init(pack: UInt32, frame: FrameEntry, slot: Int) {
        self.init(
            pack: pack, byteOffset: frame.byteOffset,
            payloadByteCount: UInt32(frame.header.payloadByteCount), slot: UInt8(slot),
            frameBlockCount: UInt8(frame.header.blockCount), kind: frame.header.kind,
            depth: frame.header.depth)
    }

    init(at offset: Int, in bytes: RawSpan) {
        pack = bytes.littleEndian(at: offset, as: UInt32.self)
        byteOffset = bytes.littleEndian(at: offset + 4, as: UInt32.self)
        payloadByteCount = bytes.littleEndian(at: offset + 8, as: UInt32.self)
        slot = bytes.littleEndian(at: offset + 12, as: UInt8.self)
        frameBlockCount = bytes.littleEndian(at: offset + 13, as: UInt8.self)
        kind =
            FrameKind(rawValue: bytes.littleEndian(at: offset + 14, as: UInt8.self)) ?? .stored
        depth = bytes.littleEndian(at: offset + 15, as: UInt8.self)
    }

    func store(at offset: Int, in bytes: inout MutableRawSpan) {
        bytes.store(pack, at: offset)
        bytes.store(byteOffset, at: offset + 4)
        bytes.store(payloadByteCount, at: offset + 8)
        bytes.store(slot, at: offset + 12)
        bytes.store(frameBlockCount, at: offset + 13)
        bytes.store(kind.rawValue, at: offset + 14)
        bytes.store(depth, at: offset + 15)
    }

    package var frameByteCount: Int {
        FrameHeader.byteCount(of: kind) + Int(payloadByteCount)
    }
}

/// What the index knows of a pack.
package struct PackRecord: Hashable, Sendable {
    package let number: UInt32
    package let id: ObjectID
    package let byteCount: UInt64
    /// Whether this index saw it written; others' packs are proved block by block when first used.
    package let isOwn: Bool
    /// Frames that did not give their bytes when somebody read them, by where they begin.
    package var badFrames: Set<UInt32> = []

    init(number: UInt32, id: ObjectID, byteCount: UInt64, isOwn: Bool) {
        self.number = number
        self.id = id
        self.byteCount = byteCount
        self.isOwn = isOwn
    }

    package func isBad(_ place: Place) -> Bool { badFrames.contains(place.byteOffset) }
}

/// What one capture of a volume leaves to the next; a lost one costs no more than some work.
package struct CaptureMemory: Hashable, Sendable {
    /// Where the next sample of what evidence calls unchanged begins in its secret order.
    package var samplePosition: UInt64 = 0
    /// Losses of blocks that the index knew of when all blocks of the volume were last looked at.
    package var lossesSeen: UInt64 = 0

    package init() {}
}

/// The state of a history: which snapshot its pages show.
struct HistoryState: Hashable {
    /// The snapshot that a crash may have left half applied; nothing when the history is whole.
    struct Pending: Hashable {
        var snapshot: SnapshotID
        var generation: Generation

        init(snapshot: SnapshotID, generation: Generation) {
            self.snapshot = snapshot
            self.generation = generation
        }

        init(of delta: KnownDelta) {
            self.init(snapshot: delta.head.to, generation: delta.name.to)
        }
    }

    var volume: VolumeName
    /// The one snapshot that a side history leads to; nothing for a volume's own history.
    var forkTarget: SnapshotID
    var tip: SnapshotID
    var tipGeneration: Generation
    var tipByteCount: UInt64
    var memory = CaptureMemory()
    var pending: Pending?

    init(volume: VolumeName, forkTarget: SnapshotID = .nothing) {
        self.volume = volume
        self.forkTarget = forkTarget
        tip = .nothing
        tipGeneration = 0
        tipByteCount = 0
    }

    /// Whether the history shows exactly that snapshot.
    func isAt(_ snapshot: SnapshotID, _ generation: Generation) -> Bool {
        pending == nil && tip == snapshot && tipGeneration == generation
    }

    func encoded() -> [UInt8] {
        var writer = ByteWriter()
        writer.append(volume.rawValue)
        writer.append(forkTarget)
        writer.append(tip)
        writer.append(tipGeneration)
        writer.append(tipByteCount)
        writer.append(memory.samplePosition)
        writer.append(memory.lossesSeen)
        writer.append(UInt8(pending == nil ? 0 : 1))
        writer.append(pending?.snapshot ?? .nothing)
        writer.append(pending?.generation ?? 0)
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(FormatError) {
        var reader = ByteReader(bytes)
        guard let volume = VolumeName(try reader.text()) else { throw .badValue("volume") }
        self.init(volume: volume, forkTarget: SnapshotID(try reader.digest()))
        tip = SnapshotID(try reader.digest())
        tipGeneration = try reader.integer(UInt64.self)
        tipByteCount = try reader.integer(UInt64.self)
        memory.samplePosition = try reader.integer(UInt64.self)
        memory.lossesSeen = try reader.integer(UInt64.self)
        let hasPending = try reader.integer(UInt8.self) == 1
        let snapshot = SnapshotID(try reader.digest())
        let generation = try reader.integer(UInt64.self)
        if hasPending { pending = Pending(snapshot: snapshot, generation: generation) }
        try reader.end()
    }
}

/// The tables of the index; the page of documentation `Index` says what is in each.
struct IndexTables {
    let meta: Table
    let packs: Table
    let numbers: Table
    let digests: Table
    let places: Table
    let histories: Table
    let snapshots: Table
    let history: Table
    let leaves: Table
    let tips: Table
    let staged: Table
    let heads: Table
    let rot: Table
    let uses: Table
    let prefixes: Table
    let tallies: Table
    let counted: Table
    let failures: Table
    let verdicts: Table

    static let count = 19

    init(_ transaction: borrowing Transaction) throws {
        meta = try transaction.table("meta", options: .sealed)
        packs = try transaction.table("packs", options: .sealed)
        numbers = try transaction.table("numbers", options: .sealed)
        digests = try transaction.table("digests", options: .fixedDuplicates)
        places = try transaction.table("places", options: .fixedDuplicates)
        histories = try transaction.table("lines", options: .sealed)
        snapshots = try transaction.table("snapshots", options: .sealed)
        history = try transaction.table("history", options: .sealed)
        leaves = try transaction.table("leaves", options: .sealed)
        tips = try transaction.table("tips", options: .sealed)
        staged = try transaction.table("staged", options: .sealed)
        heads = try transaction.table("heads", options: .sealed)
        rot = try transaction.table("rot", options: .sealed)
        uses = try transaction.table("uses")
        prefixes = try transaction.table("prefixes", options: .fixedDuplicates)
        tallies = try transaction.table("tallies")
        counted = try transaction.table("counted")
        failures = try transaction.table("failures", options: .sealed)
        verdicts = try transaction.table("verdicts", options: .sealed)
    }
}
