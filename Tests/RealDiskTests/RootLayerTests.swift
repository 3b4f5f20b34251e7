import Foundation
import Testing

/// Beside the machines that run in turn: alone it takes as long as all of them.
///
/// A root on a plain partition gets a layer, is tried upon, broken, and thrown back.
@Suite("The root of a booted Debian", .needsRoot, .needsRig)
struct RootLayerTests {
    /// Mounts the repository's disk, and restores the newest snapshot to the third partition.
    private static let restoring = """
        set -euo pipefail
        varve=$1 disk=$2 repository=$3 folder=$4
        read -r start count < <(partx -g -o START,SECTORS -n 3 "$disk")
        target=$(losetup -f --show -o $((start * 512)) --sizelimit $((count * 512)) "$disk")
        trap 'losetup -d "$target"' EXIT
        mkdir "$folder"
        mount -o loop "$repository" "$folder"
        trap 'umount "$folder"; losetup -d "$target"' EXIT
        "$varve" restore --repo "$folder/varve" root@latest "$target" --in-place
        """

    @Test(
        "What does not start any more is thrown back from the boot menu, or restored",
        .timeLimit(.minutes(30)))
    func throwBack() async throws {
        try #require(Machine.isRoot, "Building the disk needs root; run tools/test as root.")
        let scratch = try Scratch()
        let disk = scratch.file("disk.img")
        try await scratch.require("\(Machine.rig)/build-disk", disk)
        let store = scratch.file("store.img")
        try await scratch.require("truncate", "-s", "256M", store)
        let repository = scratch.file("repository.img")
        try await scratch.require("truncate", "-s", "1500M", repository)
        try await scratch.require("mkfs.ext4", "-q", repository)
        let job = scratch.file("job")
        try await scratch.require("mkdir", "-p", job + "/lib")
        try await scratch.require("cp", Machine.releasedProgram, job + "/varve")
        try await scratch.require("cp", Machine.scenarios + "/root-layer", job + "/run")
        // The libraries that the disk's own system may lack.
        try await scratch.require(
            "bash", "-c",
            """
            set -euo pipefail
            ldd "$1" | awk '$3 ~ /^\\// { print $3 }' | grep -Ev '/(libc|libm|ld-linux)[.-]' |
                xargs cp -L -t "$2"
            """, "bash", Machine.releasedProgram, job + "/lib")

        func run(_ step: String, _ options: [String] = []) async throws -> Ending {
            try step.write(toFile: job + "/step", atomically: false, encoding: .utf8)
            return try await scratch.run(
                [
                    "\(Machine.rig)/run-on-disk", "--timeout", "900", "--job", job, "--disk",
                    store, "--disk", repository,
                ]
                    + options + [disk])
        }
        func require(_ step: String, _ options: [String] = []) async throws {
            let ending = try await run(step, options)
            try #require(
                ending.status == 0 && ending.output.contains("as expected")
                    && !ending.output.contains("not as expected"), "\(step): \(ending)")
        }
        try await require("install")
        try await require("try")
        // The kernel is broken: without the entry the disk does not start.
        let dead = try await scratch.run(
            ["\(Machine.rig)/run-on-disk", "--timeout", "30", "--disk", store, disk])
        #expect(dead.status == 124, "\(dead)")
        try await require("back", ["--entry", "varve-discard"])
        try await require("again")
        try await require("remove")
        try await scratch.require(
            "bash", "-c", Self.restoring, "bash", Machine.releasedProgram, disk, repository,
            scratch.file("mounted"))
        try await require("restored")
    }
}
