import Foundation
import Glibc
import SimulationSupport
import TestKit
import Testing

/// All snapshots as files in a directory.
@Suite(
    .serialized,
    .enabled(if: access("/dev/fuse", R_OK | W_OK) == 0, "This kernel has no FUSE, or not for us."))
struct MountTests {
    private let place: Place
    private var images: [Data] = []
    // SEEK_DATA and SEEK_HOLE, which the C library shows to GNU sources only.
    private static let seekData: Int32 = 3
    private static let seekHole: Int32 = 4
    private var directory: String { place.path + "/mnt" }

    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init", "--block-size", "8K"], in: place).status == 0)
        #expect(mkdir(place.path + "/mnt", 0o700) == 0)
        var model = ImageModel(byteCount: 3_000_000, seed: 5)
        for _ in 0..<2 {
            for _ in 0..<5 { model.change() }
            // A hole that no block of content is in.
            images.append(Data(model.bytes) + Data(count: 4_000_000) + Data("end".utf8))
        }
        for image in images { try backUp(image) }
    }

    private func backUp(_ image: Data) throws {
        let file = try place.write(image, to: "disk.img")
        let result = try Child.run(["backup", file, "--volume", "d"], in: place)
        #expect(result.status == 0, "\(result.errors)")
        // Names have seconds.
        usleep(1_050_000)
    }

    /// Mounts, runs `body`, and ends the mount by a signal.
    private func mounted(_ body: () throws -> Void) throws {
        let child = try Child(["mount", directory], in: place)
        var tries = 0
        while tries < 500, !isMounted {
            usleep(20_000)
            tries += 1
        }
        defer { child.process.terminate() }
        #expect(isMounted)
        try body()
        child.process.terminate()
        let ended = child.wait()
        #expect(ended.status == 0, "\(ended.errors)")
        #expect(!isMounted)
    }

    private var isMounted: Bool {
        let mounts = (try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)) ?? ""
        return mounts.contains(" \(directory) fuse.varve ")
    }

    private func names(_ path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }

    @Test("Each snapshot is a file of its size and content, with its holes, and new ones appear")
    func files() throws {
        try mounted {
            #expect(try names(directory) == ["d"])
            let names = try names(directory + "/d")
            #expect(names.count == 3 && names.last == "latest.img", "\(names)")
            for (name, image) in zip(names, images) {
                let path = "\(directory)/d/\(name)"
                #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == image)
                var status = stat()
                #expect(stat(path, &status) == 0 && status.st_size == image.count)
                #expect(status.st_blocks * 512 < image.count - 3_000_000)
                #expect(status.st_mode & 0o777 == 0o444)
                #expect(open(path, O_RDWR) == -1 && errno == EROFS)
                // The hole in the middle.
                let file = open(path, O_RDONLY)
                defer { close(file) }
                let last = off_t(image.count - 3) / 8192 * 8192
                #expect(lseek(file, last - 100_000, Self.seekData) == last)
                #expect(lseek(file, last, Self.seekHole) == image.count)
            }
            #expect(
                try Data(contentsOf: URL(fileURLWithPath: directory + "/d/latest.img")) == images[1]
            )
            #expect(access(directory + "/d/none.img", F_OK) != 0)
            #expect(access(directory + "/other", F_OK) != 0)
            var next = images[1]
            next[77] ^= 1
            try backUp(next)
            #expect(try self.names(directory + "/d").count == 4)
            #expect(try Data(contentsOf: URL(fileURLWithPath: directory + "/d/latest.img")) == next)
        }
        #expect(try Child.run(["check", "--read-data"], in: place).status == 0)
        let holds = try Child.run(["unlock", "--json"], in: place)
        #expect(holds.output.isEmpty, "\(holds.output)")
    }

    @Test("Damage is an error of reading what it concerns")
    func damage() throws {
        let packs = FileManager.default.enumerator(atPath: place.repository + "/packs")
        let largest = try #require(
            packs?.compactMap { $0 as? String }.map { "\(place.repository)/packs/\($0)" }
                .max { Self.size($0) < Self.size($1) })
        var bytes = try Data(contentsOf: URL(fileURLWithPath: largest))
        for index in stride(from: bytes.count / 4, to: bytes.count / 4 * 3, by: 50) {
            bytes[index] ^= 0x55
        }
        chmod(largest, 0o600)
        try bytes.write(to: URL(fileURLWithPath: largest))
        try mounted {
            let failures = try names(directory + "/d").filter {
                (try? Data(contentsOf: URL(fileURLWithPath: "\(directory)/d/\($0)"))) == nil
            }
            #expect(!failures.isEmpty)
            let path = directory + "/d/latest.img"
            let file = open(path, O_RDONLY)
            defer { close(file) }
            var byte: UInt8 = 1
            #expect(pread(file, &byte, 1, off_t(images[1].count - 500_000)) == 1 && byte == 0)
        }
    }

    private static func size(_ path: String) -> off_t {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG ? status.st_size : 0
    }

    @Test("A directory that cannot be a mount point is refused")
    func refused() throws {
        let none = try Child.run(["mount", place.path + "/none"], in: place)
        #expect(none.status == 2 && none.errors.contains("create it first"), "\(none)")
    }
}
