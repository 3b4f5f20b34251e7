import Foundation
import Testing

extension MachinesInTurn {
    /// A root on a plain partition gets a layer, is tried upon, broken, and thrown back.
    @Suite("The root of a booted Debian", .needsRoot, .needsRig)
    struct RootLayerTests {
        @Test(
            "What does not start any more is thrown back from the boot menu",
            .timeLimit(.minutes(30)))
        func throwBack() async throws {
            try #require(Machine.isRoot, "Building the disk needs root; run tools/test as root.")
            let scratch = try Scratch()
            let disk = scratch.file("disk.img")
            try await scratch.require("\(Machine.rig)/build-disk", disk)
            let store = scratch.file("store.img")
            try await scratch.require("truncate", "-s", "256M", store)
            let job = scratch.file("job")
            try await scratch.require("mkdir", "-p", job + "/lib")
            try await scratch.require("cp", Machine.program, job + "/varve")
            try await scratch.require("cp", Machine.scenarios + "/root-layer", job + "/run")
            // The libraries that the disk's own system may lack.
            try await scratch.require(
                "bash", "-c",
                """
                set -euo pipefail
                ldd "$1" | awk '$3 ~ /^\\// { print $3 }' | grep -Ev '/(libc|libm|ld-linux)[.-]' |
                    xargs cp -L -t "$2"
                """, "bash", Machine.program, job + "/lib")

            func run(_ step: String, _ options: [String] = []) async throws -> Ending {
                try step.write(toFile: job + "/step", atomically: false, encoding: .utf8)
                return try await scratch.run(
                    [
                        "\(Machine.rig)/run-on-disk", "--timeout", "900", "--job", job, "--disk",
                        store,
                    ]
                        + options + [disk])
            }
            for (step, options) in [
                ("install", []), ("try", []), ("back", ["--entry", "varve-discard"]), ("again", []),
            ] {
                let ending = try await run(step, options)
                try #require(
                    ending.status == 0 && ending.output.contains("as expected")
                        && !ending.output.contains("not as expected"), "\(step): \(ending)")
                guard step == "try" else { continue }
                // The kernel is broken: without the entry the disk does not start.
                let dead = try await scratch.run(
                    ["\(Machine.rig)/run-on-disk", "--timeout", "30", "--disk", store, disk])
                #expect(dead.status == 124, "\(dead)")
            }
            let ending = try await run("remove")
            #expect(ending.status == 0 && ending.output.contains("as expected"), "\(ending)")
        }
    }
}
