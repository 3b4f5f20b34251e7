internal import BlockModel
internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// Looks after the stores of all volumes that are on trial.
package final class Watch {
    private let states: StateDirectory
    /// Warnings that were heard, so that each is heard once.
    private var heard: Set<String> = []
    private var lookCount = 0
    /// Stamps of trials are taken at every so-manieth look.
    private static let stampPeriod = 10

    package init(states: StateDirectory) { self.states = states }

    /// Runs `body` while this process watches; gives false where another does.
    @discardableResult
    package func withWatch(_ body: () throws -> Void) throws -> Bool {
        var isOurs = false
        do {
            try states.withLock("watch") {
                isOurs = true
                try body()
            }
        } catch let error as VolumeError where error.kind == .busy && !isOurs {
            return false
        }
        return true
    }

    /// Warns of stores that are nearly full; false when there is none to look after.
    package func look(warn: (String) -> Void) throws -> Bool {
        let trials = try states.devices(with: "trial")
        let warnings = try Trial(states: states).keepAhead()
        lookCount += 1
        if lookCount % Self.stampPeriod == 1 { try Trial(states: states).refreshStamps() }
        for warning in warnings where heard.insert(warning).inserted {
            Kernel.say("varve: \(warning)")
            warn(warning)
        }
        return !trials.isEmpty
    }
}

/// The kernel's log, which is heard on the console and by every log daemon.
enum Kernel {
    static func say(_ text: String) {
        guard let handle = try? FileHandle("/dev/kmsg", .readWrite) else { return }
        // A line end would begin another message, of any importance.
        let bytes = Array(PrintableText.escaped(text).utf8)
        try? PositionedIO.write(handle.descriptor, bytes.rawSpan, at: 0, subject: "/dev/kmsg")
    }
}
