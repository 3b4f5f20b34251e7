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
    package static func monotonicNanoseconds() -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// `2026-11-22 14:00:00` in the local time zone.
    package static func localText(ofSeconds seconds: Int64) -> String {
        var buffer = [CChar](repeating: 0, count: 64)
        let count = unsafe varve_format_local_time(seconds, &buffer, buffer.count)
        return String(decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
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
