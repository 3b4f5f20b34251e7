import BlockModel
import Glibc
import SnapshotService
import Testing

struct MomentTests {
    @Test(
        "A moment with a zone is read to the second",
        arguments: [
            ("2026-11-22T14:00Z", 1_795_356_000), ("2026-11-22T14:00:01Z", 1_795_356_001),
            ("2026-11-22T15:00+01:00", 1_795_356_000),
            ("2026-11-22T08:30:00-05:30", 1_795_356_000),
            ("2026-11-23T04:00+14:00", 1_795_356_000), ("1970-01-01T00:00Z", 0),
            ("1970-01-01T00:00+01:00", -3600), ("2024-02-29T23:59:59Z", 1_709_251_199),
            ("2026-11-22T14:00+00:00", 1_795_356_000), ("2026-11-22T14:00-00:00", 1_795_356_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799), ("2026-11-22Z", 1_795_391_999),
        ] as [(String, Int64)])
    func withZone(text: String, seconds: Int64) {
        #expect(Moment.parse(text) == Timestamp(seconds: seconds))
    }

    @Test(
        "A moment without a zone is local time",
        arguments: [
            ("2026-11-22T14:00", 22, 14, 0, 0), ("2026-11-22T14:00:59", 22, 14, 0, 59),
            ("2026-11-01T00:00", 1, 0, 0, 0), ("2026-11-22 14:00:59", 22, 14, 0, 59),
        ] as [(String, Int32, Int32, Int32, Int32)])
    func local(text: String, day: Int32, hour: Int32, minute: Int32, second: Int32) {
        #expect(Moment.parse(text) == Self.local(day, hour, minute, second))
    }

    @Test("A date alone is the end of that local day")
    func dateAlone() {
        #expect(Moment.parse("2026-11-22") == Self.local(22, 23, 59, 59))
    }

    private static func local(
        _ day: Int32,
        _ hour: Int32,
        _ minute: Int32,
        _ second: Int32
    ) -> Timestamp {
        var fields = tm()
        fields.tm_year = 126
        fields.tm_mon = 10
        fields.tm_mday = day
        fields.tm_hour = hour
        fields.tm_min = minute
        fields.tm_sec = second
        fields.tm_isdst = -1
        return Timestamp(seconds: Int64(mktime(&fields)))
    }

    @Test(
        "Anything else is no moment",
        arguments: [
            "", "T", "Z", "now", "latest", "7", "2026", "2026-11", "2026-11-22T",
            "2026-11-22  14:00", "2026-11-22 T14:00", "2026-11-22 ",
            "2026-11-22T14", "2026-11-22T14:00:00.5Z", "2026-11-22T24:00", "2026-11-22T14:60",
            "2026-11-22T14:00:61", "2026-11-22T14:00:00:00", "2026-13-01T00:00",
            "2026-00-01T00:00", "2026-01-00T00:00", "2026-01-32T00:00", "1969-12-31T00:00",
            "10000-01-01T00:00", "2026-11-22T14:00ZZ", "2026-11-22T14:00+1:00:00",
            "2026-11-22T14:00+15:00", "2026-11-22T14:00+01:60", "2026-11-22+01:00",
            "2026-11-22T14:00T15:00", "2026-11-22t14:00z", "2026/11/22T14:00",
            "99999999999-01-01T00:00", "２０２６-11-22T14:00",
        ])
    func noMoment(text: String) {
        #expect(Moment.parse(text) == nil)
    }

    @Test(
        "A day that its month does not have is no moment",
        arguments: ["2026-02-29T00:00Z", "2026-02-30T00:00Z", "2026-04-31T00:00Z"])
    func missingDay(text: String) {
        #expect(Moment.parse(text) == nil)
    }

    @Test(
        "Signs do not belong in the numbers of a moment",
        arguments: ["2026-+1-22T14:00Z", "2026-11-22T-0:00Z", "2026-11-22T+4:+0Z"])
    func signs(text: String) {
        #expect(Moment.parse(text) == nil)
    }
}
