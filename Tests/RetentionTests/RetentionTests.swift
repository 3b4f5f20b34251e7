import BlockModel
import Retention
import TestKit
import Testing

/// What is kept, against restic's rules and against a model that counts by hand.
@Suite struct RetentionTests {
    private static var utc: ZoneCalendar { ZoneCalendar { _ in 0 } }
    /// 2026-01-01T00:00:00Z.
    private static let start: Int64 = 1_767_225_600

    private static func candidate(
        _ generation: UInt64,
        _ seconds: Int64,
        tags: Set<String> = [],
        protection: String? = nil,
        misfit: String? = nil,
        isProved: Bool = false
    ) -> RetentionCandidate {
        RetentionCandidate(
            id: SnapshotID(Digest(words: generation, 1, 2, 3)), generation: generation,
            time: Timestamp(seconds: seconds), tags: tags, protection: protection,
            misfit: misfit, isProved: isProved)
    }

    /// One an hour, the first of them 1.
    private static func hours(_ count: Int) -> [RetentionCandidate] {
        (0..<count).map { candidate(UInt64($0 + 1), start + Int64($0) * 3600) }
    }

    private static func kept(
        _ policy: RetentionPolicy,
        _ candidates: [RetentionCandidate],
        now: Int64? = nil,
        calendar: ZoneCalendar = utc
    ) -> [UInt64: [String]] {
        let newest = candidates.map(\.time.seconds).max() ?? start
        let decision = RetentionDecision(
            policy, candidates, calendar: calendar, now: Timestamp(seconds: now ?? newest))
        var kept: [UInt64: [String]] = [:]
        for candidate in candidates { kept[candidate.generation] = decision.reasons[candidate.id] }
        return kept
    }

    private static func policy(_ change: (inout RetentionPolicy) -> Void) -> RetentionPolicy {
        var policy = RetentionPolicy()
        change(&policy)
        return policy
    }

