import Foundation
import Testing

extension MachinesInTurn {
    /// What systemd says on the console when a machine is switched off on which a volume is tracked.
    @Suite("The end of a booted Debian", .needsRoot, .needsRig)
    struct ShutdownTests {
        @Test(
            "The file system of a store is unmounted, and would not be if the store were kept",
            .timeLimit(.minutes(60)))
        func unmounts() async throws {
            let machine = try await BootedDebian("shutdown", disks: ["200M", "200M"])
            for (step, isUnmounted) in [("released", true), ("held", false)] {
                let console = machine.scratch.file("console-\(step)")
                try await machine.run(step, .switchedOff, ["--console", console])
                let said = String(
                    decoding: try Data(contentsOf: URL(fileURLWithPath: console)), as: UTF8.self)
                #expect(said.contains("Failed unmounting") == !isUnmounted, "\(step): \(said)")
            }
        }
    }
}
