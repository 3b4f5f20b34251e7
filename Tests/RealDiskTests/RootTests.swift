import Foundation
import Testing

/// Beside the machines that run in turn: alone it takes as long as all of them.
///
/// A root on a plain partition, where LVM is installed, gets a layer, is tried upon through restarts and a
/// crash, broken, and thrown back; then it is captured while it runs, and restored.
@Suite("The root of a booted Debian", .needsRoot, .needsRig)
struct RootTests {
    @Test(
        "What does not start any more is thrown back, or restored; what is torn is not thrown back",
        .timeLimit(.minutes(80)))
    func root() async throws {
        let machine = try await BootedDebian("root", disks: ["256M", "1500M"])
        let repository = machine.disks[1]
        try await machine.scratch.require("mkfs.ext4", "-q", repository)
        try await machine.run("install")
        try await machine.run("begin")
        for _ in 0..<(Machine.isFullRun ? 10 : 0) { try await machine.run("restart") }
        try await machine.run("crash", .crash)
        try await machine.run("destroy")
        // By nothing but the entry: what the disk itself would start is broken.
        try await machine.run("back", .switchedOff, ["--entry", "varve-discard"])
        try await machine.onRootPartition("bash", "-c", "e2fsck -fn \"$target\"")
        try await machine.run("discard")
        try await machine.run("remove-view")
        try await machine.run("torn", .crash)
        try await machine.onRootPartition(
            "bash", "-c", "mount -o ro \"$target\" \"$folder\" && umount \"$folder\"")
        try await machine.run("bypassed")
        try await machine.onRootPartition(
            "\(Machine.rig)/restore-root", Machine.releasedProgram, repository)
        try await machine.run("restored")
    }
}
