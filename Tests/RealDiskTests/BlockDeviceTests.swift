import Foundation
import Testing

/// Real block devices, and what must not be read or written because something uses it.
@Suite("A block device", .needsRoot)
struct BlockDeviceTests {
    static let byteCount = 96 << 20
    static let largerByteCount = 101 << 20

    init() throws {
        try #require(Machine.isRoot, "Loop devices need root; run tools/test as root.")
    }

    @Test("It comes back on a larger one, behind whose first part nothing is touched")
    func largerTarget() async throws {
        let scratch = try Scratch()
        try await withSource(scratch) { source in
            try await scratch.varve("backup", source.path, "--volume", "loop")
            let captured = try await scratch.checksum(source.path)
            try await LoopDevice.with("target", byteCount: Self.largerByteCount, in: scratch) {
                // Old content everywhere: what is zero in the snapshot has to be written too.
                try await scratch.require(
                    "bash", "-c", "tr '\\0' x </dev/zero | head -c \(Self.largerByteCount) >$1",
                    "bash", $0.path)
                let tail = try await tailChecksum($0, scratch)
                try await scratch.varve("restore", "loop@1", $0.path)
                let restored = try await scratch.checksum($0.path, byteCount: Self.byteCount)
                #expect(restored == captured)
                #expect(try await tailChecksum($0, scratch) == tail)
                try await scratch.require("e2fsck", "-fn", $0.path)
            }
        }
    }

    @Test("A smaller one is refused, and nothing is written to it")
    func smallerTarget() async throws {
        let scratch = try Scratch()
        try await withSource(scratch) { source in
            try await scratch.varve("backup", source.path, "--volume", "loop")
            try await LoopDevice.with("target", byteCount: Self.byteCount - 4096, in: scratch) {
                let before = try await scratch.checksum($0.path)
                let ending = try await scratch.run(
                    Machine.program, "restore", "loop@1", $0.path)
                #expect(ending.status == 1, "\(ending)")
                #expect(ending.errors.contains($0.path))
                #expect(ending.errors.contains("\(Self.byteCount)"))
                #expect(try await scratch.checksum($0.path) == before)
            }
        }
    }

    @Test("A mounted one is neither read nor written, and the message names the mount")
    func mounted() async throws {
        let scratch = try Scratch()
        try await withSource(scratch) { source in
            try await scratch.varve("backup", source.path, "--volume", "loop")
            let place = scratch.file("mounted")
            try FileManager.default.createDirectory(
                atPath: place, withIntermediateDirectories: false)
            for arguments in [
                ["backup", source.path, "--volume", "loop"], ["restore", "loop@1", source.path],
            ] {
                let before = try await scratch.checksum(source.path)
                let ending = try await scratch.runWhileMounted(source, at: place, arguments)
                #expect(ending.status == 1, "\(ending)")
                #expect(ending.errors.contains(place), "\(ending)")
                #expect(try await scratch.checksum(source.path) == before)
            }
            let timeline = try await scratch.varve("snapshots", "--json")
            #expect(timeline.split(separator: "\n").count == 1, "nothing was captured meanwhile")
        }
    }

    @Test("One that is mounted where this program cannot see the mount is not captured either")
    func mountedElsewhere() async throws {
        let scratch = try Scratch()
        try await withSource(scratch) { source in
            let place = scratch.file("mounted")
            try FileManager.default.createDirectory(
                atPath: place, withIntermediateDirectories: false)
            let ending = try await scratch.runWhileMountedElsewhere(
                source, at: place, ["backup", source.path, "--volume", "loop"])
            #expect(ending.status == 1, "\(ending)")
            #expect(ending.errors.contains("\(source.path) is in use"), "\(ending)")
        }
    }

    @Test("Its image file is refused as well while the device exists")
    func backingFile() async throws {
        let scratch = try Scratch()
        try await withSource(scratch) { source in
            try await scratch.varve("backup", source.path, "--volume", "loop")
            for arguments in [
                ["backup", source.file, "--volume", "file"],
                ["restore", "loop@1", source.file, "--in-place"],
            ] {
                let ending = try await scratch.run([Machine.program] + arguments)
                #expect(ending.status == 1, "\(ending)")
                #expect(ending.errors.contains(source.path), "\(ending)")
            }
        }
    }

    @Test("A restore in place over a changed one brings it back")
    func inPlace() async throws {
        let scratch = try Scratch()
        try await withSource(scratch) { source in
            try await scratch.varve("backup", source.path, "--volume", "loop")
            let captured = try await scratch.checksum(source.path)
            try await scratch.require(
                "dd", "if=/dev/urandom", "of=\(source.path)", "bs=1000", "seek=7000", "count=3000",
                "conv=fsync")
            #expect(try await scratch.checksum(source.path) != captured)
            try await scratch.varve("restore", "loop@1", source.path, "--in-place")
            #expect(try await scratch.checksum(source.path) == captured)
        }
    }

    /// Lends a device with an ext4 file system that holds the package's own sources.
    private func withSource(
        _ scratch: Scratch,
        _ body: (LoopDevice) async throws -> Void
    ) async throws {
        try await scratch.varve("init")
        try await LoopDevice.with("source", byteCount: Self.byteCount, in: scratch) {
            try await scratch.require(
                "mkfs.ext4", "-q", "-d", "\(Machine.rig)/../../Sources", $0.path)
            try await body($0)
        }
    }

    /// Checksum of what is behind the volume's size.
    private func tailChecksum(_ device: LoopDevice, _ scratch: Scratch) async throws -> String {
        try await scratch.require(
            "bash", "-o", "pipefail", "-c",
            "tail -c +\(Self.byteCount + 1) \"$1\" | openssl dgst -sha256 -r", "bash", device.path)
    }
}

extension Scratch {
    /// Runs the program while `device` is mounted at `place`, which nothing outside of a mount
    /// namespace of its own sees; the kernel unmounts it when the program has ended.
    fileprivate func runWhileMounted(
        _ device: LoopDevice,
        at place: String,
        _ arguments: [String]
    ) async throws -> Ending {
        let script = "mount -o ro,noload \"$1\" \"$2\" || exit 99; shift 2; \"$@\""
        return try await run(
            ["unshare", "--mount", "bash", "-c", script, "bash", device.path, place]
                + [Machine.program] + arguments)
    }

    /// The same, but the program runs in the mount namespace of before, as a container's mounts
    /// are elsewhere.
    fileprivate func runWhileMountedElsewhere(
        _ device: LoopDevice,
        at place: String,
        _ arguments: [String]
    ) async throws -> Ending {
        let script = """
            outside=/proc/$$ device=$1 place=$2; shift 2
            export outside device place
            unshare --mount bash -c 'mount -o ro,noload "$device" "$place" || exit 99
            nsenter --mount="$outside/ns/mnt" --root="$outside/root" "$@"' bash "$@"
            """
        return try await run(
            ["bash", "-c", script, "bash", device.path, place] + [Machine.program] + arguments)
    }
}
