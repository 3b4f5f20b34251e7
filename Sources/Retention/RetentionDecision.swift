package import BlockModel

/// What retention knows of a snapshot.
package struct RetentionCandidate: Hashable, Sendable {
    package let id: SnapshotID
    package let generation: Generation
    package let time: Timestamp
    package let tags: Set<String>
    /// Why it is kept whatever the policy says; nil when nothing does.
    package let protection: String?
    /// Why it takes no place that another one could have, and is kept; nil for one that fits in.
    package let misfit: String?
    /// Whether it was seen to boot.
    package let isProved: Bool

    package init(
        id: SnapshotID,
        generation: Generation,
        time: Timestamp,
        tags: Set<String> = [],
        protection: String? = nil,
        misfit: String? = nil,
        isProved: Bool = false
    ) {
        self.id = id
        self.generation = generation
        self.time = time
        self.tags = tags
        self.protection = protection
        self.misfit = misfit
        self.isProved = isProved
    }
}

/// Decides which snapshots of one volume are kept, and why; a pure function of its arguments.
package struct RetentionDecision: Sendable {
    /// Clocks of two machines may differ by that much.
    private static let toleranceSeconds: Int64 = 900

    /// Why each snapshot is kept; no reason means that it is to be forgotten.
    package let reasons: [SnapshotID: [String]]

    package init(
        _ policy: RetentionPolicy,
        _ candidates: [RetentionCandidate],
        calendar: ZoneCalendar,
        now: Timestamp
    ) {
        // The newest comes first, by its time, as people see it.
        let ordered = candidates.sorted {
            ($0.time, $0.generation, $0.id) > ($1.time, $1.generation, $1.id)
        }
        let limit = Timestamp(
            seconds: SaturatingMath.sum(now.seconds, Self.toleranceSeconds))
        let past = ordered.filter { $0.time <= limit && $0.misfit == nil }
        var reasons: [SnapshotID: [String]] = [:]
        func keep(_ candidate: RetentionCandidate, _ reason: String) {
            reasons[candidate.id, default: []].append(reason)
        }
        for candidate in ordered {
            if let protection = candidate.protection { keep(candidate, protection) }
            // A wrong clock, or somebody who set it, must not push out what is right.
            if let misfit = candidate.misfit { keep(candidate, misfit) }
            if candidate.time > limit { keep(candidate, "its time is in the future") }
        }
        // The next capture starts from it.
        if let tip = candidates.max(by: { ($0.generation, $1.id) < ($1.generation, $0.id) }) {
            keep(tip, "the newest")
        }
        var rules = Self.rules(of: policy, calendar, newest: past.first?.time ?? now)
        for (position, candidate) in past.enumerated() {
            for set in policy.tags where set.isSubset(of: candidate.tags) {
                keep(candidate, set.isEmpty ? "tag" : "tag \(set.sorted().joined(separator: ","))")
            }
            for index in rules.indices {
                let isOldest = position == past.count - 1
                if let reason = rules[index].reason(to: candidate, isOldest: isOldest) {
                    keep(candidate, reason)
                }
            }
        }
        if !past.contains(where: { $0.isProved && reasons[$0.id] != nil }),
            let proved = past.first(where: \.isProved)
        {
            keep(proved, "the newest one proved to boot")
        }
        self.reasons = reasons
    }

    /// In the order in which reasons are shown: what is within a time first.
    private static func rules(
        of policy: RetentionPolicy,
        _ calendar: ZoneCalendar,
        newest: Timestamp
    ) -> [Rule] {
        var rules: [Rule] = []
        if let span = policy.within {
            rules.append(
                Rule(
                    name: "within \(span)", remaining: nil,
                    after: calendar.moment(span, before: newest)
                ) { _ in nil })
        }
        for interval in RetentionPolicy.Interval.allCases {
            guard let span = policy.withinIntervals[interval] else { continue }
            rules.append(
                Rule(
                    name: "\(interval.adjective) within \(span)", remaining: nil,
                    after: calendar.moment(span, before: newest)
                ) { calendar.key(of: interval, at: $0) })
        }
        rules.append(Rule(name: "last", remaining: policy.last, after: nil) { _ in nil })
        for interval in RetentionPolicy.Interval.allCases {
            rules.append(
                Rule(
                    name: interval.adjective, remaining: policy.counts[interval] ?? 0, after: nil
                ) { calendar.key(of: interval, at: $0) })
        }
        return rules
    }
}

/// Takes the first snapshot of each interval, as long as it may take more.
private struct Rule {
    let name: String
    /// How many more; nil where only the time counts.
    var remaining: Int?
    /// What is older is none of its business.
    let after: Timestamp?
    /// Tells intervals apart; nil where each snapshot counts for itself.
    let key: (Timestamp) -> [Int64]?
    private var lastKey: [Int64]?

    init(
        name: String,
        remaining: Int?,
        after: Timestamp?,
        key: @escaping (Timestamp) -> [Int64]?
    ) {
        self.name = name
        self.remaining = remaining
        self.after = after
        self.key = key
    }

    mutating func reason(to candidate: RetentionCandidate, isOldest: Bool) -> String? {
        if let after, candidate.time <= after { return nil }
        if let remaining, remaining == 0 { return nil }
        let key = key(candidate.time)
        let isNew = key == nil || key != lastKey
        // While it may take more, the oldest of all makes the history as long as it can be.
        guard isNew || isOldest else { return nil }
        lastKey = key
        if let count = remaining, count < RetentionPolicy.unlimited { remaining = count - 1 }
        return isNew ? name : "oldest \(name)"
    }
}
