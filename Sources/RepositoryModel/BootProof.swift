internal import BlockModel

/// What became of a snapshot that was started as a machine.
package struct BootProof: Hashable, Sendable {
    package enum Result: String, Hashable, Sendable {
        case proved, refused
    }

    /// What decided it.
    package enum Means: String, Hashable, Sendable {
        /// The console showed what it was told to wait for.
        case pattern
        case loginPrompt = "login-prompt"
        /// The screen did not change any more.
        case stableScreen = "stable-screen"
        /// The console or the screen showed that it had failed.
        case failure
        /// The machine stopped by itself.
        case stop
        case timeout
    }

    package enum Firmware: String, Hashable, Sendable {
        case bios, uefi
    }

    package let result: Result
    package let means: Means
    /// The line of the console, cut to what a text may have.
    package let evidence: String
    package let milliseconds: UInt64
    package let firmware: Firmware
    /// Emulator, processors, memory, disk, for people.
    package let machine: String
    /// Version of the program that started it.
    package let program: String

    package init(
        result: Result,
        means: Means,
        evidence: String,
        milliseconds: UInt64,
        firmware: Firmware,
        machine: String,
        program: String
    ) {
        self.result = result
        self.means = means
        self.evidence = evidence
        self.milliseconds = milliseconds
        self.firmware = firmware
        self.machine = machine
        self.program = program
    }

    /// How a PNG begins.
    package static let pictureMagic: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
}
