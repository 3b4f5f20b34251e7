package import BlockModel
package import Repository
internal import RepositoryFormat
internal import RepositoryIndex
package import RepositoryModel

/// What a repository shows of a volume.
package struct VolumeListing: Sendable {
    package let volume: VolumeName
    /// Oldest first, what is damaged among them.
    package let snapshots: [ListedSnapshot]
    /// What is wrong beside snapshots, in words.
    package let notices: [String]
    package let isSound: Bool
}

/// A snapshot, or what is left of one.
package struct ListedSnapshot: Sendable {
    package let generation: Generation
    /// Nil where nothing but a number tells of it.
    package let id: SnapshotID?
    package let facts: SnapshotFacts?
    /// What was said of it after its capture.
    package let standing: Standing
    /// Why it cannot be restored, or not as a whole.
    package let damage: String?
    /// Whether nothing but a number tells of it that is far above all others.
    package let isPossibleLoss: Bool
    /// Why its time does not fit its place in the chain.
    package let outOfTime: String?

    fileprivate init(_ snapshot: Snapshot, _ standing: Standing, outOfTime: String?) {
        generation = snapshot.generation
        id = snapshot.id
        facts = snapshot.facts
        self.standing = standing
        damage = standing.lackingBlockCount.map {
            "lacks \(Human.count(Int(clamping: $0), "block"))"
        }
        isPossibleLoss = false
        self.outOfTime = outOfTime
    }

    fileprivate init(_ snapshot: DamagedSnapshot, isPossibleLoss: Bool) {
        generation = snapshot.generation
        id = snapshot.id
        facts = snapshot.facts
        standing = Standing()
        damage = snapshot.reason
        self.isPossibleLoss = isPossibleLoss
        outOfTime = nil
    }
}

extension OpenRepository {
    /// What there is of all volumes, or of one.
    package func listings(of volume: VolumeName? = nil) throws -> [VolumeListing] {
        try timelines(volume).map { timeline in
            let standings = try repository.standings(of: timeline.volume)
            let order = order(of: timeline)
            let sound = timeline.snapshots.map {
                ListedSnapshot(
                    $0, standings[$0.id] ?? Standing(), outOfTime: order.outOfTime[$0.id])
            }
            let damaged = timeline.damaged.map { ListedSnapshot($0, isPossibleLoss: false) }
            let far = timeline.possibleLosses.map { ListedSnapshot($0, isPossibleLoss: true) }
            return VolumeListing(
                volume: timeline.volume,
                snapshots: (sound + damaged + far).sorted { $0.generation < $1.generation },
                notices: timeline.problems
                    + timeline.unproved.map {
                        "\($0.delta.name.objectName) is not trusted: \($0.reason)"
                    },
                isSound: timeline.isSound)
        }
    }

    /// Names of the volumes that the repository has.
    package func volumeNames() throws -> [VolumeName] { try timelines().map(\.volume) }

    /// How the snapshots of a volume stand to each other and to the clock.
    package func order(of timeline: Timeline) -> SnapshotOrder {
        // An index that cannot be read remembers nothing; what it would have known is kept then.
        let memory = try? index().branchMemory(of: timeline)
        return SnapshotOrder(timeline, memory: memory ?? BranchMemory(), now: clock.now())
    }
}
