import FoundationEssentials
import Glibc

/// One line of the result: a piece of work, what it cost, and what it is held against.
struct ResultRow: Encodable {
    enum Verdict: String, Encodable {
        case pass = "PASS"
        case miss = "MISS"
        /// No target was set.
        case none = "-"
    }

    var messageType = "row"
    let row: String
    let work: String
    let varve: String
    var reference = "-"
    var ratio: Double?
    var target = "-"
    var verdict = Verdict.none
    /// What a reader must know to trust the figure.
    var note = ""
    /// Every single measurement, by program.
    var samples: [String: [Measurement]] = [:]
}

/// Collects the rows, tells of progress, and prints the result.
final class Report {
    private let isJSON: Bool
    private(set) var rows: [ResultRow] = []

    init(isJSON: Bool) { self.isJSON = isJSON }

    func add(_ row: ResultRow) {
        rows.append(row)
        if isJSON { write(row) }
        let ratio = row.ratio.map { " = \(Format.number($0, 2))" } ?? ""
        progress(
            "\(row.row): \(row.work): \(row.varve), \(row.reference)\(ratio), "
                + "target \(row.target): \(row.verdict.rawValue)")
    }

    /// A row whose ratio must be at least `bound`.
    func add(_ row: ResultRow, atLeast bound: Double) {
        var row = row
        row.target = ">= \(Format.number(bound, 2))"
        if let ratio = row.ratio { row.verdict = ratio >= bound ? .pass : .miss }
        add(row)
    }

    /// A row whose ratio must be at most `bound`.
    func add(_ row: ResultRow, atMost bound: Double) {
        var row = row
        row.target = "<= \(Format.number(bound, 2))"
        if let ratio = row.ratio { row.verdict = ratio <= bound ? .pass : .miss }
        add(row)
    }

    /// A row whose value must not exceed a number of bytes.
    func add(_ row: ResultRow, byteCount: UInt64, limit: UInt64) {
        var row = row
        row.target = "<= \(Format.bytes(limit))"
        row.verdict = byteCount <= limit ? .pass : .miss
        add(row)
    }

    /// Says on standard error what is going on.
    func progress(_ text: String) {
        Console.write("varve-benchmark: \(text)\n", to: STDERR_FILENO)
    }

    /// A message that only scripts get.
    func writeDetail(_ value: some Encodable) {
        if isJSON { write(value) }
    }

    func write(_ value: some Encodable) {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else { return }
        Console.write(String(decoding: data, as: UTF8.self) + "\n", to: STDOUT_FILENO)
    }

    /// Prints the table of all rows, and the notes below it.
    func finish(_ machine: MachineFacts, _ workload: [String]) {
        guard !isJSON else { return }
        let head = [machine.text] + workload + ["load at the end \(MachineLoad.averages())"]
        var cells = [["row", "work", "varve", "reference", "ratio", "target", "others", "result"]]
        var notes: [String] = []
        for row in rows {
            let ratio = row.ratio.map { Format.number($0, 2) } ?? "-"
            let others = row.samples.values.joined().map(\.otherBusyCores)
            var verdict = row.verdict.rawValue
            if !row.note.isEmpty {
                notes.append(row.note)
                verdict += " [\(notes.count)]"
            }
            cells.append([
                row.row, row.work, row.varve, row.reference, ratio, row.target,
                others.isEmpty ? "-" : Format.number(Statistics.median(others), 1), verdict,
            ])
        }
        let tail = notes.enumerated().map { "[\($0 + 1)] \($1)" } + [Self.legend]
        let text = (head + ["", Self.table(cells), ""] + tail).joined(separator: "\n")
        Console.write(text + "\n", to: STDOUT_FILENO)
    }

    private static let legend = """

        others: cores that other programs kept busy, median over the runs of the row.
        GB are 10^9 bytes; MiB and KiB powers of two. Ratios of times are medians of the ratios \
        of pairs.
        """

    private static func table(_ rows: [[String]]) -> String {
        guard let first = rows.first else { return "" }
        let widths = first.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = row.indices.map { column in
                let fill = String(repeating: " ", count: widths[column] - row[column].count)
                return column == 4 || column == 6 ? fill + row[column] : row[column] + fill
            }
            return cells.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}

/// Standard output and error, unbuffered.
enum Console {
    static func write(_ text: String, to descriptor: Int32) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno != EINTR { return }
            rest = rest.dropFirst(max(0, count))
        }
    }
}

/// Numbers as people read them.
enum Format {
    static func number(_ value: Double, _ decimals: Int) -> String {
        guard value.isFinite else { return "?" }
        var scale = 1.0
        for _ in 0..<decimals { scale *= 10 }
        let whole = Int64((abs(value) * scale).rounded())
        let sign = value < 0 && whole != 0 ? "-" : ""
        guard decimals > 0 else { return sign + "\(whole)" }
        let digits = "\(whole % Int64(scale))"
        let zeros = String(repeating: "0", count: decimals - digits.count)
        return sign + "\(whole / Int64(scale)).\(zeros)\(digits)"
    }

    static func bytes(_ count: UInt64) -> String {
        if count <= 9999 { return "\(count) B" }
        if count < 1 << 20 { return number(Double(count) / 1024, 1) + " KiB" }
        return number(Double(count) / Double(1 << 20), count < 100 << 20 ? 2 : 0) + " MiB"
    }

    static func seconds(_ seconds: Double) -> String {
        seconds < 1 ? number(seconds * 1000, 0) + " ms" : number(seconds, 2) + " s"
    }
}

enum Statistics {
    /// The middle value, or the mean of the middle two.
    ///
    /// - Precondition: there is at least one.
    static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}
