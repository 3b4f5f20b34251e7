package import Configuration
internal import FoundationEssentials
internal import LinuxIO
package import Logging

/// Tells people of jobs that are not well, once for each trouble, and when they are well again.
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

    /// Looks at a job, and tells what is new.
    ///
    /// - Parameters:
    ///   - job: which.
    ///   - now: the time.
    /// - Returns: what is wrong with it.
    package func look(at job: Job, now: Int64) -> [String] {
        var record = records.read(job.name)
        let troubles = JobHealth.troubles(
            of: job, record, isRunning: records.isRunning(job.name), now: now)
        // A number that grows is no news.
        let kind = troubles.map { $0.filter { !$0.isNumber } }.joined(separator: "; ")
        let told = record.toldTrouble ?? ""
        guard kind != told, !job.alarm.command.isEmpty || job.alarm.webhook != nil else {
            return troubles
        }
        let event = troubles.isEmpty ? "recovered" : "trouble"
        let text = troubles.isEmpty ? "all is well again" : troubles.joined(separator: "; ")
        if tell(job, event: event, text, now: now) {
            record.toldTrouble = troubles.isEmpty ? nil : kind
            try? records.write(record, of: job.name)
        }
        return troubles
    }

    private func tell(_ job: Job, event: String, _ text: String, now: Int64) -> Bool {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let message = Message(
            job: job.name, event: event, message: text,
            host: ProcessInfo.processInfo.hostName, time: now)
        let json =
            (try? encoder.encode(message)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
        var commands: [[String]] = []
        if !job.alarm.command.isEmpty { commands.append(job.alarm.command) }
        if let address = job.alarm.webhook {
            commands.append([
                Program.path(of: "curl") ?? "/usr/bin/curl", "--silent", "--show-error", "--fail",
                "--max-time", "30", "--output", "/dev/null", "--header",
                "Content-Type: application/json", "--data-binary", "@-", address,
            ])
        }
        var isTold = true
        for command in commands {
            do {
                try UserCommand(arguments: command, timeLimitSeconds: 60).run(
                    environment: [
                        "VARVE_JOB": job.name, "VARVE_EVENT": event, "VARVE_MESSAGE": text,
                    ], input: json)
            } catch {
                logger.error("nobody could be told of job '\(job.name)': \(error)")
                isTold = false
            }
        }
        return isTold
    }
}
