/// Text as services write it: lines of logs, and records of a database.
enum SyntheticText {
    private static let services = [
        "sshd", "systemd", "nginx", "postgres", "cron", "kernel", "dockerd", "named",
    ]
    private static let words = [
        "connection", "request", "started", "finished", "session", "timeout", "accepted", "closed",
        "retrying", "checkpoint", "buffers", "worker", "queue", "upstream", "client", "failed",
        "password", "policy", "cache", "lookup", "volume", "mounted", "device", "reset", "order",
        "customer", "invoice", "shipped", "pending", "address", "street", "payment", "refund",
    ]

    /// Whole lines of the log of service number `service`, at least `byteCount` bytes, in an hour.
    static func log(
        service: Int,
        hour: Int,
        byteCount: Int,
        _ generator: inout SeededGenerator
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(byteCount + 256)
        let name = services[service % services.count]
        var second = 0.0
        let step = 3600.0 * 110 / Double(max(byteCount, 110))
        while bytes.count < byteCount {
            second = min(3599, second + step * 2 * generator.unit())
            let clock = "\(two(hour % 24)):\(two(Int(second) / 60)):\(two(Int(second) % 60))"
            var line = "Nov \(two(1 + hour / 24)) \(clock) host-1 "
            line += "\(name)[\(1000 + generator.hot(below: 30_000))]: "
            switch generator.below(4) {
            case 0:
                line += "Accepted publickey for user\(generator.below(40)) from 10.0."
                line += "\(generator.below(8)).\(generator.below(256)) port "
                line += "\(30_000 + generator.below(30_000)) ssh2: "
                line += hexadecimal(generator.next()) + hexadecimal(generator.next())
            case 1:
                line += "GET /\(word(&generator))/\(word(&generator))?id="
                line += "\(generator.below(1_000_000)) 200 \(generator.below(60_000)) "
                line += "0.\(generator.below(1000)) \"Mozilla/5.0 (X11; Linux x86_64)\""
            case 2:
                line += "\(word(&generator)) \(word(&generator)): \(word(&generator)) "
                line += "id=\(hexadecimal(generator.next())) after \(generator.below(5000)) ms"
            default:
                line += "level=info msg=\"\(word(&generator)) \(word(&generator)) "
                line += "\(word(&generator))\" shard=\(generator.below(64))"
            }
            bytes.append(contentsOf: line.utf8)
            bytes.append(UInt8(ascii: "\n"))
        }
        return bytes
    }

    /// One record of a database table: 100 to 350 bytes.
    static func record(_ generator: inout SeededGenerator) -> [UInt8] {
        let id = generator.below(10_000_000)
        var text = "\(id)|\(word(&generator)).\(word(&generator))@example.org|"
        text += "2026-\(two(1 + generator.below(12)))-\(two(1 + generator.below(28)))|"
        text += "\(generator.below(100_000)).\(two(generator.below(100)))|"
        text += hexadecimal(generator.next()) + "|"
        for _ in 0..<(4 + generator.below(28)) { text += word(&generator) + " " }
        return Array(text.utf8.prefix(350)) + [0]
    }

    /// A page of a database: a header, records, and room left at the end.
    static func databasePage(
        number: Int,
        byteCount: Int,
        _ generator: inout SeededGenerator
    ) -> [UInt8] {
        var page = [UInt8](repeating: 0, count: 24)
        store(UInt64(number) &* 0x1_0001, in: &page, at: 0)
        store(generator.next(), in: &page, at: 8)
        let full = byteCount * (60 + generator.below(38)) / 100
        while true {
            let record = record(&generator)
            if page.count + record.count > full { break }
            page.append(contentsOf: record)
        }
        page.append(contentsOf: repeatElement(0, count: byteCount - page.count))
        return page
    }

    /// Writes a little-endian number.
    static func store<Number: FixedWidthInteger>(
        _ number: Number,
        in bytes: inout [UInt8],
        at offset: Int
    ) {
        var number = number
        for index in 0..<(Number.bitWidth / 8) {
            bytes[offset + index] = UInt8(truncatingIfNeeded: number)
            number >>= 8
        }
    }

    private static func word(_ generator: inout SeededGenerator) -> String {
        words[generator.hot(below: words.count)]
    }

    private static func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

    private static func hexadecimal(_ number: UInt64) -> String { String(number, radix: 16) }
}
