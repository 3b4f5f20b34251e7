import Foundation
import Testing

/// A Debian that boots from a disk of its own, and runs a scenario: a step after each start.
struct BootedDebian {
    let scratch: Scratch
    let disk: String
    /// More disks, which it sees as /dev/disk/by-id/virtio-disk1 and so on.
    let disks: [String]
    private let job: String

    /// Prepares the disk, and the job with the released program.
    ///
    /// - Parameters:
    ///   - scenario: the name of a script below `Scenarios`.
    ///   - sizes: those of further disks, as truncate(1) reads them.
    /// - Throws: ``UnexpectedEnding`` when the disk cannot be built.
    init(_ scenario: String, disks sizes: [String]) async throws {
        try #require(Machine.isRoot, "Building the disk needs root; run tools/test as root.")
        scratch = try Scratch()
        disk = scratch.file("disk.img")
        job = scratch.file("job")
        try await scratch.require("\(Machine.rig)/build-disk", disk)
        disks = sizes.indices.map { [scratch] in scratch.file("disk\($0 + 1).img") }
        for (disk, size) in zip(disks, sizes) {
            try await scratch.require("truncate", "-s", size, disk)
        }
        try await scratch.require("\(Machine.rig)/copy-program", Machine.releasedProgram, job)
        try await scratch.require("cp", "\(Machine.scenarios)/\(scenario)", job + "/run")
    }

    /// How a start of the machine is to end.
    enum End: Int32 {
        case switchedOff = 0
        case crash = 125
    }

    /// Starts it for one step of the scenario, which has to go as expected.
    func run(_ step: String, _ end: End = .switchedOff, _ options: [String] = []) async throws {
        try step.write(toFile: job + "/step", atomically: false, encoding: .utf8)
        let ending = try await scratch.run(
            ["\(Machine.rig)/run-on-disk", "--timeout", "900", "--job", job]
                + disks.flatMap { ["--disk", $0] } + options + [disk])
        try #require(
            ending.status == end.rawValue && ending.output.contains("as expected")
                && !ending.output.contains("not as expected"), "\(step): \(ending)")
    }

    /// Does something with the root's partition while the machine is off: `$target`, and a folder `$folder`.
    func onRootPartition(_ command: String...) async throws {
        try await scratch.require(["\(Machine.rig)/on-root-partition", disk] + command)
    }
}
