/// Amounts as people write them.
package enum Quantity {
    /// A hundred years: what is longer is a slip of the pen, and more than clocks of nanoseconds count.
    private static let secondsLimit: Int64 = 36_525 * 86_400

    /// Seconds of a text such as `90s`, `15m`, `12h`, `7d`, `2w` or `0`; nil for any other, and for more
    /// than a hundred years.
    package static func seconds(_ text: String) -> Int64? {
        if text == "0" { return 0 }
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800]
        guard let unit = text.last.flatMap({ units[$0] }),
            text.dropLast().utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let number = Int64(text.dropLast()), number <= secondsLimit / unit
        else { return nil }
        return number * unit
    }

    /// Bytes of a text such as `4096`, `512M` or `2GiB`; nil for any other, and for none.
    package static func byteCount(_ text: String) -> UInt64? {
        let digits = text.prefix { ("0"..."9").contains($0) }
        var unit = text.dropFirst(digits.count).uppercased()
        if unit.hasSuffix("IB") { unit.removeLast(2) } else if unit == "B" { unit = "" }
        let shifts = ["": 0, "K": 10, "M": 20, "G": 30, "T": 40]
        guard let number = UInt64(digits), let shift = shifts[unit],
            case (let value, let overflows) = number.multipliedReportingOverflow(by: 1 << shift),
            !overflows, value > 0
        else { return nil }
        return value
    }
}
