internal import BlockModel
internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// Looks after the stores of all volumes that are tracked or on trial.
package final class Watch {
    private let states: StateDirectory
    /// Warnings that were heard, so that each is heard once.
    private var heard: Set<String> = []
    private var lookCount = 0
    /// Witnesses of trials are taken at every so-manieth look.
    private static let witnessPeriod = 50

    package init(states: StateDirectory) { self.states = states }

    /// Takes the watch for this process; nil when another has it.
    package func lock() throws -> WatchLock? {
        do {
            return WatchLock(try states.lock("watch"))
        } catch let error as VolumeError where error.kind == .busy {
            return nil
        }
    }

    /// Lets stores grow that are half full; false when there is none to look after.
    package func look(warn: (String) -> Void) throws -> Bool {
        let tracked = try states.devices(with: "tracking")
        let trials = try states.devices(with: "trial")
        var warnings = try Tracking(states: states).keepAhead()
        warnings += try Trial(states: states).keepAhead()
        lookCount += 1
        if lookCount % Self.witnessPeriod == 1 { try Trial(states: states).refreshWitness() }
        for warning in warnings where heard.insert(warning).inserted {
            Kernel.say("varve: \(warning)")
            warn(warning)
        }
        return !tracked.isEmpty || !trials.isEmpty
    }
}

/// Says that a process watches.
package final class WatchLock: Sendable {
    private let lock: DeviceLock

    init(_ lock: DeviceLock) { self.lock = lock }
}

/// The kernel's log, which is heard on the console and by every log daemon.
enum Kernel {
    static func say(_ text: String) {
        guard let handle = try? FileHandle("/dev/kmsg", .readWrite) else { return }
        let bytes = Array(text.utf8)
        try? PositionedIO.write(handle.descriptor, bytes.rawSpan, at: 0, subject: "/dev/kmsg")
    }
}
