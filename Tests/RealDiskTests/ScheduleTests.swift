import Foundation
import Testing

extension MachinesInTurn {
    /// The Debian package in a booted Debian, where timers of systemd run a job.
    @Suite("Timers of a booted Debian", .needsRoot, .needsRig, .needsPackage)
    struct ScheduleTests {
        @Test(
            "A timer backs up a disk in use; status, metrics and restores are as they should be",
            .timeLimit(.minutes(60)))
        func cycles() async throws {
            try #require(Machine.isRoot, "Building a disk needs root; run tools/test as root.")
            let package = try #require(Machine.package, "tools/test builds the package")
            let scratch = try Scratch()
            let disk = scratch.file("disk.img")
            try await scratch.require("\(Machine.rig)/build-disk", disk)
            let ending = try await scratch.run(
                "\(Machine.rig)/run-schedule", "--cycles", "2", package, disk)
            #expect(ending.status == 0, "\(ending)")
            #expect(ending.output.contains("failed-units=0"), "\(ending)")
        }
    }
}
