internal import BlockModel

/// Which snapshots of a volume are kept, in restic's words and meaning.
package struct RetentionPolicy: Hashable, Sendable {
    /// A stretch of the calendar, of which one snapshot is enough.
    package enum Interval: String, CaseIterable, Hashable, Sendable {
        case hour, day, week, month, year

        var adjective: String {
            switch self {
            case .hour: "hourly"
            case .day: "daily"
            case .week: "weekly"
            case .month: "monthly"
            case .year: "yearly"
            }
        }
    }

    /// As many as there are.
    package static let unlimited = Int.max

    /// How many of the newest.
    package var last = 0
    /// For how many intervals, of those that have a snapshot, the newest of each.
    package var counts: [Interval: Int] = [:]
    /// All that are no older than that before the newest.
    package var within: CalendarSpan?
    /// The newest of each interval that is no older than that before the newest snapshot.
    package var withinIntervals: [Interval: CalendarSpan] = [:]
    /// Those that have all tags of one of these sets.
    package var tags: [Set<String>] = []

    package init() {}

    /// Whether it would keep nothing by itself.
    package var isEmpty: Bool {
        last == 0 && counts.values.allSatisfy { $0 == 0 } && within == nil
            && withinIntervals.isEmpty && tags.isEmpty
    }
}

/// A length of time as calendars have it, such as `1y6m`, `30d` or `12h`.
package struct CalendarSpan: Hashable, Sendable, CustomStringConvertible {
    package let years: Int64
    package let months: Int64
    package let days: Int64
    package let hours: Int64

    /// Reads numbers, each with one of the letters y, m, d and h behind it; nil for anything else.
    package init?(_ text: String) {
        var values: [Character: Int64] = [:]
        var digits = ""
        for character in text {
            if character.isASCII, character.isNumber {
                digits.append(character)
                continue
            }
            guard "ymdh".contains(character), values[character] == nil,
                let value = Int64(digits), value <= 100_000
            else { return nil }
            values[character] = value
            digits = ""
        }
        guard digits.isEmpty, !values.isEmpty else { return nil }
        years = values["y"] ?? 0
        months = values["m"] ?? 0
        days = values["d"] ?? 0
        hours = values["h"] ?? 0
    }

    package var description: String {
        [(years, "y"), (months, "m"), (days, "d"), (hours, "h")].filter { $0.0 > 0 }
            .map { "\($0.0)\($0.1)" }.joined()
    }
}

/// The calendar of one time zone.
package struct ZoneCalendar {
    /// Seconds that local time is ahead of UTC, at a moment of seconds since 1970.
    private let offset: (Int64) -> Int64

    package init(offset: @escaping (Int64) -> Int64) { self.offset = offset }

    /// What tells the intervals apart: equal for two moments in the same one only.
    func key(of interval: RetentionPolicy.Interval, at time: Timestamp) -> [Int64] {
        let ahead = offset(time.seconds)
        let local = SaturatingMath.sum(time.seconds, ahead)
        let day = Self.floor(local, 86400)
        let date = CivilDate(daysSinceEpoch: day)
        switch interval {
        // When clocks are set back, an hour comes twice.
        case .hour: return [Self.floor(local, 3600), ahead]
        case .day: return [day]
        // The first day of 1970 was a Thursday.
        case .week: return [Self.floor(day + 3, 7)]
        case .month: return [date.year, date.month]
        case .year: return [date.year]
        }
    }

    /// The moment that lies so long before; a day that the month lacks is one of the next month.
    func moment(_ span: CalendarSpan, before time: Timestamp) -> Timestamp {
        let ahead = offset(time.seconds)
        let local = SaturatingMath.sum(time.seconds, ahead)
        let day = Self.floor(local, 86400)
        let date = CivilDate(daysSinceEpoch: day)
        // Years are fewer than 2^39, so nothing overflows but the seconds.
        let month = date.year * 12 + date.month - 1 - span.years * 12 - span.months
        let (year, monthOfYear) = (Self.floor(month, 12), month - Self.floor(month, 12) * 12 + 1)
        let newDay = Self.days(year, monthOfYear) + date.day - 1 - span.days
        let secondOfDay = local % 86400 + (local % 86400 < 0 ? 86400 : 0)
        let seconds = SaturatingMath.sum(
            SaturatingMath.product(newDay, 86400), secondOfDay - span.hours * 3600 - ahead)
        return Timestamp(seconds: seconds, nanoseconds: time.nanoseconds)
    }

    /// Days from 1970 to the first of a month.
    private static func days(_ year: Int64, _ month: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = floor(shifted, 400)
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
            - 719_468
    }

    private static func floor(_ value: Int64, _ divisor: Int64) -> Int64 {
        let quotient = value / divisor
        return value % divisor < 0 ? quotient - 1 : quotient
    }
}
