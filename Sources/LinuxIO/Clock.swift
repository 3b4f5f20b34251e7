internal import CShims
internal import Glibc

/// The system's clocks and its local calendar.
package enum SystemClock {
    /// Seconds since 1970 and nanoseconds within the second.
    package static func now() -> (seconds: Int64, nanoseconds: UInt32) {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return (Int64(time.tv_sec), UInt32(time.tv_nsec))
    }

    package static func sleep(milliseconds: UInt32) { usleep(milliseconds * 1000) }

    /// Nanoseconds of a clock that only goes forward.
    package static func monotonicNanoseconds() -> UInt64 { nanoseconds(of: CLOCK_MONOTONIC) }

    /// Nanoseconds of a clock that only goes forward, also while the machine sleeps.
    package static func bootTimeNanoseconds() -> UInt64 { nanoseconds(of: CLOCK_BOOTTIME) }

    /// Counted from far before its beginning, where it can stand when another clock is feigned, as by
    /// libfaketime.
    private static func nanoseconds(of clock: clockid_t) -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(clock, &time)
        let count = Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
        return UInt64(bitPattern: count &+ (1 << 62))
    }

    /// `2026-11-22 14:00:00` in the local time zone.
    package static func localText(ofSeconds seconds: Int64) -> String {
        var buffer = [CChar](repeating: 0, count: 64)
        let count = unsafe varve_format_local_time(seconds, &buffer, buffer.count)
        return String(decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Seconds that local time is ahead of UTC at a moment.
    package static func secondsAheadOfUTC(atSeconds seconds: Int64) -> Int64 {
        varve_utc_offset(seconds)
    }

    /// Makes `zone`, such as `Europe/Berlin`, the zone of local time; false when there is none of that name.
    ///
    /// To be called before any other thread runs.
    package static func useZone(_ zone: String) -> Bool {
        guard knowsZone(zone) else { return false }
        unsafe setenv("TZ", zone == "UTC" ? "UTC0" : ":/usr/share/zoneinfo/\(zone)", 1)
        tzset()
        return true
    }

    /// What the environment says of the zone of local time; nil when it says nothing.
    package static var zoneSetting: String? {
        guard let value = unsafe getenv("TZ") else { return nil }
        return unsafe String(cString: value)
    }

    /// Takes back what ``useZone(_:)`` did.
    package static func restoreZone(_ setting: String?) {
        if let setting { unsafe setenv("TZ", setting, 1) } else { unsafe unsetenv("TZ") }
        tzset()
    }

    /// Whether the system has a time zone of that name.
    package static func knowsZone(_ zone: String) -> Bool {
        let isName = zone.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0 & 0xDF) || $0 == 0x2F
                || $0 == 0x5F || $0 == 0x2D || $0 == 0x2B
        }
        let isKnown = unsafe access("/usr/share/zoneinfo/\(zone)", R_OK) == 0
        return zone == "UTC" || isName && !zone.isEmpty && isKnown
    }

    /// Seconds since 1970 of a calendar date and time, local or in UTC.
    package static func seconds(
        ofDate date: (year: Int32, month: Int32, day: Int32),
        time: (hour: Int32, minute: Int32, second: Int32),
        isUTC: Bool
    ) -> Int64 {
        varve_seconds_of(
            date.year, date.month, date.day, time.hour, time.minute, time.second, isUTC ? 1 : 0)
    }
}
