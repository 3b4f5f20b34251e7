package import BlockModel

/// One thing that `check` found wrong.
package struct Finding: Hashable, Sendable {
    /// Snapshots of a volume that lack the same number of blocks each.
    package struct Lack: Hashable, Sendable {
        package let volume: VolumeName
        package let generations: ClosedRange<Generation>
        package let blockCount: UInt64

        package init(volume: VolumeName, generations: ClosedRange<Generation>, blockCount: UInt64) {
            self.volume = volume
            self.generations = generations
            self.blockCount = blockCount
        }
    }

    /// The object, or the snapshot, that is not as it should be.
    package let subject: String
    package let reason: String
    package let lack: Lack?
    /// Whether no snapshot needs what is damaged: all of it is held elsewhere too.
    package let isHarmless: Bool

    package init(
        subject: String,
        reason: String,
        lack: Lack? = nil,
        isHarmless: Bool = false
    ) {
        self.subject = subject
        self.reason = reason
        self.lack = lack
        self.isHarmless = isHarmless
    }
}

/// How much of the packs' data is read.
package enum DataCoverage: Hashable, Sendable {
    case none
    case all
    /// A random selection of so many percent of the packs.
    case percent(Double)
}

/// What a check looked at, and what it found.
package struct CheckReport: Sendable {
    package var volumeCount = 0
    package var snapshotCount = 0
    package var packCount = 0
    package var packsRead = 0
    package var bytesRead: UInt64 = 0
    package var findings: [Finding] = []
    /// For the index, so that the next backups store again what is lost.
    package var evidence = PackEvidence()
    /// Blocks that snapshots need and nothing gives.
    package var lostBlocks: Set<Digest> = []
    /// Whether there are more of them.
    package var lostBlocksAreTruncated = false

    private static let findingLimit = 10_000

    package init() {}

    /// Findings that cost, or may cost, a snapshot something.
    package var harmCount: Int { findings.count { !$0.isHarmless } }
    /// Snapshots that lack blocks.
    package var lackingSnapshotCount: UInt64 {
        findings.reduce(0) { $0 + ($1.lack.map { UInt64($0.generations.count) } ?? 0) }
    }

    package mutating func add(_ finding: Finding) {
        guard findings.count < Self.findingLimit, !findings.contains(finding) else { return }
        findings.append(finding)
    }

    package mutating func add(_ subject: String, _ reason: String) {
        add(Finding(subject: subject, reason: reason))
    }
}

/// A frame that did not give its bytes when it was read.
package struct BadFrame: Hashable, Sendable {
    package let pack: ObjectID
    /// Where it begins in the pack.
    package let byteOffset: UInt32

    package init(pack: ObjectID, byteOffset: UInt32) {
        self.pack = pack
        self.byteOffset = byteOffset
    }
}

/// What a check learnt of the packs.
package struct PackEvidence: Sendable {
    /// Packs of which not even the table can be read.
    package var unreadable: [ObjectID] = []
    /// Packs that were read whole.
    package var proved: [ObjectID] = []
    /// Frames of those that did not give their bytes.
    package var badFrames: [BadFrame] = []

    package init(
        unreadable: [ObjectID] = [],
        proved: [ObjectID] = [],
        badFrames: [BadFrame] = []
    ) {
        self.unreadable = unreadable
        self.proved = proved
        self.badFrames = badFrames
    }
}
