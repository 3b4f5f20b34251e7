internal import BlockModel
internal import Glibc
internal import LinuxIO
internal import VolumeAccess

/// Where the states of volumes are kept: `$VARVE_STATE_DIR`, else `/var/lib/varve`.
///
/// | file                     | content                                                          |
/// |--------------------------|------------------------------------------------------------------|
/// | `DEVICE.tracking`        | ``TrackingState``                                                |
/// | `DEVICE.VIEW.written`    | what was written while that view was there                       |
/// | `DEVICE.trial`           | where the store of a trial is                                    |
/// | `DEVICE.lock`            | locked by the command that works with the device                 |
///
/// The kernel's devices are the truth of what is there; these files say what it means.
package struct StateDirectory: Sendable {
    package let path: String

    package init(environment: [String: String]) {
        let given = environment["VARVE_STATE_DIR"] ?? ""
        path = given.hasPrefix("/") ? given : "/var/lib/varve"
    }

    package init(path: String) { self.path = path }

    func file(_ device: String, _ kind: String) -> String { "\(path)/\(device).\(kind)" }

    /// Refuses a directory that others can change: what is in it is believed.
    package func requireTrusted() throws { try Trust.require(path, as: "the state directory") }

    /// Whether the directory lies on the root's file system, which alone is there until a machine ends.
    var outlivesUnmounting: Bool {
        guard let own = try? FileStatus(path: path), let root = try? FileStatus(path: "/") else {
            return true
        }
        return own.device == root.device
    }

    /// Devices that have a file of that kind.
    func devices(with kind: String) throws -> [String] {
        try requireTrusted()
        return try (Directory.names(in: path) ?? []).filter { $0.hasSuffix(".\(kind)") }
            .map { String($0.dropLast(kind.utf8.count + 1)) }.sorted()
    }

    func text(_ device: String, _ kind: String, limit: Int = 1 << 20) -> String? {
        Directory.text(of: file(device, kind), limit: limit)
    }

    func save(_ text: String, _ device: String, _ kind: String) throws {
        try Directory.makeAll(path)
        let bytes = Array(text.utf8)
        try FileOperation.replace(file(device, kind), with: bytes.rawSpan)
    }

    func remove(_ device: String, _ kind: String) throws {
        try FileOperation.remove(file(device, kind))
    }

    // MARK: Tracking

    /// The state of a volume; nil when it is not tracked.
    ///
    /// - Throws: ``VolumeError`` when the file is damaged.
    package func tracking(_ device: String) throws -> TrackingState? {
        try requireTrusted()
        guard let text = text(device, "tracking") else { return nil }
        guard let state = TrackingState(text: text), state.device == device else {
            throw VolumeError(
                .failed,
                "\(file(device, "tracking")) is damaged; run 'varve track end' and 'track begin'")
        }
        return state
    }

    func save(_ state: TrackingState) throws { try save(state.text, state.device, "tracking") }

    // MARK: Trials

    /// The state of a trial; nil when there is none.
    ///
    /// - Throws: ``VolumeError`` when the file is damaged.
    package func trial(_ device: String) throws -> TrialState? {
        try requireTrusted()
        guard let text = text(device, "trial") else { return nil }
        guard let state = TrialState(text: text), state.device == device else {
            throw VolumeError(.failed, "\(file(device, "trial")) is damaged; remove it")
        }
        return state
    }

    func save(_ state: TrialState) throws { try save(state.text, state.device, "trial") }

    // MARK: What was written

    private func writtenKind(_ view: UInt64) -> String { "\(view).written" }

    func save(_ written: WrittenExtents, _ device: String, view: UInt64) throws {
        try save(written.text, device, writtenKind(view))
    }

    func written(_ device: String, view: UInt64) -> WrittenExtents? {
        // A line has at most 41 bytes.
        text(device, writtenKind(view), limit: 41 * (WrittenExtents.extentLimit + 1))
            .flatMap(WrittenExtents.init(text:))
    }

    /// Removes lists of views below `view`, which nothing needs any more.
    func removeWritten(_ device: String, below view: UInt64) throws {
        for name in try Directory.names(in: path) ?? [] {
            guard name.hasPrefix(device + "."), name.hasSuffix(".written"),
                let number = UInt64(name.dropFirst(device.utf8.count + 1).dropLast(8)),
                number < view
            else { continue }
            try FileOperation.remove("\(path)/\(name)")
        }
    }

    // MARK: Lock

    /// Takes the device for one command, in so many attempts, 50 ms apart: the watch has it for a moment
    /// now and then.
    ///
    /// - Throws: ``VolumeError`` of kind `busy` while another command has it.
    func lock(_ device: String, attempts: Int = 1) throws -> DeviceLock {
        try Boot.requireSystem(for: "the tracking of devices")
        try requireTrusted()
        try Directory.makeAll(path)
        try requireTrusted()
        let handle = try FileHandle(file(device, "lock"), .readWrite, flags: O_CREAT, mode: 0o600)
        var isLocked = FileOperation.tryLock(handle.descriptor, exclusive: true)
        for _ in 1..<max(attempts, 1) where !isLocked {
            SystemClock.sleep(milliseconds: 50)
            isLocked = FileOperation.tryLock(handle.descriptor, exclusive: true)
        }
        guard isLocked else {
            throw VolumeError(
                .busy, "another command is using /dev/mapper/\(device); wait for it to end")
        }
        return DeviceLock(handle)
    }

    /// Attempts to take a lock that last for so many seconds.
    static func lockAttempts(seconds: Int) -> Int { seconds * 20 }

    /// Runs `body` while no other command works with a device.
    ///
    /// - Throws: ``VolumeError`` of kind `busy` while another command has it; what `body` throws.
    func withLock<Result>(
        _ device: String,
        attempts: Int = 1,
        _ body: () throws -> Result
    ) throws -> Result {
        let lock = try lock(device, attempts: attempts)
        return try withExtendedLifetime(lock) { try body() }
    }

    /// The same, but nil where another command has the device, or it cannot be locked.
    func withLockIfFree<Result>(
        _ device: String,
        _ body: () throws -> Result
    ) throws -> Result? {
        guard let lock = try? lock(device) else { return nil }
        return try withExtendedLifetime(lock) { try body() }
    }

    /// Whether a command has the device.
    func isLocked(_ device: String) -> Bool {
        // Asked, and not taken: a command that begins meanwhile must not find it locked.
        guard let handle = try? FileHandle(file(device, "lock"), .read) else { return false }
        return FileOperation.isLocked(handle.descriptor)
    }
}

/// A device that this command has for itself, until it lets go.
final class DeviceLock: Sendable {
    private let handle: FileHandle

    init(_ handle: consuming FileHandle) { self.handle = handle }
}
