import BlockModel
import SnapshotService

/// Shows how far long work has come: a line on a terminal, `status` messages with `--json`.
final class ProgressLine {
    private let verb: String
    private let style: Style
    private let start = Moment.monotonicNanoseconds()
    private var lastReport: UInt64 = 0
    private var isShown = false

    enum Style { case none, line, json }

    init(_ verb: String, _ options: OutputOptions) {
        self.verb = verb
        if options.quiet {
            style = .none
        } else if options.json {
            style = .json
        } else {
            style = Terminal.isInteractive ? .line : .none
        }
    }

    private struct Status: Encodable {
        var messageType = "status"
        let action: String
        let bytesDone: UInt64
        let totalBytes: UInt64?
        let percentDone: Double?
        let secondsElapsed: Double
    }

    func update(done: UInt64, total: UInt64?) {
        let now = Moment.monotonicNanoseconds()
        let pause: UInt64 = style == .json ? 1_000_000_000 : 200_000_000
        guard style != .none, now - start > 500_000_000, now - lastReport >= pause else { return }
        lastReport = now
        let seconds = Double(now - start) / 1e9
        let share = total.flatMap { $0 > 0 ? Double(done) / Double($0) : nil }
        guard style == .line else {
            JSONLine.write(
                Status(
                    action: verb, bytesDone: done, totalBytes: total,
                    percentDone: share.map { ($0 * 1000).rounded() / 10 },
                    secondsElapsed: (seconds * 1000).rounded() / 1000))
            return
        }
        var text = "\(verb) \(Human.bytes(done))"
        if let total, let share {
            text += " of \(Human.bytes(total)) (\(Int(share * 100)) %)"
            if share > 0.01 { text += ", \(Human.duration(seconds / share - seconds)) left" }
        }
        text += ", \(Human.bytes(UInt64(Double(done) / seconds)))/s"
        Terminal.progress(text)
        isShown = true
    }

    func clear() {
        if isShown { Terminal.clearProgress() }
        isShown = false
    }
}

/// Columns as people read them.
extension Human {
    static func padded(_ text: String, _ width: Int, right: Bool = false) -> String {
        let fill = String(repeating: " ", count: max(0, width - text.count))
        return right ? fill + text : text + fill
    }

    /// Rows with columns as wide as their widest cell; `right` columns are flush right.
    static func table(_ rows: [[String]], right: Set<Int>) -> [String] {
        // As it is shown, for the width.
        let rows = rows.map { row in row.map(PrintableText.escaped) }
        guard let first = rows.first else { return [] }
        let widths = first.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = row.enumerated().map { column, cell in
                padded(cell, widths[column], right: right.contains(column))
            }
            var line = cells.joined(separator: "  ")
            while line.hasSuffix(" ") { line.removeLast() }
            return line
        }
    }
}