    @Test("Each rule keeps the newest of its intervals, and says so")
    func rules() {
        let snapshots = Self.hours(24 * 70)
        #expect(
            Self.kept(Self.policy { $0.last = 3 }, snapshots).keys.sorted()
                == [1678, 1679, 1680])
        let daily = Self.kept(Self.policy { $0.counts = [.day: 3] }, snapshots)
        #expect(daily.keys.sorted() == [1632, 1656, 1680])
        #expect(daily[1656] == ["daily"])
        let monthly = Self.kept(Self.policy { $0.counts = [.month: 12] }, snapshots)
        // The ends of January and February, the newest, and the oldest while there is room.
        #expect(monthly.keys.sorted() == [1, 744, 1416, 1680])
        #expect(monthly[1] == ["oldest monthly"])
        // Weeks begin on Monday: 2026-01-05 is one, so the 96th hour ends a week.
        let weekly = Self.kept(Self.policy { $0.counts = [.week: 100] }, snapshots)
        #expect(weekly.keys.sorted().prefix(3) == [1, 96, 96 + 168])
        let all = Self.kept(
            Self.policy { $0.counts = [.hour: RetentionPolicy.unlimited] }, snapshots)
        #expect(all.count == snapshots.count)
    }

    @Test("Rules join, and each kept snapshot has all its reasons")
    func joined() {
        let kept = Self.kept(
            Self.policy {
                $0.last = 1
                $0.counts = [.hour: 48, .day: 30, .month: 12]
            }, Self.hours(24 * 365))
        #expect(kept[8760] == ["the newest", "last", "hourly", "daily", "monthly"])
        // 48 hours, of which three end a day; 27 days more; 11 months more, of which one is a day too.
        let days = Set((0..<30).map { UInt64(8760 - 24 * $0) })
        let hours = Set((0..<48).map { UInt64(8760 - $0) })
        var expected = days.union(hours)
        var month: Int64 = 0
        for length in [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as [Int64] {
            month += length
            expected.insert(UInt64(month * 24))
        }
        #expect(Set(kept.keys) == expected)
    }

    @Test("Within a time of the newest all are kept, or one for each interval")
    func within() throws {
        let snapshots = Self.hours(24 * 40)
        let all = Self.kept(Self.policy { $0.within = CalendarSpan("1d") }, snapshots)
        #expect(all.keys.sorted() == Array(937...960))
        let daily = Self.kept(
            Self.policy { $0.withinIntervals = [.day: CalendarSpan("1m")!] }, snapshots)
        // From 9 February 23:00 back to 9 January 23:00, which is not within.
        #expect(daily.count == 31)
        #expect(daily.keys.min() == 10 * 24)
        for text in ["", "d", "1", "1d2", "1d1d", "1w", "-1d", "1 d", "9999999d"] {
            #expect(CalendarSpan(text) == nil, "\(text)")
        }
        #expect(try #require(CalendarSpan("2y5m7d3h")).description == "2y5m7d3h")
    }

    @Test("Snapshots from the future push nothing out, and are kept")
    func future() {
        var snapshots = Self.hours(100)
        let now = Self.start + 99 * 3600
        for number in 0..<50 {
            snapshots.append(
                Self.candidate(UInt64(101 + number), now + 86400 * Int64(number + 1)))
        }
        snapshots.append(Self.candidate(151, now))
        let kept = Self.kept(
            Self.policy {
                $0.counts = [.hour: 10]
                $0.within = CalendarSpan("2h")
            }, snapshots, now: now)
        #expect(kept.count == 10 + 50 + 1)
        #expect(kept[120] == ["its time is in the future"])
        #expect(kept[91] != nil)
        #expect(kept[100] == ["within 2h"])
        #expect(kept[151] == ["the newest", "within 2h", "hourly"])
    }

    @Test("What does not fit in is kept, and takes nobody's place")
    func misfits() {
        var snapshots = Self.hours(24)
        for number in 0..<24 as Range<Int64> {
            snapshots.append(
                Self.candidate(
                    UInt64(25 + number), Self.start + number * 3600 + 1, misfit: "out of time",
                    isProved: true))
        }
        snapshots[3] = Self.candidate(4, snapshots[3].time.seconds, isProved: true)
        for policy in [
            Self.policy { $0.counts = [.hour: 24] }, Self.policy { $0.last = 24 },
            Self.policy { $0.within = CalendarSpan("24h") },
        ] {
            let kept = Self.kept(policy, snapshots)
            #expect(kept.count == 48)
            #expect(kept[30] == ["out of time"])
            #expect(kept[1]?.isEmpty == false)
        }
        // Nor the place of the one that is proved to boot.
        let one = Self.kept(Self.policy { $0.last = 1 }, snapshots)
        #expect(one[4] == ["the newest one proved to boot"])
    }

    @Test(
        "Times at the ends of what can be stored end nothing",
        arguments: [Int64.min, .min + 1, -1, 0, .max - 1, .max], [Int64(-86_400), 0, 86_400])
    func extremes(seconds: Int64, ahead: Int64) throws {
        let calendar = ZoneCalendar { _ in ahead }
        let policy = Self.policy { policy in
            policy.last = 1
            for interval in RetentionPolicy.Interval.allCases {
                policy.counts[interval] = 2
                policy.withinIntervals[interval] = CalendarSpan("100000y100000m100000d100000h")
            }
            policy.within = CalendarSpan("100000y")
        }
        for now in [Int64.min, 0, Self.start, .max] {
            let kept = Self.kept(
                policy, Self.hours(3) + [Self.candidate(4, seconds), Self.candidate(5, seconds)],
                now: now, calendar: calendar)
            #expect(kept[5] != nil)
            _ = Self.kept(policy, [Self.candidate(1, seconds)], now: now, calendar: calendar)
        }
    }

    @Test("What is protected, tagged, newest, or alone proved to boot is kept")
    func exceptions() {
        var snapshots = Self.hours(50)
        snapshots[4] = Self.candidate(5, snapshots[4].time.seconds, protection: "protected")
        snapshots[5] = Self.candidate(6, snapshots[5].time.seconds, tags: ["a", "b"])
        snapshots[6] = Self.candidate(7, snapshots[6].time.seconds, tags: ["a"])
        snapshots[7] = Self.candidate(8, snapshots[7].time.seconds, isProved: true)
        snapshots[8] = Self.candidate(9, snapshots[8].time.seconds, isProved: true)
        // The newest by generation, whatever its time.
        snapshots.append(Self.candidate(51, Self.start - 86400 * 400))
        let kept = Self.kept(
            Self.policy {
                $0.last = 1
                $0.tags = [["a", "b"]]
            }, snapshots)
        #expect(
            kept == [
                5: ["protected"], 6: ["tag a,b"], 9: ["the newest one proved to boot"],
                50: ["last"], 51: ["the newest"],
            ])
    }

    @Test("Buckets follow the zone, and an hour that comes twice is two")
    func zones() {
        // Clocks go back an hour at 01:00 UTC on 25 October 2026, as in Berlin.
        let change: Int64 = 1_792_890_000
        let berlin = ZoneCalendar { $0 < change ? 7200 : 3600 }
        let snapshots = (0..<6).map {
            Self.candidate(UInt64($0 + 1), change - 2 * 3600 + Int64($0) * 3600)
        }
        let hourly = Self.kept(
            Self.policy { $0.counts = [.hour: 100] }, snapshots, calendar: berlin)
        #expect(hourly.count == 6)
        // 23:30 UTC is half past one of the next day there.
        let evening = [
            Self.candidate(1, change - 86400 - 5400), Self.candidate(2, change - 5400),
            Self.candidate(3, change - 600),
        ]
        let days = Self.kept(
            Self.policy { $0.counts = [.day: 9] }, evening, calendar: berlin)
        #expect(days.keys.sorted() == [1, 3])
    }

    @Test("Whatever the policy, kept snapshots stay kept when time passes without new ones")
    func idempotent() {
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<200 {
            var snapshots: [RetentionCandidate] = []
            var time = Self.start
            for number in 0..<Int.random(in: 1...200, using: &generator) {
                time += Int64.random(in: 60...200_000, using: &generator)
                snapshots.append(Self.candidate(UInt64(number + 1), time))
            }
            let policy = Self.policy { policy in
                policy.last = Int.random(in: 0...3, using: &generator)
                for interval in RetentionPolicy.Interval.allCases {
                    policy.counts[interval] = Int.random(in: 0...6, using: &generator)
                }
            }
            let kept = Self.kept(policy, snapshots)
            let left = snapshots.filter { kept[$0.generation] != nil }
            #expect(left.count >= 1)
            let again = Self.kept(policy, left, now: time + 1_000_000)
            #expect(Set(again.keys) == Set(kept.keys))
            // As many as the largest rule asks for, where there are as many.
            #expect(left.count >= min(snapshots.count, policy.last))
        }
    }
}
