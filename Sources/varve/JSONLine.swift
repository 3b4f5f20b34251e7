import BlockModel
import FoundationEssentials

/// One JSON object a line, with keys in snake case: for scripts.
enum JSONLine {
    static func text(_ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else { return "{}" }
        return PrintableText.escapedJSON(String(decoding: data, as: UTF8.self))
    }

    static func write(_ value: some Encodable) { Terminal.line(text(value)) }
    static func writeError(_ value: some Encodable) { Terminal.errorLine(text(value)) }
}
