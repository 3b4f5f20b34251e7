internal import LinuxIO

/// Whether an image file stays as it is while it is read, as far as the file system tells.
enum FileAtRest {
    /// Clocks of file systems go in steps of at most so much.
    private static let clockStepMilliseconds: UInt32 = 20

    /// What an open file is now, to be compared with later.
    ///
    /// What was written to memory that others share with the file goes to the file first: after that, the
    /// next such write sets the file's times. A change in the same step of the clock as the last one would
    /// not be seen, so that step is waited for.
    ///
    /// - Throws: ``VolumeError`` for what has other content than its size says, as files of `/proc` and
    ///   `/sys` do.
    static func status(of descriptor: Int32, _ path: String) throws -> FileStatus {
        try? FileOperation.synchronizeData(descriptor, subject: path)
        let found = try FileStatus(descriptor: descriptor, subject: path)
        if changedJustNow(found) { SystemClock.sleep(milliseconds: clockStepMilliseconds) }
        let status = try FileStatus(descriptor: descriptor, subject: path)
        try requireTrueSize(status, descriptor, path)
        return status
    }

    private static func changedJustNow(_ status: FileStatus) -> Bool {
        let now = SystemClock.now()
        let (seconds, isTooMuch) = now.seconds.subtractingReportingOverflow(status.changedSeconds)
        guard !isTooMuch, (0...1).contains(seconds) else { return false }
        let nanoseconds =
            seconds * 1_000_000_000 + Int64(now.nanoseconds) - status.changedNanoseconds
        return (0..<Int64(clockStepMilliseconds) * 1_000_000).contains(nanoseconds)
    }

    /// What shows that a file was written in between, or changed otherwise; nil when nothing does.
    ///
    /// One who puts the time of the last write back is seen too.
    static func change(_ before: FileStatus, _ now: FileStatus) -> String? {
        guard before.isSameFile(as: now) else { return "it is a different file now" }
        guard before.byteCount == now.byteCount else { return "its size changed" }
        guard before.modifiedSeconds == now.modifiedSeconds,
            before.modifiedNanoseconds == now.modifiedNanoseconds
        else {
            return "its modification time changed"
        }
        guard before.changedSeconds == now.changedSeconds,
            before.changedNanoseconds == now.changedNanoseconds
        else {
            return "its change time changed"
        }
        return nil
    }

    private static func requireTrueSize(
        _ status: FileStatus,
        _ descriptor: Int32,
        _ path: String
    ) throws {
        let size = status.byteCount
        let isTrue =
            try (size == 0 || hasByte(descriptor, at: size - 1, path))
            && !hasByte(descriptor, at: size, path)
        guard !isTrue, try FileStatus(descriptor: descriptor, subject: path).byteCount == size
        else { return }
        throw VolumeError(
            .unsuitable,
            "\(path) does not hold the \(size) bytes that its size claims, like files in /proc "
                + "and /sys; pipe it in: 'cat \(path) | varve backup -'")
    }

    private static func hasByte(
        _ descriptor: Int32,
        at offset: UInt64,
        _ path: String
    ) throws -> Bool {
        var byte = [UInt8](repeating: 0, count: 1)
        var span = byte.mutableSpan
        var raw = unsafe span.mutableBytes
        return try PositionedIO.read(descriptor, into: &raw, at: offset, subject: path) == 1
    }
}
