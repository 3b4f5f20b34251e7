package import BlockModel

/// A value that snapshots carry, of which later versions may write more than this one knows.
///
/// Unknown values are kept as they are: a restore does not need them.
package protocol StoredValue: RawRepresentable, Hashable, Sendable where RawValue == UInt8 {
    /// The names of the values that this version knows.
    static var names: [Self: String] { get }

    init(rawValue: UInt8)
}

extension StoredValue {
    /// What users see: `unknown-7` for a value of a later version.
    package var name: String { Self.names[self] ?? "unknown-\(rawValue)" }
}

/// How the changes of a snapshot were found.
package struct DetectionMethod: StoredValue {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The first of its volume: every block was read.
    package static let base = Self(rawValue: 1)
    /// Every block was read and compared with the snapshot before.
    package static let fullComparison = Self(rawValue: 2)
    /// Blocks on a list that the user handed in were read and compared.
    package static let changedExtents = Self(rawValue: 3)
    /// Blocks that the store of a copy-on-write snapshot listed were read and compared.
    package static let snapshotStore = Self(rawValue: 4)
    /// The same for the differences between two snapshots of a thin pool.
    package static let thinDelta = Self(rawValue: 5)
    /// The same for what a dm-era target lists.
    package static let era = Self(rawValue: 6)

    package static let names: [Self: String] = [
        .base: "base", .fullComparison: "full-comparison", .changedExtents: "changed-extents",
        .snapshotStore: "snapshot-store", .thinDelta: "thin-delta", .era: "era",
    ]
}

/// What shows that a block called unchanged is unchanged.
package struct ChangeProof: StoredValue {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Its digest, or its keyed fingerprint where the index had one.
    package static let everyBlockCompared = Self(rawValue: 1)
    /// Evidence said so, and a sample of what it called unchanged was compared.
    package static let sampled = Self(rawValue: 2)

    package static let names: [Self: String] = [
        .everyBlockCompared: "every-block", .sampled: "sampled",
    ]
}

/// What is known of the moment that a snapshot shows.
package struct Consistency: StoredValue {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Nothing wrote to the source while it was read.
    package static let atRest = Self(rawValue: 1)
    /// The source was in use and read anyway: no single moment, for ever.
    package static let liveInconsistent = Self(rawValue: 2)
    /// A frozen view of a source in use was read: one moment, at which its file systems were frozen.
    package static let frozenView = Self(rawValue: 3)

    package static let names: [Self: String] = [
        .atRest: "at-rest", .liveInconsistent: "live-inconsistent", .frozenView: "frozen-view",
    ]
}

/// Where a snapshot was captured from.
package struct SourceIdentity: Hashable, Sendable {
    package struct Kind: StoredValue {
        package let rawValue: UInt8

        package init(rawValue: UInt8) { self.rawValue = rawValue }

        package static let file = Self(rawValue: 1)
        package static let blockDevice = Self(rawValue: 2)
        package static let stream = Self(rawValue: 3)

        package static let names: [Self: String] = [
            .file: "file", .blockDevice: "block-device", .stream: "stream",
        ]
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
