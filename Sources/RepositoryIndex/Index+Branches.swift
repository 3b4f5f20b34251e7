internal import BlockModel
internal import LMDB
package import Repository
internal import RepositoryFormat
internal import RepositoryModel

/// What an index remembers of the branches of a volume.
extension Index {
    /// Which of the snapshots of `timeline` were seen here, and on which history first; reads nothing of the
    /// repository.
    package func branchMemory(of timeline: Timeline) throws -> BranchMemory {
        try environment.read { transaction in
            var memory = BranchMemory()
            let all = timeline.snapshots + timeline.forgotten
            let histories = try histories(transaction).filter { $0.value.volume == timeline.volume }
            for (number, state) in histories.sorted(by: { $0.key < $1.key }) {
                let isOwn = state.forkTarget == .nothing
                if isOwn { memory.ownGeneration = state.tipGeneration }
                for snapshot in all where snapshot.generation <= state.tipGeneration {
                    guard
                        let row = try snapshotRow(number, snapshot.generation, transaction),
                        row.id == snapshot.id
                    else { continue }
                    if memory.firstHistories[snapshot.id] == nil {
                        memory.firstHistories[snapshot.id] = number
                    }
                    if isOwn { memory.ownSnapshots.insert(snapshot.id) }
                }
            }
            return memory
        }
    }
}
