import ArgumentParser

/// What was meant by a command that there is not.
enum Suggestion {
    /// A sentence about the first word that is no command; nil when none is like it.
    static func text(for arguments: [String]) -> String? {
        var command: any ParsableCommand.Type = Varve.self
        for word in arguments {
            let choices = command.configuration.subcommands
            guard !choices.isEmpty, !word.hasPrefix("-"), word.count < 32 else { return nil }
            if let next = choices.first(where: { name(of: $0) == word }) {
                command = next
                continue
            }
            let nearest = choices.map { (name: name(of: $0), steps: distance(name(of: $0), word)) }
                .min { $0.steps < $1.steps }
            guard let nearest, nearest.steps <= 2, nearest.steps < word.count else { return nil }
            return "There is no command '\(word)'. "
                + "Did you mean '\(nearest.name)'?"
        }
        return nil
    }

    private static func name(of command: any ParsableCommand.Type) -> String {
        command.configuration.commandName ?? String(describing: command).lowercased()
    }

    /// Letters to put in, take out, change, or exchange with their neighbour.
    private static func distance(_ left: String, _ right: String) -> Int {
        let (left, right) = (Array(left), Array(right))
        var rows = [Array(0...right.count)]
        for i in left.indices {
            var row = [i + 1]
            for j in right.indices {
                var least = min(rows[i][j + 1], row[j]) + 1
                least = min(least, rows[i][j] + (left[i] == right[j] ? 0 : 1))
                if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
                    least = min(least, rows[i - 1][j - 1] + 1)
                }
                row.append(least)
            }
            rows.append(row)
        }
        return rows[left.count][right.count]
    }
}
