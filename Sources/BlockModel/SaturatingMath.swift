/// Arithmetic on numbers that came from elsewhere: what does not fit becomes the nearest that does.
///
/// A repository may say that a snapshot was taken at the end of time, or that it has 2^64 bytes.
/// Such a number must not stop a command that has to do with other snapshots.
package enum SaturatingMath {
    package static func sum<I: FixedWidthInteger>(_ a: I, _ b: I) -> I {
        let (result, overflows) = a.addingReportingOverflow(b)
        return overflows ? (b < 0 ? .min : .max) : result
    }

    package static func difference<I: FixedWidthInteger>(_ a: I, _ b: I) -> I {
        let (result, overflows) = a.subtractingReportingOverflow(b)
        return overflows ? (b < 0 ? .max : .min) : result
    }

    package static func product<I: FixedWidthInteger>(_ a: I, _ b: I) -> I {
        let (result, overflows) = a.multipliedReportingOverflow(by: b)
        return overflows ? ((a < 0) == (b < 0) ? .max : .min) : result
    }
}

extension Sequence where Element: FixedWidthInteger {
    /// The sum, or the largest number where it would be larger.
    package var saturatingSum: Element { reduce(0) { SaturatingMath.sum($0, $1) } }
}
