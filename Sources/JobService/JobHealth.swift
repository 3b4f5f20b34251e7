package import BlockModel
package import Configuration

/// Something that is wrong with a job.
package struct Trouble: Hashable, Sendable {
    /// What it is about: the same for as long as it is the same trouble, whatever numbers are in its text.
    package let kind: String
    package let text: String

    package init(_ kind: String, _ text: String) {
        self.kind = kind
        self.text = text
    }

    /// One whose text says what it is about; a number that grows is no news.
    init(of step: String, _ text: String, _ reason: String) {
        self.init("\(step): \(reason.filter { !$0.isNumber })", text)
    }
}

/// Whether a job is well, worked out from what is known of it.
package enum JobHealth {
    /// What is wrong; nothing when the job is well.
    ///
    /// - Parameters:
    ///   - job: what is wanted.
    ///   - record: what is known.
    ///   - tracking: how its tracked volumes stand now, by name.
    ///   - isRunning: whether a run is under way.
    ///   - now: the time, in seconds since 1970.
    /// - Returns: what is wrong.
    package static func troubles(
        of job: Job,
        _ record: JobRecord,
        tracking: [VolumeName: TrackedVolume] = [:],
        isRunning: Bool,
        now: Int64
    ) -> [Trouble] {
        if let problem = record.problem { return [Trouble(of: "record", problem, problem)] }
        var troubles: [Trouble] = []
        if !isRunning, record.isUnderWay == true {
            troubles.append(Trouble("killed", "the last run was killed, or the machine stopped"))
        } else if let error = record.error {
            troubles.append(Trouble(of: "run", "the last run failed: \(error)", error))
        } else if record.lastEnd == nil, !isRunning {
            troubles.append(Trouble("never", "it has never run"))
        }
        for volume in job.volumes {
            let name = volume.name.rawValue
            guard let time = record.volumes[name]?.snapshotTime else {
                if record.lastEnd != nil {
                    troubles.append(Trouble("none \(name)", "\(name) has no snapshot"))
                }
                continue
            }
            guard let limit = job.alarm.maximumAgeSeconds, now - time > limit else { continue }
            troubles.append(
                Trouble(
                    "old \(name)",
                    "the newest snapshot of \(name) is \(duration(now - time)) old; the limit is "
                        + "\(duration(limit))"))
        }
        troubles += job.volumes.flatMap { volume -> [Trouble] in
            let name = volume.name.rawValue
            let stands = tracking[volume.name]?.trouble.map {
                Trouble("tracking \(name)", "\(name): \($0)")
            }
            guard let last = record.volumes[name], let reason = last.fullComparison,
                last.isFullComparisonExpected != true
            else { return [stands].compactMap { $0 } }
            let text = "the last backup of \(name) compared everything: \(reason)"
            return [stands, Trouble(of: "full \(name)", text, reason)].compactMap { $0 }
        }
        for (verb, wanted, step) in [
            ("prune", job.prune != nil, record.prune), ("check", job.check != nil, record.check),
            ("boot test", job.bootTest != nil, record.bootTest),
        ] where wanted && !step.isGood {
            troubles.append(
                Trouble(of: verb, "the last \(verb) failed: \(step.text)", step.text))
        }
        return troubles
    }

    /// Whether a step is to be done now.
    ///
    /// - Parameters:
    ///   - step: when it was done last; one that failed is tried again after an hour, or when it is due.
    ///   - every: seconds between two.
    ///   - now: the time.
    /// - Returns: whether it is due.
    package static func isDue(_ step: JobRecord.Step, every: Int64, now: Int64) -> Bool {
        guard let time = step.time, time <= now else { return true }
        return now - time >= (step.isGood ? every : min(every, 3600))
    }

    /// A time as people say it, such as `3 h` or `2 d 5 h`.
    package static func duration(_ seconds: Int64) -> String {
        switch seconds {
        case ..<120: "\(seconds) s"
        case ..<7200: "\(seconds / 60) min"
        case ..<172_800: "\(seconds / 3600) h"
        default:
            "\(seconds / 86_400) d\(seconds / 3600 % 24 == 0 ? "" : " \(seconds / 3600 % 24) h")"
        }
    }
}
