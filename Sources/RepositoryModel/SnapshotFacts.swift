package import BlockModel

/// How the changes of a snapshot were found.
package enum DetectionMethod: UInt8, Hashable, Sendable {
    /// The first of its volume: every block was read.
    case base = 1
    /// Every block was read and compared with the snapshot before.
    case fullComparison = 2
    /// Blocks on a list that the user handed in were read and compared.
    case changedExtents = 3
    /// Blocks that the store of a copy-on-write snapshot told of were read and compared.
    case snapshotStore = 4
    /// The same for what differs between two snapshots of a thin pool.
    case thinDelta = 5
    /// The same for what a dm-era target tells.
    case era = 6

    package var name: String {
        switch self {
        case .base: "base"
        case .fullComparison: "full-comparison"
        case .changedExtents: "changed-extents"
        case .snapshotStore: "snapshot-store"
        case .thinDelta: "thin-delta"
        case .era: "era"
        }
    }
}

/// What shows that a block called unchanged is unchanged.
package enum ChangeProof: UInt8, Hashable, Sendable {
    /// Its digest, or its keyed fingerprint where the index had one.
    case everyBlockCompared = 1
    /// Evidence said so, and a sample of what it called unchanged was compared.
    case sampled = 2

    package var name: String {
        switch self {
        case .everyBlockCompared: "every-block"
        case .sampled: "sampled"
        }
    }
}

/// What is known of the moment that a snapshot shows.
package enum Consistency: UInt8, Hashable, Sendable {
    /// Nothing wrote to the source while it was read.
    case atRest = 1
    /// The source was in use and read anyway: no single moment, for ever.
    case liveInconsistent = 2
    /// A frozen view of a source in use was read: one moment, at which its file systems were frozen.
    case frozenView = 3

    package var name: String {
        switch self {
        case .atRest: "at-rest"
        case .liveInconsistent: "live-inconsistent"
        case .frozenView: "frozen-view"
        }
    }
}

/// Where a snapshot was captured from.
package struct SourceIdentity: Hashable, Sendable {
    package enum Kind: UInt8, Hashable, Sendable {
        case file = 1
        case blockDevice = 2
        case stream = 3
    }

    package var kind: Kind
    /// Contents of `/etc/machine-id`, or the host's name where there is none.
    package var machine: String
    /// The path as it was given.
    package var path: String
    /// Serial number or partition UUID of a device; empty for files and streams.
    package var serial: String
    package var sectorByteCount: UInt32

    package init(
        kind: Kind,
        machine: String,
        path: String,
        serial: String,
        sectorByteCount: UInt32
    ) {
        self.kind = kind
        self.machine = machine
        self.path = path
        self.serial = serial
        self.sectorByteCount = sectorByteCount
    }

    /// Whether `other` is the same source, seen again: the serial decides where both have one.
    package func isSameSource(as other: SourceIdentity) -> Bool {
        guard kind == other.kind, sectorByteCount == other.sectorByteCount else { return false }
        if kind == .stream { return true }
        if !serial.isEmpty || !other.serial.isEmpty { return serial == other.serial }
        // By bytes: texts that look alike are equal as texts.
        return machine == other.machine && path.utf8.elementsEqual(other.path.utf8)
    }
}

/// What is fixed at capture and carried by every delta that ends at the snapshot.
package struct SnapshotFacts: Hashable, Sendable {
    package var time: Timestamp
    package var byteCount: UInt64
    package var source: SourceIdentity
    package var method: DetectionMethod
    package var proof: ChangeProof
    package var consistency: Consistency
    package var imageDigest: Digest
    /// The snapshot before this one when it was captured.
    package var parent: SnapshotID
    /// Generation of that snapshot; 0 for none.
    package var parentGeneration: Generation
    /// Volumes taken at one moment share it; zero: alone.
    package var setID: ObjectID
    /// The id in the repository that this was copied from; zero: captured here.
    package var origin: SnapshotID
    package var tags: [String]
    package var durationNanoseconds: UInt64
    package var bytesRead: UInt64
    package var blocksChanged: UInt64
    package var bytesChanged: UInt64
    /// Bytes of packs and parts that the capture wrote.
    package var bytesStored: UInt64

    package init(
        time: Timestamp,
        byteCount: UInt64,
        source: SourceIdentity,
        method: DetectionMethod,
        consistency: Consistency,
        parent: SnapshotID,
        parentGeneration: Generation,
        tags: [String]
    ) {
        self.time = time
        self.byteCount = byteCount
        self.source = source
        self.method = method
        proof = .everyBlockCompared
        self.consistency = consistency
        imageDigest = .zero
        self.parent = parent
        self.parentGeneration = parentGeneration
        setID = .zero
        origin = .nothing
        self.tags = tags
        durationNanoseconds = 0
        bytesRead = 0
        blocksChanged = 0
        bytesChanged = 0
        bytesStored = 0
    }
}
