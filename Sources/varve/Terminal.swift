import BlockModel
import ProcessStart
import Synchronization
import Workflows

/// Standard output and error: the one place where text becomes output.
///
/// What is written is lines. Everything in a line that does not print is escaped here, line ends too,
/// for it may come from anywhere: names, tags and errors move no cursor and forge no row. What does
/// move it is written by this file alone.
enum Terminal {
    /// Writes one line to standard output.
    static func line(_ text: String) {
        output(mark(.output, .information) + PrintableText.escaped(text) + "\n")
    }

    /// Writes one line to standard error, which may fail.
    static func errorLine(_ text: String, _ importance: Importance = .error) {
        errors(mark(.errors, importance) + PrintableText.escaped(text) + "\n")
    }

    /// Writes lines of the program's own to standard output.
    static func write(_ text: ProgramText) {
        for line in text.lines { output(mark(.output, .information) + line + "\n") }
    }

    /// The same to standard error.
    static func writeError(_ text: ProgramText) {
        for line in text.lines { errors(mark(.errors, .error) + line + "\n") }
    }

    /// Shows `text` in place of the progress that was shown before.
    static func progress(_ text: String) { errors("\r\u{1B}[K" + PrintableText.escaped(text)) }

    static func clearProgress() { errors("\r\u{1B}[K") }

    static var isInteractive: Bool { StandardStream.errors.isTerminal }

    /// `text` as ``line(_:)`` shows it.
    static func printable(_ text: String) -> String { PrintableText.escaped(text) }

    /// How much a line matters, in the numbers of syslog(3).
    enum Importance: Int {
        case error = 3
        case warning = 4
        case information = 6
    }

    private static let journals = Set([StandardStream.output, .errors].filter(\.isJournal))

    /// What the journal takes the importance of a line from.
    private static func mark(_ stream: StandardStream, _ importance: Importance) -> String {
        journals.contains(stream) ? "<\(importance.rawValue)>" : ""
    }

    private static func output(_ text: String) { send(Array(text.utf8)) }

    private static func errors(_ text: String) { _ = StandardStream.errors.write(Array(text.utf8)) }
}

/// Text of several lines that the program wrote itself.
struct ProgramText {
    fileprivate let lines: [String]

    init(_ text: String) {
        // Tabs are as they should be, in scripts for shells; of the rest nothing is trusted.
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            line.split(separator: "\t", omittingEmptySubsequences: false)
                .map { PrintableText.escaped(String($0)) }.joined(separator: "\t")
        }
    }
}

// MARK: - Output that fails

extension Terminal {
    /// What is known of standard output while a command runs.
    private struct OutputState {
        var hasWritten = false
        /// The number of the first error.
        var failure: Int32?
        /// Whether the command is done when its output cannot be written.
        var endsCommand = false
        var hasEndedCommand = false
    }

    private static let state = Mutex(OutputState())

    /// The command is of no use without standard output, and ends when that cannot be written.
    static func needOutput() throws {
        guard StandardStream.output.isOpen else { throw ClosedStream(.output) }
        state.withLock { $0.endsCommand = true }
    }

    /// Whether the command was ended because its output cannot be written.
    static var hasEndedCommand: Bool { state.withLock { $0.hasEndedCommand } }

    /// Sends bytes to standard output; the end of the command tells when they did not arrive.
    private static func send(_ bytes: [UInt8]) {
        let isFirstFailure = state.withLock { state in
            guard state.failure == nil else { return false }
            state.hasWritten = true
            state.failure = StandardStream.output.write(bytes)
            state.hasEndedCommand = state.failure != nil && state.endsCommand
            return state.hasEndedCommand
        }
        if isFirstFailure { StopRequest.make() }
    }

    /// Ends output; gives the number of the error when not all of it arrived.
    static func finish() -> Int32? {
        state.withLock { state in
            if state.failure == nil, state.hasWritten || state.endsCommand {
                // Some file systems tell only now that there is no room.
                state.failure = StandardStream.output.close()
            }
            (state.hasWritten, state.endsCommand) = (false, false)
            return state.failure
        }
    }
}

/// A standard stream that is asked for, and was closed when the process began.
struct ClosedStream: Error, CustomStringConvertible {
    private let stream: StandardStream

    init(_ stream: StandardStream) { self.stream = stream }

    var description: String {
        stream == .input
            ? "standard input is closed, so there is nothing to read; open it, or name a file"
            : "standard output is closed, so nothing can be written; open it, or redirect it to a "
                + "file"
    }
}
