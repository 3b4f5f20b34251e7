import ArgumentParser
import BlockModel
import SnapshotService
import Workflows

struct TrackCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "track",
        abstract: "Track writes to disks in use, so backups read only what was written.",
        discussion: """
            A tracked device has a frozen view and a store for overwritten data. 'varve backup' \
            of it starts a new view within milliseconds and reads what was written since the \
            last one.
            """,
        subcommands: [
            Begin.self, Status.self, End.self, Stop.self, Trim.self, Release.self, Watch.self,
        ])

    struct Begin: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Start tracking a device, in use or not.",
            discussion: """
                DEVICE is a device-mapper device, in use or not, of type linear, striped or \
                crypt (logical volumes, encrypted devices) or a thin volume; or its mount \
                point. An unused plain disk or partition gets a layer \
                /dev/mapper/varve-NAME; mount that instead. After a restart of the \
                machine, 'track begin' creates it again.

                A thin volume is tracked by snapshots in its own pool, and a device with a dm-era \
                target by that target, with backups while it is idle: both need no store.
                """)

        @OptionGroup var output: OutputOptions

        @Argument(help: "The device or its mount point.")
        var device: String

        @Option(
            help: """
                Where to keep overwritten data: a directory on another file system, or an empty \
                partition.
                """)
        var store: String?

        @Option(
            help:
                "Bytes of each store to reserve on disk at once, such as 512M (default: none)."
        )
        var storeSize: ByteCount?

        private struct Message: Encodable {
            var messageType = "summary"
            let device: String
            let mechanism: String
            let store: String?
            let windowMilliseconds: Double?
        }

        func run() throws {
            output.warnOfTrials()
            let (tracked, window) = try TrackWorkflow(states: Local.states).begin(
                device, store: store, storeByteCount: storeSize?.value)
            if output.json {
                JSONLine.write(
                    Message(
                        device: tracked.path, mechanism: tracked.mechanismName,
                        store: tracked.store,
                        windowMilliseconds: window.map { Double($0 / 1000) / 1000 }))
            }
            let stood = window.map { "; paused for \(Human.milliseconds($0))" } ?? ""
            output.say("tracking \(tracked.path), \(Self.how(tracked.mechanism))\(stood)")
            if tracked.store != nil {
                output.say("discards (fstrim) are held back from now on; see 'varve track trim'")
            }
            if let plain = tracked.plainDevice {
                output.say("mount \(tracked.path) from now on, not \(plain)")
            }
        }

        private static func how(_ mechanism: TrackWorkflow.Tracked.Mechanism) -> String {
            switch mechanism {
            case .stores(let place): "stores in \(place)"
            case .thinPool: "by snapshots in its thin pool"
            case .era: "by its dm-era target; back it up while it is not in use"
            }
        }
    }

    struct End: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop tracking a device, and remove the layer under it.")

        @OptionGroup var output: OutputOptions

        @Argument(help: "The device or its mount point.")
        var device: String

        func run() throws {
            output.warnOfTrials()
            let (name, keepsLayer) = try TrackWorkflow(states: Local.states).end(device)
            if output.json {
                JSONLine.write(DeviceMessage(device: "/dev/mapper/\(name)"))
            }
            output.say("/dev/mapper/\(name) is no longer tracked")
            if keepsLayer {
                output.say(
                    "it is in use, so it remains; remove it later: dmsetup remove \(name)")
            }
        }
    }

    /// What 'end' was called before.
    struct Stop: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The same as 'end'.", shouldDisplay: false)

        @OptionGroup var end: End

        func run() throws { try end.run() }
    }

    struct Trim: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Discard unused blocks of the file system, as fstrim does without tracking.",
            discussion: """
                Removes the layer under the device, trims the file system, and puts the layer \
                back. The next backup compares everything.
                """)

        @OptionGroup var output: OutputOptions

        @Argument(help: "The device or its mount point.")
        var device: String

        private struct Message: Encodable {
            var messageType = "summary"
            let trimmedBytes: UInt64
        }

        func run() throws {
            output.warnOfTrials()
            let bytes = try TrackWorkflow(states: Local.states).trim(device)
            if output.json { JSONLine.write(Message(trimmedBytes: bytes)) }
            output.say(
                "trimmed \(Human.bytes(bytes)); the next backup of it compares everything")
        }
    }

    struct Release: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Release a tracked device's store before its file system is unmounted at shutdown.",
            shouldDisplay: false)

        @OptionGroup var output: OutputOptions

        @Argument(help: "The name of the device in /dev/mapper.")
        var device: String

        func run() throws { try TrackWorkflow(states: Local.states).release(device) }
    }

    struct Watch: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Watch the stores of trials as long as there are any.",
            discussion: "'trial begin' starts this automatically.", shouldDisplay: false)

        @OptionGroup var output: OutputOptions

        @Flag(help: "Check once, then exit.")
        var once = false

        func run() throws { try StoreWatch(output).run(once: once) }
    }
}

struct DeviceMessage: Encodable {
    var messageType = "summary"
    let device: String
}

/// A number of bytes with a unit, such as `512M` or `2GiB`.
struct ByteCount: ExpressibleByArgument {
    let value: UInt64

    init(_ value: UInt64) { self.value = value }

    /// As help texts show it.
    var defaultValueDescription: String { Human.bytes(value) }

    init?(argument: String) {
        guard let value = Quantity.byteCount(argument) else { return nil }
        self.value = value
    }
}
