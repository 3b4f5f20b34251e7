package import BlockModel
internal import LinuxIO

/// The clock and the calendar of this machine.
package enum Moment {
    package static func now() -> Timestamp {
        let time = SystemClock.now()
        return Timestamp(seconds: time.seconds, nanoseconds: time.nanoseconds)
    }

    /// The time when this process began to ask, and what has passed since then: a clock that nobody
    /// sets, and that goes on while the machine sleeps.
    package static func steady() -> Timestamp {
        let origin = origin
        let passed = SystemClock.bootTimeNanoseconds() - origin.bootTime
        return Timestamp(seconds: origin.start.seconds + Int64(passed / 1_000_000_000))
    }

    private static let origin = (
        start: now(), bootTime: SystemClock.bootTimeNanoseconds()
    )

    /// Nanoseconds of a clock that only goes forward.
    package static func monotonicNanoseconds() -> UInt64 { SystemClock.monotonicNanoseconds() }

    /// Makes days begin where they do in a time zone, such as `Europe/Berlin`.
    ///
    /// - Throws: ``ServiceError`` of kind `usage` where this system does not have it.
    package static func useZone(_ zone: String) throws {
        guard SystemClock.useZone(zone) else {
            throw ServiceError(
                .usage, "this system has no time zone '\(zone)'; use one such as Europe/Berlin")
        }
    }

    /// `2026-11-22 14:00:00` in the local time zone.
    package static func local(_ timestamp: Timestamp) -> String {
        let text = SystemClock.localText(ofSeconds: timestamp.seconds)
        // The C library knows no years beyond 32 bits.
        return text.isEmpty ? timestamp.rfc3339 : text
    }

    /// Reads `YYYY-MM-DD[THH:MM[:SS]][Z|±HH:MM]`, with a space for the `T` too: local time where
    /// no zone is given, the end of the day where only a date is; nil for anything else.
    package static func parse(_ text: String) -> Timestamp? {
        var rest = Substring(text)
        var offsetSeconds: Int?
        if rest.hasSuffix("Z") {
            rest.removeLast()
            offsetSeconds = 0
        } else if rest.contains(where: isTimeMark), rest.count > 6,
            let sign = rest.dropLast(5).last,
            sign == "+" || sign == "-"
        {
            let zone = rest.suffix(5)
            guard let minutes = clock(zone) else { return nil }
            offsetSeconds = (sign == "-" ? -1 : 1) * minutes * 60
            rest = rest.dropLast(6)
        }
        let halves = rest.split(omittingEmptySubsequences: false, whereSeparator: isTimeMark)
        guard halves.count <= 2, let date = halves.first else { return nil }
        let days = date.split(separator: "-", omittingEmptySubsequences: false).map(number)
        guard days.count == 3, let year = days[0], let month = days[1], let day = days[2],
            (1...12).contains(month), (1...31).contains(day), (1970...9999).contains(year)
        else { return nil }
        var time: (hour: Int32, minute: Int32, second: Int32) = (23, 59, 59)
        if halves.count == 2 {
            guard let given = timeOfDay(halves[1]) else { return nil }
            time = given
        }
        guard day <= daysInMonth(month, year) else { return nil }
        let seconds = SystemClock.seconds(
            ofDate: (year, month, day), time: time, isUTC: offsetSeconds != nil)
        return Timestamp(seconds: seconds - Int64(offsetSeconds ?? 0))
    }

    private static func isTimeMark(_ character: Character) -> Bool {
        character == "T" || character == " "
    }

    private static func daysInMonth(_ month: Int32, _ year: Int32) -> Int32 {
        switch month {
        case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// A number of digits alone.
    private static func number(_ text: Substring) -> Int32? {
        text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            ? Int32(text) : nil
    }

    /// `HH:MM` or `HH:MM:SS`.
    private static func timeOfDay(
        _ text: Substring
    ) -> (hour: Int32, minute: Int32, second: Int32)? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(number)
        guard (2...3).contains(parts.count), let hour = parts[0], let minute = parts[1],
            (0...23).contains(hour), (0...59).contains(minute)
        else { return nil }
        guard parts.count == 3 else { return (hour, minute, 0) }
        guard let second = parts[2], (0...60).contains(second) else { return nil }
        return (hour, minute, second)
    }

    /// `HH:MM` in minutes.
    private static func clock(_ text: Substring) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map {
            number($0).map(Int.init)
        }
        guard parts.count == 2, let hours = parts[0], let minutes = parts[1],
            (0...14).contains(hours), (0...59).contains(minutes)
        else { return nil }
        return hours * 60 + minutes
    }
}
