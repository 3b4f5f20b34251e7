internal import Glibc
internal import LinuxIO
package import RepositoryModel

/// Starts a machine and waits until it shows whether its system comes up.
package struct BootTest {
    /// What is a proof.
    package struct Expectation {
        /// A line of the console; a prompt to log in when there is none.
        package var pattern: ((String) -> Bool)?
        /// Whether a screen that does not change any more is a proof too.
        package var acceptsStableScreen = false
        package var timeoutSeconds = 300

        package init() {}
    }

    /// What became of it.
    package struct Outcome {
        package let result: BootProof.Result
        package let means: BootProof.Means
        package let evidence: String
        package let milliseconds: UInt64
        /// The screen, as PNG; empty when there was none any more.
        package let picture: [UInt8]
        /// The last lines of the console.
        package let console: [String]
    }

    private static let pauseMilliseconds: UInt64 = 200
    /// How long a screen does not change when the system is up.
    private static let stableSeconds = 30
    /// A loader that found no system has read less than this from the disk.
    private static let systemByteCount: UInt64 = 32 << 20
    private static let evidenceLimit = 200

    private let expectation: Expectation
    private let progress: (_ seconds: Double, _ lastLine: String) -> Void

    package init(
        _ expectation: Expectation,
        progress: @escaping (_ seconds: Double, _ lastLine: String) -> Void
    ) {
        self.expectation = expectation
        self.progress = progress
    }

    /// - Throws: ``MachineError`` when it could not be started; ``Interrupted``.
    package func run(
        _ emulator: Emulator,
        _ machine: MachineDescription,
        diskURI: String
    ) throws -> Outcome {
        let start = SystemClock.monotonicNanoseconds()
        func elapsed() -> UInt64 { (SystemClock.monotonicNanoseconds() - start) / 1_000_000 }
        let running = try Machine(emulator, machine, diskURI: diskURI)
        var reported: UInt64 = 0
        var screen = ScreenWatch()
        var next = 0
        var found: (result: BootProof.Result, means: BootProof.Means, evidence: String)?
        while found == nil {
            guard !Interruption.isRequested else { throw Interrupted.ofBootTest }
            try running.listen(milliseconds: Int32(Self.pauseMilliseconds))
            let now = elapsed()
            if now >= reported + Self.pauseMilliseconds {
                progress(Double(now) / 1000, running.console.end(lineCount: 1).first ?? "")
                reported = now
            }
            found = verdict(on: running.console, from: &next)
            if found == nil, let status = running.endStatus {
                found = (.refused, .stop, running.console.end(lineCount: 1).first ?? "")
                // It is the emulator that failed, not the system in it.
                guard status == 0 || Interruption.isRequested else {
                    throw MachineError(
                        description: "QEMU ended with status \(status); see its output above")
                }
            }
            if found == nil, screen.isDue(at: elapsed()) {
                found = try look(at: running, &screen, elapsed())
            }
            if found == nil, elapsed() >= UInt64(expectation.timeoutSeconds) * 1000 {
                found = (.refused, .timeout, running.console.end(lineCount: 1).first ?? "")
            }
        }
        let milliseconds = elapsed()
        guard let found, !Interruption.isRequested else { throw Interrupted.ofBootTest }
        return Outcome(
            result: found.result, means: found.means,
            evidence: String(found.evidence.prefix(Self.evidenceLimit)),
            milliseconds: milliseconds, picture: (try? running.picture()) ?? [],
            console: running.console.end(lineCount: 20))
    }

    private typealias Verdict = (
        result: BootProof.Result, means: BootProof.Means, evidence: String
    )

    private func verdict(on console: Console, from next: inout Int) -> Verdict? {
        // What is waited for may be what counts as a failure elsewhere.
        let proof = console.line(from: next, where: expectation.pattern ?? Self.isLoginPrompt)
        let failure = console.line(from: next, where: FailureSign.isIn)
        next = proof.next
        if let line = proof.line {
            return (.proved, expectation.pattern == nil ? .loginPrompt : .pattern, line)
        }
        return failure.line.map { (.refused, .failure, $0) }
    }

    private static func isLoginPrompt(_ line: String) -> Bool {
        var line = line[...]
        while line.last?.isWhitespace == true { line.removeLast() }
        return line.hasSuffix("login:")
    }

    private func look(
        at machine: Machine,
        _ screen: inout ScreenWatch,
        _ milliseconds: UInt64
    ) throws -> Verdict? {
        let text = try machine.screenText()
        if FailureSign.isIn(text) {
            return (.refused, .failure, "on the screen: \(Self.sentence(text))")
        }
        guard expectation.acceptsStableScreen else { return nil }
        screen.see(try machine.pixels(), at: milliseconds)
        guard screen.stableMilliseconds(at: milliseconds) >= Self.stableSeconds * 1000,
            try machine.readByteCount() >= Self.systemByteCount
        else { return nil }
        return (.proved, .stableScreen, "")
    }

    /// The end of what a screen shows.
    private static func sentence(_ text: String) -> String {
        String(text.split(separator: " ").joined(separator: " ").suffix(evidenceLimit - 20))
    }
}

/// Whether a screen still changes.
struct ScreenWatch {
    private static let pauseMilliseconds: UInt64 = 2_000
    /// A cursor that blinks, and a clock, are no change.
    private static let toleratedShare = 500

    private var last: [UInt8] = []
    private var changed: UInt64 = 0
    private var looked: UInt64 = 0

    /// Whether it is time to look again.
    mutating func isDue(at milliseconds: UInt64) -> Bool {
        guard milliseconds - looked >= Self.pauseMilliseconds else { return false }
        looked = milliseconds
        return true
    }

    mutating func see(_ pixels: [UInt8], at milliseconds: UInt64) {
        // A screen of one color shows nothing.
        let isBlank = pixels.suffix(from: min(32, pixels.count)).allSatisfy { $0 == pixels.last }
        if isBlank || !Self.isAlike(pixels, last) {
            last = pixels
            changed = milliseconds
        }
    }

    func stableMilliseconds(at milliseconds: UInt64) -> Int { Int(milliseconds - changed) }

    private static func isAlike(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        var count = 0
        for index in left.indices where left[index] != right[index] { count += 1 }
        return count <= left.count / toleratedShare
    }
}
