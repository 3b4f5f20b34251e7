import BlockModel
import Glibc
import TestKit
import Testing

struct TimestampTests {
    @Test(
        "A moment is written as RFC 3339 in UTC, before 1970 and around leap days too",
        arguments: [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (-86_400, "1969-12-31T00:00:00Z"),
            (-86_401, "1969-12-30T23:59:59Z"),
            (946_684_799, "1999-12-31T23:59:59Z"),
            (951_827_445, "2000-02-29T12:30:45Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (-2_203_891_201, "1900-02-28T23:59:59Z"),
            (-2_203_891_200, "1900-03-01T00:00:00Z"),
            (-2_077_747_200, "1904-02-29T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_795_356_000, "2026-11-22T14:00:00Z"),
            (-11_670_998_400, "1600-02-29T00:00:00Z"),
            (-62_135_596_800, "0001-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] as [(Int64, String)]
    )
    func rfc3339(seconds: Int64, text: String) {
        #expect(Timestamp(seconds: seconds, nanoseconds: 999_999_999).rfc3339 == text)
    }

    @Test("Days fall on the same dates as in the calendar of the C library", arguments: 1...8)
    func civilDates(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<2000 {
            let day = Int64.random(in: -719_162...2_932_896, using: &generator)
            var time = time_t(day * 86_400)
            var fields = tm()
            gmtime_r(&time, &fields)
            let date = CivilDate(daysSinceEpoch: day)
            let expected = [
                Int64(fields.tm_year) + 1900, Int64(fields.tm_mon) + 1, Int64(fields.tm_mday),
            ]
            #expect([date.year, date.month, date.day] == expected, "day \(day), seed \(seed)")
        }
    }

    @Test("No number of seconds is too small or too large to be written")
    func extremes() {
        #expect(Timestamp(seconds: .max).rfc3339 == "292277026596-12-04T15:30:07Z")
        #expect(Timestamp(seconds: .min).rfc3339.hasSuffix("-01-27T08:29:52Z"))
    }

    @Test("Moments are ordered by their seconds, then by their nanoseconds")
    func order() {
        let inOrder = [
            Timestamp(seconds: -2, nanoseconds: 5), Timestamp(seconds: -1),
            Timestamp(seconds: -1, nanoseconds: 1), Timestamp(seconds: 0),
            Timestamp(seconds: 0, nanoseconds: 999_999_999), Timestamp(seconds: 1),
        ]
        #expect(inOrder.reversed().sorted() == inOrder)
    }
}
