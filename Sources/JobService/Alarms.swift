internal import BlockModel
package import Configuration
internal import FoundationEssentials
internal import LinuxIO
package import Logging

/// Tells people of jobs that are not well, once for each trouble, and when they are well again.
///
/// What was told is kept apart from the records of runs, and for each way of telling by itself: one that
/// fails is tried again, and the other does not repeat what it said.
package struct Alarms {
    private let records: JobRecords
    private let logger: Logger

    package init(records: JobRecords, logger: Logger) {
        self.records = records
        self.logger = logger
    }

    private struct Message: Encodable {
        let job: String
        let event: String
        let message: String
        let host: String
        let time: Int64
    }

    /// Kinds of trouble that were told last, by alert channel.
    private struct Told: Codable, Equatable {
        var kinds: [String: [String]] = [:]
    }

    /// Tells what is new of a job.
    ///
    /// - Parameters:
    ///   - job: which.
    ///   - troubles: what is wrong with it now.
    ///   - now: the time.
    package func tell(of job: Job, _ troubles: [Trouble], now: Int64) {
        let before = read(job.name)
        var told = before
        let kinds = Set(troubles.map(\.kind))
        for (channel, arguments) in Self.channels(of: job) {
            let known = Set(told.kinds[channel] ?? [])
            // That one of several is over is no news.
            if kinds.isEmpty ? !known.isEmpty : !kinds.isSubset(of: known) {
                let text =
                    kinds.isEmpty
                    ? "all is well again" : troubles.map(\.text).joined(separator: "; ")
                guard
                    run(
                        arguments, job: job.name, event: kinds.isEmpty ? "recovered" : "trouble",
                        text, now: now)
                else { continue }
            }
            told.kinds[channel] = kinds.isEmpty ? nil : kinds.sorted()
        }
        guard told != before else { return }
        do {
            let bytes = [UInt8](try JSONEncoder().encode(told))
            try FileOperation.replace(path(of: job.name), with: bytes.rawSpan)
        } catch {
            logger.error("the alert of job '\(job.name)' may be sent again: \(error)")
        }
    }

    private func path(of job: String) -> String { "\(records.directory)/\(job).told" }

    private func read(_ job: String) -> Told {
        guard let text = Directory.text(of: path(of: job)) else { return Told() }
        return (try? JSONDecoder().decode(Told.self, from: Data(text.utf8))) ?? Told()
    }

    /// The alert channels of a job, each with its program.
    private static func channels(of job: Job) -> [(name: String, arguments: [String])] {
        var ways: [(name: String, arguments: [String])] = []
        if !job.alarm.command.isEmpty { ways.append(("command", job.alarm.command)) }
        if let address = job.alarm.webhook {
            ways.append(
                (
                    "webhook",
                    [
                        Program.path(of: "curl") ?? "/usr/bin/curl", "--silent", "--show-error",
                        "--fail", "--globoff", "--proto", "=http,https", "--max-time", "30",
                        "--output", "/dev/null", "--header", "Content-Type: application/json",
                        "--data-binary", "@-", "--", address,
                    ]
                ))
        }
        return ways
    }

    private func run(
        _ arguments: [String],
        job: String,
        event: String,
        _ text: String,
        now: Int64
    ) -> Bool {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Whoever is told shows it to people.
        let message = PrintableText.escaped(text)
        let told = Message(
            job: job, event: event, message: message, host: ProcessInfo.processInfo.hostName,
            time: now)
        do {
            // Told also by a run that was interrupted: that is what there is to tell.
            try UserCommand(
                arguments: arguments, timeLimitSeconds: 60, isInterruptible: false
            ).run(
                environment: ["VARVE_JOB": job, "VARVE_EVENT": event, "VARVE_MESSAGE": message],
                input: String(decoding: try encoder.encode(told), as: UTF8.self))
            return true
        } catch {
            logger.error("the alert of job '\(job)' could not be sent: \(error)")
            return false
        }
    }
}
