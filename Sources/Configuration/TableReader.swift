internal import BlockModel
internal import TOML

/// Collects what is wrong, so that all of it is told at once.
final class ProblemList {
    private(set) var problems: [ConfigurationProblem] = []

    func add(_ line: Int, _ reason: String) {
        problems.append(ConfigurationProblem(line: line, reason: reason))
    }
}

/// Reads the entries of one table; what is left at its end is unknown.
final class TableReader {
    let title: String
    let line: Int
    private let problems: ProblemList
    private let entries: [String: TOMLNode]
    private var known: Set<String> = []

    /// - Parameters:
    ///   - title: how messages call the table, such as `jobs.system`.
    ///   - node: the table.
    ///   - problems: gets what is wrong.
    init(_ title: String, _ node: TOMLNode, _ problems: ProblemList) {
        self.title = title
        line = node.line
        self.problems = problems
        if case .table(let entries) = node.value {
            self.entries = entries
        } else {
            entries = [:]
            problems.add(node.line, "\(title) is not a table")
        }
    }

    /// Reports entries that nobody asked for.
    func end() {
        for (key, node) in entries.sorted(by: { $0.key < $1.key }) where !known.contains(key) {
            problems.add(
                node.line,
                "\(title.isEmpty ? "" : "\(title).")\(key) is unknown; known here: "
                    + known.sorted().joined(separator: ", "))
        }
    }

    func isThere(_ key: String) -> Bool { entries[key] != nil }

    func require(_ key: String) {
        if entries[key] == nil { problems.add(line, "\(title) lacks \(key)") }
    }

    func line(of key: String) -> Int { entries[key]?.line ?? line }

    func refuse(_ key: String, _ reason: String) {
        let name = [title, key].filter { !$0.isEmpty }.joined(separator: ".")
        problems.add(line(of: key), "\(name) \(reason)")
    }

    private func node(_ key: String) -> TOMLNode? {
        known.insert(key)
        return entries[key]
    }

    // MARK: Values

    func string(_ key: String) -> String? {
        guard let node = node(key) else { return nil }
        guard case .string(let text) = node.value, !text.isEmpty, !text.utf8.contains(0) else {
            refuse(key, "must be a text that is not empty")
            return nil
        }
        return text
    }

    /// An absolute path.
    func path(_ key: String) -> String? {
        guard let text = string(key) else { return nil }
        guard text.hasPrefix("/") else {
            refuse(key, "must be an absolute path")
            return nil
        }
        return text
    }

    func boolean(_ key: String) -> Bool? {
        guard let node = node(key) else { return nil }
        guard case .boolean(let value) = node.value else {
            refuse(key, "must be true or false")
            return nil
        }
        return value
    }

    func integer(_ key: String, in range: ClosedRange<Int>) -> Int? {
        guard let node = node(key) else { return nil }
        guard case .integer(let value) = node.value, let number = Int(exactly: value),
            range.contains(number)
        else {
            refuse(key, "must be a number from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return number
    }

    /// A text that `parse` understands; `form` says what it must look like.
    func parsed<Value>(_ key: String, _ form: String, _ parse: (String) -> Value?) -> Value? {
        guard let text = string(key) else { return nil }
        guard let value = parse(text) else {
            refuse(key, "must be \(form), not '\(text)'")
            return nil
        }
        return value
    }

    func duration(_ key: String, atLeast least: Int64 = 0) -> Int64? {
        guard let seconds = parsed(key, "a duration such as 15m, 12h or 7d", Quantity.seconds)
        else {
            return nil
        }
        guard seconds >= least else {
            refuse(key, "must be longer than 0")
            return nil
        }
        return seconds
    }

    func byteCount(_ key: String, atLeast least: UInt64 = 0) -> UInt64? {
        guard let count = parsed(key, "a size such as 512M or 10G", Quantity.byteCount) else {
            return nil
        }
        guard count >= least else {
            refuse(key, "must be at least \(least >> 20)M")
            return nil
        }
        return count
    }

    /// A list of texts, or one.
    func strings(_ key: String) -> [String] {
        guard let node = node(key) else { return [] }
        if case .string(let text) = node.value { return [text] }
        guard let texts = Self.texts(node) else {
            refuse(key, "must be a list of texts")
            return []
        }
        return texts
    }

    /// Programs with their arguments: a list of lists, or one list.
    func commands(_ key: String) -> [[String]] {
        guard let node = node(key) else { return [] }
        var commands: [[String]] = []
        if let command = Self.texts(node) {
            commands = [command]
        } else if case .array(let nodes) = node.value {
            commands = nodes.compactMap(Self.texts)
            if commands.count != nodes.count { commands = [] }
        }
        guard !commands.isEmpty, commands.allSatisfy({ $0.first?.hasPrefix("/") == true }) else {
            refuse(
                key,
                "must be a list such as [\"/path/of/program\", \"argument\"], or several")
            return []
        }
        return commands
    }

    private static func texts(_ node: TOMLNode) -> [String]? {
        guard case .array(let nodes) = node.value else { return nil }
        var texts: [String] = []
        for node in nodes {
            guard case .string(let text) = node.value, !text.utf8.contains(0) else { return nil }
            texts.append(text)
        }
        return texts
    }

    // MARK: Tables

    func table(_ key: String) -> TableReader? {
        guard let node = node(key) else { return nil }
        return TableReader(title.isEmpty ? key : "\(title).\(key)", node, problems)
    }

    /// The tables in a table, in the order of the file.
    func tables(_ key: String) -> [(name: String, table: TableReader)] {
        guard let node = node(key) else { return [] }
        guard case .table(let entries) = node.value else {
            refuse(key, "is not a table")
            return []
        }
        return entries.sorted { ($0.value.line, $0.key) < ($1.value.line, $1.key) }.map {
            (
                $0.key,
                TableReader(
                    (title.isEmpty ? "" : "\(title).") + "\(key).\($0.key)", $0.value, problems)
            )
        }
    }
}
