internal import BlockModel
internal import LMDB
internal import RepositoryFormat
internal import RepositoryModel

/// What an index remembers of the branches of a volume.
extension Index {
    /// Which of the snapshots of `timeline` were seen here, and on which line first; reads nothing of the
    /// repository.
    package func branchMemory(of timeline: Timeline) throws -> BranchMemory {
        try environment.read { transaction in
            var memory = BranchMemory()
            let all = timeline.snapshots + timeline.forgotten
            let lines = try lines(transaction).filter { $0.value.volume == timeline.volume }
            for (number, state) in lines.sorted(by: { $0.key < $1.key }) {
                let isOwn = state.sideTarget == .nothing
                if isOwn { memory.ownGeneration = state.tipGeneration }
                for snapshot in all where snapshot.generation <= state.tipGeneration {
                    guard
                        let row = try snapshotRow(number, snapshot.generation, transaction),
                        row.id == snapshot.id
                    else { continue }
                    if memory.firstLines[snapshot.id] == nil {
                        memory.firstLines[snapshot.id] = number
                    }
                    if isOwn { memory.ownSnapshots.insert(snapshot.id) }
                }
            }
            return memory
        }
    }
}
