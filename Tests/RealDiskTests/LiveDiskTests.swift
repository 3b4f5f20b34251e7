import Foundation
import Testing

extension MachinesInTurn {
    /// What a user does with disks in use, by the program itself, in the emulated machine: the scripts below
    /// `Scenarios`.
    @Suite("Disks in use", .needsRoot, .needsRig, .serialized)
    struct LiveDiskTests {
        /// What a run of the machine ends with when the scenario lets it crash.
        private static let crashed: Int32 = 125

        private static func withMachine(
            _ body: (_ run: (_ scenario: String, _ step: String?) async throws -> Ending)
                async throws
                -> Void
        ) async throws {
            try #require(Machine.isRoot, "Starting the machine needs root; run tools/test as root.")
            let scratch = try Scratch()
            let cache = ProcessInfo.processInfo.environment["VARVE_RIG_CACHE"] ?? ""
            let folder = (cache.isEmpty ? scratch.path : cache) + "/machine"
            try await scratch.require("\(Machine.rig)/build-machine", folder)
            let disks = (0..<2).map { scratch.file("disk\($0)") }
            try await scratch.require(["truncate", "-s", "64M"] + disks)
            try await body { scenario, step in
                try await scratch.run(
                    ["\(Machine.rig)/run-in-machine", "--memory", "1500", "--timeout", "900"]
                        + disks.flatMap { ["--disk", $0] }
                        + [
                            "--environment", "varve=\(Machine.releasedProgram)",
                            "--environment", "scenarios=\(Machine.scenarios)", folder, "--",
                            "bash", "\(Machine.scenarios)/\(scenario)",
                        ] + (step.map { [$0] } ?? []))
            }
        }

        @Test(
            "A scenario goes as expected", .timeLimit(.minutes(60)),
            arguments: ["tracking", "plain-device", "era", "encrypted", "lvm", "killed", "serving"])
        func scenario(_ name: String) async throws {
            try await Self.withMachine { run in
                let ending = try await run(name, nil)
                #expect(
                    ending.status == 0 && ending.output.contains("all as expected"), "\(ending)")
            }
        }

        /// Steps of one scenario on the same disks; each but the last ends with a crash.
        @Test(
            "A scenario goes as expected through crashes", .timeLimit(.minutes(60)),
            arguments: [
                ("trial", ["begin", "resume", "finish", "torn", "foreign", "table", "noise"]),
                ("vanish", ["layer", "replayed", "unknown"]),
                ("thin", ["begin", "resume"]),
                ("crashes", ["preparing", "window", "after", "capturing", "end"]),
            ])
        func crashes(_ name: String, _ steps: [String]) async throws {
            try await Self.withMachine { run in
                for step in steps.dropLast() {
                    let ending = try await run(name, step)
                    #expect(ending.status == Self.crashed, "\(step): \(ending)")
                    #expect(!ending.output.contains("not as expected"), "\(step): \(ending)")
                }
                let ending = try await run(name, steps.last)
                #expect(
                    ending.status == 0 && ending.output.contains("all as expected"), "\(ending)")
            }
        }
    }
}
