internal import BlockModel
internal import FoundationEssentials
internal import LinuxIO

/// What is known of a job from its runs: a file `jobs/<job>.json` in the state directory.
///
/// Nothing depends on it but when things are due, metrics and the status; a lost one costs no more.
package struct JobRecord: Codable, Hashable, Sendable {
    /// The last backup of a volume.
    package struct Volume: Codable, Hashable, Sendable {
        /// Seconds since 1970.
        package var snapshotTime: Int64?
        package var generation: UInt64?
        package var bytesRead: UInt64 = 0
        package var bytesChanged: UInt64 = 0
        package var bytesStored: UInt64 = 0
        package var seconds = 0.0
        /// Why the last backup compared everything although the volume is tracked; nil where it did not.
        package var fullComparison: String?
        /// Whether that is so in the ordinary course of things, as after a restart.
        package var isFullComparisonExpected: Bool?

        package init() {}
    }

    /// A step that is due from time to time.
    package struct Step: Codable, Hashable, Sendable {
        /// When it last came to its end, well or not.
        package var time: Int64?
        package var isGood = true
        package var seconds = 0.0
        package var text = ""

        package init() {}
    }

    /// Why nothing is known of the job although something was written; never written itself.
    package var problem: String?
    /// Whether a run began and did not come to its end, well or not.
    package var isUnderWay: Bool?
    package var lastStart: Int64?
    package var lastEnd: Int64?
    package var lastSuccess: Int64?
    /// Why the last run failed; nil when it did not.
    package var error: String?
    package var seconds = 0.0
    package var volumes: [String: Volume] = [:]
    package var prune = Step()
    package var check = Step()
    package var bootTest = Step()
    package var repositoryByteCount: UInt64?
    package var repositorySnapshotCount: Int?

    package init() {}
}

/// Where records of jobs are kept.
package struct JobRecords: Sendable {
    package let directory: String

    /// - Parameter stateDirectory: that of the machine, such as `/var/lib/varve`.
    package init(stateDirectory: String) { directory = stateDirectory + "/jobs" }

    /// What is known of a job; an empty record where nothing is, with the reason where that is not because
    /// it was never run.
    package func read(_ job: String) -> JobRecord {
        let path = "\(directory)/\(job).json"
        do {
            try Trust.require(directory, as: "the state directory")
            let text = try Directory.wholeText(of: path)
            return try JSONDecoder().decode(JobRecord.self, from: Data(text.utf8))
        } catch {
            var record = JobRecord()
            guard (error as? SystemError)?.errno != SystemError.notFound else { return record }
            record.problem =
                error is SystemError || error is Trust.Refusal
                ? "its record cannot be read: \(error)"
                : "its record \(path) is damaged; the next run rewrites it"
            return record
        }
    }

    package func write(_ record: JobRecord, of job: String) throws {
        try Directory.makeAll(directory)
        var record = record
        record.problem = nil
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
        let bytes = [UInt8](try encoder.encode(record))
        try FileOperation.replace("\(directory)/\(job).json", with: bytes.rawSpan)
    }

    /// Whether a run of the job is under way.
    package func isRunning(_ job: String) -> Bool {
        // Asked, and not taken: a run that begins meanwhile must not find it locked.
        guard let handle = try? FileHandle("\(directory)/\(job).lock", .read) else { return false }
        return FileOperation.isWriteLocked(handle.descriptor) == true
    }

    /// Runs `body` while no other process runs the job; gives nil where another does.
    package func withLock<Result>(
        _ job: String,
        _ body: () throws -> Result
    ) throws -> Result? {
        try Trust.require(directory, as: "the state directory")
        try Directory.makeAll(directory)
        try Trust.require(directory, as: "the state directory")
        let path = "\(directory)/\(job).lock"
        if try FileStatus(path: path) == nil {
            // Whoever comes second finds it.
            _ = try? FileHandle(path, .create, mode: 0o600)
        }
        let handle = try FileHandle(path, .readWrite)
        guard FileOperation.tryLock(handle.descriptor, exclusive: true) else { return nil }
        // The lock goes with the descriptor.
        return try withExtendedLifetime(handle) { try body() }
    }
}
