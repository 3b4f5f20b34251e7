import Foundation
import Testing

extension MachinesInTurn {
    /// Runs the tests that need a kernel with device-mapper, and disks that nothing else uses, in an
    /// emulated machine.
    @Suite("An emulated machine", .needsRoot, .needsRig)
    struct EmulatedMachineTests {
        @Test("All tests of MachineTests pass in it", .timeLimit(.minutes(60)))
        func machineTests() async throws {
            try #require(Machine.isRoot, "Starting the machine needs root; run tools/test as root.")
            let scratch = try Scratch()
            let cache = ProcessInfo.processInfo.environment["VARVE_RIG_CACHE"] ?? ""
            let folder = (cache.isEmpty ? scratch.path : cache) + "/machine"
            try await scratch.require("\(Machine.rig)/build-machine", folder)
            let disks = (0..<2).map { scratch.file("disk\($0)") }
            try await scratch.require(["truncate", "-s", "64M"] + disks)
            let ending = try await scratch.run(
                ["\(Machine.rig)/run-in-machine", "--memory", "2048"]
                    + disks.flatMap { ["--disk", $0] }
                    + [
                        folder, "--", Machine.testBundle, "--testing-library", "swift-testing",
                        "--filter", "^MachineTests\\.",
                    ])
            #expect(ending.status == 0, "\(ending)")
            #expect(ending.output.contains("passed after"), "\(ending)")
            #expect(!ending.output.contains("skipped"), "\(ending)")
            print(ending.output.split(separator: "\n").filter { $0.contains("stall") }.joined())
        }
    }
}
