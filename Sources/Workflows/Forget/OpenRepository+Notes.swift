internal import BlockModel
internal import LinuxIO
internal import Repository
internal import RepositoryFormat
internal import RepositoryModel
package import SnapshotService

/// What users say of snapshots after their capture.
extension OpenRepository {
    /// Protects a snapshot from being forgotten, or not any more.
    package func protect(_ selector: SnapshotSelector, _ isProtected: Bool) throws -> String {
        try withHold(.repository, .shared, purpose: "protect") { hold in
            let (timeline, snapshot) = try find(selector)
            let title = "\(timeline.volume)@\(snapshot.generation)"
            try repository.setProtected(
                isProtected, on: snapshot.id, of: timeline.volume, time: clock.now(),
                identifiers: identifiers)
            guard isProtected else { return title }
            // Who forgets has taken its hold before it looked for notes: either it sees this note, or its
            // hold is seen here.
            try waitForForgetting(timeline.volume, beside: hold)
            guard try timelines(timeline.volume).first?.snapshot(snapshot.id) != nil else {
                throw ServiceError(.failed, "\(title) was forgotten while it was being protected")
            }
            return title
        }
    }

    private func waitForForgetting(_ volume: VolumeName, beside hold: Hold) throws {
        for _ in 0..<Self.forgettingPatience {
            // All are listed, so that `hold` shows the store's clock.
            let isUnderWay = try repository.allHolds(now: clock.steady(), beside: hold).contains {
                $0.state == .live && $0.scopeDirectory == HoldScope.volume(volume).directory
                    && $0.record?.purpose.hasPrefix(Self.forgettingPurpose) == true
            }
            guard isUnderWay else { return }
            if Interruption.isRequested { throw Interrupted() }
            clock.sleep(100)
        }
        throw ServiceError(
            .locked,
            "snapshots of '\(volume)' are being forgotten, and the "
                + "protection may be too late; run the command again when that has ended")
    }

    /// Tenths of a second that a protection waits for who forgets.
    private static let forgettingPatience = 600

    /// Changes the tags of a snapshot; gives them, and what it is called.
    package func changeTags(
        of selector: SnapshotSelector,
        _ change: ([String]) throws -> [String]
    ) throws -> (title: String, tags: [String]) {
        try withHold(.repository, .shared, purpose: "tag") { _ in
            let (timeline, snapshot) = try find(selector)
            let standing = try repository.standings(of: timeline.volume)[snapshot.id]
            let old = standing?.tags ?? snapshot.facts.tags
            let new = try change(old)
            if new != old {
                try repository.setTags(
                    new, on: snapshot.id, of: timeline.volume, time: clock.now(),
                    identifiers: identifiers)
            }
            return ("\(timeline.volume)@\(snapshot.generation)", new)
        }
    }
}
