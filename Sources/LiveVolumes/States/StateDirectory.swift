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

    /// Devices that have a file of that kind.
    func devices(with kind: String) throws -> [String] {
        try (Directory.names(in: path) ?? []).filter { $0.hasSuffix(".\(kind)") }
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
        guard let text = text(device, "tracking") else { return nil }
        guard let state = TrackingState(text: text), state.device == device else {
            throw VolumeError(
                .failed,
                "\(file(device, "tracking")) is damaged; run 'varve track stop' and 'track begin'")
        }
        return state
    }

    func save(_ state: TrackingState) throws { try save(state.text, state.device, "tracking") }

    // MARK: Trials

    /// The state of a trial; nil when there is none.
    ///
    /// - Throws: ``VolumeError`` when the file is damaged.
    package func trial(_ device: String) throws -> TrialState? {
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

    /// Removes lists of views below `view`: nothing builds upon them any more.
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

    /// Takes the device for one command.
    ///
    /// - Throws: ``VolumeError`` of kind `busy` while another command has it.
    func lock(_ device: String) throws -> DeviceLock {
        try Directory.makeAll(path)
        let handle = try FileHandle(file(device, "lock"), .readWrite, flags: O_CREAT, mode: 0o600)
        guard FileOperation.tryLock(handle.descriptor, exclusive: true) else {
            throw VolumeError(
                .busy, "another command works with /dev/mapper/\(device); wait for it to end")
        }
        return DeviceLock(handle)
    }
}

/// A device that this command has for itself, until it lets go.
final class DeviceLock: Sendable {
    private let handle: FileHandle

    init(_ handle: consuming FileHandle) { self.handle = handle }
}
