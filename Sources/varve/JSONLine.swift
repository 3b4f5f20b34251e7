import FoundationEssentials

/// One JSON object a line, with keys in snake case: for scripts.
enum JSONLine {
    static func text(_ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else { return "{}" }
        return String(decoding: data, as: UTF8.self)
    }

    static func write(_ value: some Encodable) { Terminal.write(text(value) + "\n") }
    static func writeError(_ value: some Encodable) { Terminal.writeError(text(value) + "\n") }
}
