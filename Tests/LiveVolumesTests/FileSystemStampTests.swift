import Foundation
import TestKit
import Testing

@testable import LiveVolumes

@Suite("Stamps of file systems")
struct FileSystemStampTests {
    /// Images of one file system: made, in use, at a crash, mounted read-only elsewhere after that, mounted
    /// there to be written, and unmounted.
    private static let images = """
        set -euo pipefail
        cd "$1"
        attach() { device=$(losetup -f --show "$1"); }
        detach() { umount at; losetup -d "$device"; }
        # A file system in use writes by itself every thirty seconds or less: a machine that is too busy to
        # be done within that time tries again.
        use() {
            cp fresh disk
            attach disk
            mount "$device" at
            start=$SECONDS
            echo first >at/first
            sync
            cp --sparse=always disk running
            for number in $(seq 60); do echo $number >at/file$number; sync at/file$number; done
            cp --sparse=always disk crashed
            duration=$((SECONDS - start))
            detach
        }
        mkdir at
        trap 'umount at 2>/dev/null || :; losetup -d "$device" 2>/dev/null || :' EXIT
        truncate -s 320M fresh
        mkfs.$2 -q fresh
        duration=60
        for attempt in 1 2 3 4 5 6 7 8; do [ $duration -le 4 ] || use; done
        mv disk unmounted
        cp --sparse=always crashed replayed
        attach replayed
        mount -o ro "$device" at
        detach
        cp --sparse=always crashed written
        attach written
        mount "$device" at
        echo other >at/other
        detach
        """
    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../Sources/LiveVolumes/Boot/initramfs-script").path

    private static func run(_ arguments: [String]) throws -> String {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.standardOutput = output
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(arguments)")
        return String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .newlines)
    }

    private static func withImages(
        _ kind: String,
        _ body: (_ stamp: (String) throws -> FileSystemStamp) throws -> Void
    ) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID())").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        _ = try run(["bash", "-c", images, "bash", folder, kind])
        try body { name in
            let stamp = try FileSystemStamp.read(path: "\(folder)/\(name)")
            // The start of the machine takes the same one, in whichever shell.
            for shell in [["dash"], ["busybox", "sh"]] {
                let text = try run(shell + [script, "stamp", "\(folder)/\(name)"])
                #expect(text == stamp.text, "\(shell) \(name)")
            }
            #expect(FileSystemStamp(text: stamp.text) == stamp)
            return stamp
        }
    }

    @Test(
        "A mount elsewhere after a crash shows, even one that only reads; the crash alone does not",
        .enabled(if: getuid() == 0, "mounting needs root"), .timeLimit(.minutes(60)),
        arguments: ["ext4", "ext3", "xfs", "btrfs"])
    func crash(_ kind: String) throws {
        try Self.withImages(kind) { stamp in
            let running = try stamp("running")
            let crashed = try stamp("crashed")
            #expect(crashed.isCrash(of: running))
            #expect(try !stamp("replayed").isCrash(of: crashed))
            #expect(try !stamp("written").isCrash(of: crashed))
            #expect(try !stamp("fresh").isCrash(of: running))
        }
    }

    @Test(
        "Every write shows after an orderly end, and nothing else does",
        .enabled(if: getuid() == 0, "mounting needs root"), .timeLimit(.minutes(60)),
        arguments: ["ext2", "ext4", "xfs", "btrfs"])
    func orderly(_ kind: String) throws {
        try Self.withImages(kind) { stamp in
            let all = try ["fresh", "running", "unmounted", "written"].map(stamp)
            #expect(Set(all).count == 4)
            #expect(all[0].isClean && all[2].isClean)
            #expect(try stamp("unmounted") == all[2])
        }
    }

    @Test("What holds no file system that is known has no stamp, and no noise makes one fail")
    func unknown() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("image")
        var random = SeededGenerator(seed: 5)
        for start in [[], [0x58, 0x46, 0x53, 0x42]] as [[UInt8]] {
            var bytes = (0..<100_000).map { _ in UInt8.random(in: 0...255, using: &random) }
            bytes.replaceSubrange(0..<start.count, with: start)
            try Data(bytes).write(to: path)
            _ = try? FileSystemStamp.read(path: path.path)
            bytes.replaceSubrange(1080..<1082, with: [0x53, 0xEF])
            try Data(bytes).write(to: path)
            #expect(throws: Never.self) {
                _ = try? FileSystemStamp.read(path: path.path)
            }
        }
        try Data([UInt8](repeating: 0, count: 4096)).write(to: path)
        #expect(try FileSystemStamp.read(path: path.path) == .unknown)
    }
}
