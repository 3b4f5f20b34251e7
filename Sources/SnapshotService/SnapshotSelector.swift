package import BlockModel
package import Repository
internal import RepositoryFormat
package import RepositoryModel

/// How a snapshot is named on the command line.
package enum SnapshotSelector: Hashable, Sendable {
    case latest(VolumeName)
    case generation(VolumeName, Generation)
    /// So many before the latest.
    case before(VolumeName, Int)
    /// The last at or before a moment.
    case time(VolumeName, Timestamp)
    /// The first digits of its id.
    case prefix(String)

    package static let help = """
        VOLUME@latest, VOLUME@7 (generation), VOLUME@-1 (one before the latest), \
        VOLUME@2026-11-22T14:00 (the last at or before that moment), or the first digits of its id
        """

    package init(_ text: String) throws {
        guard let at = text.lastIndex(of: "@") else {
            guard (4...64).contains(text.utf8.count),
                text.utf8.allSatisfy({ "0123456789abcdef".utf8.contains($0) })
            else {
                throw ServiceError(
                    .usage, "'\(text)' does not name a snapshot; use \(Self.help)")
            }
            self = .prefix(text)
            return
        }
        guard let volume = VolumeName(String(text[..<at])) else {
            throw ServiceError(
                .usage,
                at == text.startIndex
                    ? "'\(text)' lacks a volume name before the @; use \(Self.help)"
                    : "'\(text[..<at])' in '\(text)' is not a volume name")
        }
        let moment = String(text[text.index(after: at)...])
        if moment == "latest" {
            self = .latest(volume)
        } else if moment.hasPrefix("-"), let count = Int(moment.dropFirst()), count > 0 {
            self = .before(volume, count)
        } else if let generation = UInt64(moment), generation > 0 {
            self = .generation(volume, generation)
        } else if let time = Moment.parse(moment) {
            self = .time(volume, time)
        } else {
            throw ServiceError(
                .usage,
                "'\(moment)' in '\(text)' is not a generation (1 or higher) or a time; use "
                    + Self.help)
        }
    }

    /// The volume that it must be in; nil when any may have it.
    package var volume: VolumeName? {
        switch self {
        case .latest(let volume), .generation(let volume, _), .before(let volume, _),
            .time(let volume, _):
            volume
        case .prefix: nil
        }
    }

    /// The one snapshot that is meant.
    package func resolve(
        in timelines: [Timeline]
    ) throws -> (timeline: Timeline, snapshot: Snapshot) {
        switch self {
        case .prefix(let digits):
            var found: [(Timeline, Snapshot)] = []
            for timeline in timelines {
                for snapshot in timeline.snapshots where snapshot.id.hexadecimal.hasPrefix(digits) {
                    found.append((timeline, snapshot))
                }
            }
            guard found.count < 2 else {
                throw ServiceError(
                    .usage, "'\(digits)' matches several snapshots; give more digits")
            }
            guard let one = found.first else {
                try refuseDamaged(timelines) { $0.id?.hexadecimal.hasPrefix(digits) == true }
                throw ServiceError(.failed, "no snapshot id begins with '\(digits)'")
            }
            return one
        case .latest(let volume): return try pick(volume, timelines) { $0.snapshots.last }
        case .before(let volume, let count):
            return try pick(volume, timelines) { timeline in
                timeline.snapshots.dropLast(count).last
            }
        case .time(let volume, let time):
            return try pick(volume, timelines) { timeline in
                timeline.last(atOrBefore: time)?.snapshot
            }
        case .generation(let volume, let generation):
            return try pick(volume, timelines) { timeline in
                timeline.snapshots.last { $0.generation == generation }
            }
        }
    }

    private func pick(
        _ volume: VolumeName,
        _ timelines: [Timeline],
        _ choose: (Timeline) -> Snapshot?
    ) throws -> (timeline: Timeline, snapshot: Snapshot) {
        guard let timeline = timelines.first(where: { $0.volume == volume }) else {
            throw ServiceError(
                .failed, "the repository has no volume '\(volume)'; 'varve snapshots' lists them")
        }
        guard let snapshot = choose(timeline) else {
            try refuseDamaged([timeline]) { damaged in
                switch self {
                case .generation(_, let generation): damaged.generation == generation
                case .time(_, let time):
                    (damaged.facts?.time.seconds ?? time.seconds) <= time.seconds
                case .latest, .before: true
                case .prefix: false
                }
            }
            throw ServiceError(
                .failed,
                "volume '\(volume)' has no snapshot \(meaning); 'varve snapshots \(volume)' lists "
                    + "its snapshots")
        }
        try refusePassingOver(timeline, snapshot)
        let twins = timeline.snapshots.filter { $0.generation == snapshot.generation }
        guard twins.count == 1 else {
            throw ServiceError(
                .failed,
                "generation \(snapshot.generation) of '\(volume)' is ambiguous: "
                    + twins.map(\.id.short).joined(separator: " or ") + "; use its id")
        }
        return (timeline, snapshot)
    }

    /// What a volume was searched for, as in "it has no snapshot …".
    private var meaning: String {
        switch self {
        case .latest: "at all"
        case .generation(_, let generation): "of generation \(generation)"
        case .before(_, let count): "\(count) before its latest"
        case .time(_, let time): "at or before \(Moment.local(time))"
        case .prefix(let digits): "with the id \(digits)…"
        }
    }

    /// A newer snapshot that is damaged must not be passed over in silence.
    private func refusePassingOver(
        _ timeline: Timeline,
        _ chosen: Snapshot
    ) throws {
        let newer = timeline.damaged.filter { $0.generation >= chosen.generation }
        let moment = (chosen.facts.time, chosen.generation)
        let passedOver: DamagedSnapshot? =
            switch self {
            case .latest, .before: newer.first
            case .time(_, let time):
                timeline.damaged.first { damaged in
                    guard let known = damaged.facts?.time else {
                        return damaged.generation >= chosen.generation
                    }
                    return known.seconds <= time.seconds && (known, damaged.generation) >= moment
                }
            case .generation, .prefix: nil
            }
        guard let passedOver else { return }
        throw ServiceError(
            .damaged,
            "generation \(passedOver.generation) of '\(timeline.volume)' is damaged "
                + "(\(passedOver.reason)), so it is unclear which snapshot is meant; "
                + "\(timeline.volume)@\(chosen.generation) can be restored by that name")
    }

    /// What is to be said of a choice that the numbers of snapshots contradict; nil for others.
    package func dispute(in timeline: Timeline, _ chosen: Snapshot) -> String? {
        guard case .time(let volume, let time) = self,
            timeline.last(atOrBefore: time)?.isDisputed == true
        else { return nil }
        return "the times of '\(volume)' do not match the order of its generations, as if a clock "
            + "was wrong; \(volume)@\(chosen.generation) was chosen by its time, "
            + Moment.local(chosen.facts.time)
    }

    private func refuseDamaged(
        _ timelines: [Timeline],
        _ matches: (DamagedSnapshot) -> Bool
    ) throws {
        for timeline in timelines {
            if let damaged = timeline.damaged.first(where: matches) {
                throw ServiceError(
                    .damaged,
                    "\(timeline.volume)@\(damaged.generation) is damaged and cannot be restored: "
                        + damaged.reason)
            }
        }
    }
}
