/// A moment in UTC: seconds since 1970 and nanoseconds within the second.
package struct Timestamp: Hashable, Sendable, Comparable, BitwiseCopyable {
    package let seconds: Int64
    package let nanoseconds: UInt32

    package init(seconds: Int64, nanoseconds: UInt32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.seconds != right.seconds
            ? left.seconds < right.seconds : left.nanoseconds < right.nanoseconds
    }

    /// RFC 3339 in UTC with whole seconds, such as `2026-11-22T14:00:00Z`.
    package var rfc3339: String {
        let (day, second) = Self.floorDivide(seconds, by: 86400)
        let date = CivilDate(daysSinceEpoch: day)
        return date.iso8601 + "T" + Self.twoDigits(second / 3600) + ":"
            + Self.twoDigits(second / 60 % 60) + ":" + Self.twoDigits(second % 60) + "Z"
    }

    static func twoDigits(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }

    private static func floorDivide(_ value: Int64, by divisor: Int64) -> (Int64, Int64) {
        let remainder = value % divisor
        return remainder >= 0
            ? (value / divisor, remainder) : (value / divisor - 1, remainder + divisor)
    }
}

/// A day of the proleptic Gregorian calendar.
package struct CivilDate: Hashable, Sendable {
    package let year: Int64
    package let month: Int64
    package let day: Int64

    /// Days are counted in eras of 400 years that begin on 1 March, so that the leap day is last.
    package init(daysSinceEpoch: Int64) {
        let days = daysSinceEpoch + 719_468
        let era = (days >= 0 ? days : days - 146_096) / 146_097
        let dayOfEra = days - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    package var iso8601: String {
        let digits = String(year)
        let padded = String(repeating: "0", count: max(0, 4 - digits.count)) + digits
        return padded + "-" + Timestamp.twoDigits(month) + "-" + Timestamp.twoDigits(day)
    }
}
