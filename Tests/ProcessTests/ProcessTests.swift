import Foundation
import Glibc
import SimulationSupport
import TestKit
import Testing

/// The program as users run it: killed, twice at once, on a full disk.
@Suite(.serialized) struct ProcessTests {
    private static func makePlace() throws -> Place {
        let scratch = ScratchDirectory()
        let place = Place(scratch, path: scratch.path)
        let result = try Child.run(["init", "--block-size", "4K"], in: place)
        #expect(result.status == 0, "\(result.errors)")
        return place
    }

    private static func image(_ byteCount: Int, seed: UInt64) -> Data {
        Data(ImageModel(byteCount: byteCount, seed: seed).bytes)
    }

    @Test("Killed at two hundred moments of a backup, the repository stays whole")
    func killed() throws {
        let place = try Self.makePlace()
        var model = ImageModel(byteCount: 1_000_000, seed: 31)
        var committed = 0
        var images: [Data] = []
        // How long a whole backup takes here decides where the kills fall, not whether they pass.
        let start = DispatchTime.now().uptimeNanoseconds
        images.append(Data(model.bytes))
        let file = try place.write(images[0], to: "disk.img")
        #expect(try Child.run(["backup", file, "--volume", "d"], in: place).status == 0)
        let span = DispatchTime.now().uptimeNanoseconds - start
        committed = 1

        for kill in 0..<200 {
            for _ in 0..<4 { model.change() }
            let image = Data(model.bytes)
            _ = try place.write(image, to: "disk.img")
            let child = try Child(["backup", file, "--volume", "d"], in: place)
            usleep(UInt32(span / 1000 * UInt64(kill) / 190))
            child.kill()
            _ = child.wait()
            let listed = try Self.snapshotCount(place)
            #expect((committed...committed + 1).contains(listed), "kill \(kill)")
            if listed > committed {
                images.append(image)
                try Self.expectRestored(place, generation: listed, image, "kill \(kill)")
            }
            committed = listed
            guard kill % 20 == 19 else { continue }
            let next = try Child.run(["backup", file, "--volume", "d"], in: place)
            #expect(next.status == 0, "kill \(kill): \(next.errors)")
            images.append(image)
            committed += 1
            let check = try Child.run(["check", "--read-data"], in: place)
            #expect(check.status == 0, "kill \(kill): \(check.output)\(check.errors)")
        }
        for generation in 1...committed {
            try Self.expectRestored(place, generation: generation, images[generation - 1], "end")
        }
    }

    private static func snapshotCount(_ place: Place) throws -> Int {
        let result = try Child.run(["snapshots", "--json"], in: place)
        #expect(result.status == 0, "\(result.errors)")
        return result.output.split(separator: "\n").count
    }

    private static func expectRestored(
        _ place: Place,
        generation: Int,
        _ image: Data,
        _ when: String
    ) throws {
        unlink(place.path + "/out.img")
        let result = try Child.run(
            ["restore", "d@\(generation)", place.path + "/out.img"], in: place)
        #expect(result.status == 0, "\(when), generation \(generation): \(result.errors)")
        #expect(try place.read("out.img") == image, "\(when), generation \(generation)")
    }

    @Test("Two backups of different volumes at once both succeed")
    func twoVolumes() throws {
        let place = try Self.makePlace()
        let shared = Self.image(2_000_000, seed: 1)
        let files = try ["a", "b"].map { try place.write(shared + Data($0.utf8), to: $0) }
        for round in 1...5 {
            let children = try zip(["a", "b"], files).map { name, file in
                try Child(["backup", file, "--volume", name], in: place)
            }
            for child in children {
                let result = child.wait()
                #expect(result.status == 0, "round \(round): \(result.errors)")
            }
            for (name, file) in zip(["a", "b"], files) {
                let changed = Self.image(2_000_000, seed: UInt64(round)) + Data(name.utf8)
                try changed.write(to: URL(fileURLWithPath: file))
            }
        }
        #expect(try Self.snapshotCount(place) == 10)
        let check = try Child.run(["check", "--read-data"], in: place)
        #expect(check.status == 0, "\(check.output)\(check.errors)")
    }

    @Test("Of two backups of one volume at once one waits or is told so, and both leave it whole")
    func oneVolume() throws {
        let place = try Self.makePlace()
        let file = try place.write(Self.image(2_000_000, seed: 2), to: "disk.img")
        var successes = 0
        for _ in 0..<5 {
            let children = try (0..<2).map { _ in
                try Child(["backup", file, "--volume", "d"], in: place)
            }
            let statuses = children.map { $0.wait().status }
            #expect(statuses.contains(0), "\(statuses)")
            #expect(statuses.allSatisfy { $0 == 0 || $0 == 11 }, "\(statuses)")
            successes += statuses.count { $0 == 0 }
        }
        #expect(try Self.snapshotCount(place) == successes)
        #expect(try Child.run(["check", "--read-data"], in: place).status == 0)
    }

    @Test(
        "A full disk gives a clear error, and the next backup succeeds once there is space",
        .enabled(if: geteuid() == 0, "mounting a small file system needs root"))
    func fullDisk() throws {
        let scratch = ScratchDirectory()
        let mount = scratch.path + "/small"
        mkdir(mount, 0o700)
        #expect(Glibc.mount("none", mount, "tmpfs", 0, "size=6m") == 0)
        defer { umount2(mount, Int32(MNT_DETACH)) }
        let place = Place(scratch, path: mount)
        #expect(try Child.run(["init", "--block-size", "4K"], in: place).status == 0)
        var generator = SeededGenerator(seed: 8)
        let small = Data((0..<200_000).map { _ in UInt8.random(in: 0...255, using: &generator) })
        let large = Data((0..<8_000_000).map { _ in UInt8.random(in: 0...255, using: &generator) })
        let file = scratch.path + "/disk.img"
        try small.write(to: URL(fileURLWithPath: file))
        #expect(try Child.run(["backup", file, "--volume", "d"], in: place).status == 0)
        try large.write(to: URL(fileURLWithPath: file))
        for _ in 0..<3 {
            let result = try Child.run(["backup", file, "--volume", "d"], in: place)
            #expect(result.status == 1)
            #expect(
                result.errors.contains("No space left") || result.errors.contains("no space left"),
                "\(result.errors)")
        }
        #expect(Glibc.mount("none", mount, "tmpfs", UInt(MS_REMOUNT), "size=64m") == 0)
        let next = try Child.run(["backup", file, "--volume", "d"], in: place)
        #expect(next.status == 0, "\(next.errors)")
        try Self.expectRestored(place, generation: 1, small, "after")
        try Self.expectRestored(place, generation: 2, large, "after")
        #expect(try Child.run(["check", "--read-data"], in: place).status == 0)
    }

    @Test(
        "An interrupt ends a backup with status 130 and commits nothing, also one that comes twice",
        arguments: [1, 2])
    func interrupted(signalCount: Int) throws {
        let place = try Self.makePlace()
        let pipe = Pipe()
        let child = try Child(
            ["backup", "-", "--volume", "d"], in: place, input: pipe.fileHandleForReading)
        pipe.fileHandleForWriting.write(Data(repeating: 1, count: 60_000))
        // The stream is read from, so the backup is under way: it can only end by the signal.
        while try Self.holdCount(place) == 0 { usleep(2_000) }
        for _ in 0..<signalCount {
            child.process.interrupt()
            usleep(500)
        }
        let result = child.wait()
        #expect(result.status == 130)
        #expect(result.errors.contains("interrupted"), "\(result)")
        #expect(try Self.snapshotCount(place) == 0)
    }

    @Test("A command that is none is answered with the one that is like it")
    func suggestions() throws {
        let place = try Self.makePlace()
        for (words, meant) in [
            (["bakup", "x"], "'backup'"), (["schedule", "instal"], "'install'"),
            (["snapshot"], "'snapshots'"), (["prnue"], "'prune'"), (["frobnicate"], nil),
        ] {
            let result = try Child.run(words, in: place)
            #expect(result.status == 2, "\(result)")
            #expect(result.errors.contains("Did you mean") == (meant != nil), "\(result)")
            if let meant { #expect(result.errors.contains(meant), "\(result)") }
        }
    }

    @Test("An index is rebuilt after a process crashed with it", arguments: [SIGBUS, SIGSEGV])
    func crashed(signal: Int32) throws {
        let place = try Self.makePlace()
        let image = Data((0..<300_000).map { UInt8(truncatingIfNeeded: $0 / 7 &* 31) })
        let file = try place.write(image, to: "disk.img")
        #expect(try Child.run(["backup", file, "--volume", "d"], in: place).status == 0)
        let index = try #require(
            FileManager.default.enumerator(atPath: place.cache)?.allObjects
                .compactMap { $0 as? String }.first { $0.hasSuffix("/index.mdb") })
        let pipe = Pipe()
        let child = try Child(
            ["backup", "-", "--volume", "e"], in: place, input: pipe.fileHandleForReading)
        while try Self.holdCount(place, "e") == 0 { usleep(2_000) }
        // The backup opens the index before its first byte comes.
        pipe.fileHandleForWriting.write(Data(repeating: 1, count: 1 << 22))
        Glibc.kill(child.process.processIdentifier, signal)
        let ended = child.wait()
        #expect(ended.status == signal && ended.errors.contains("rebuilds it"), "\(ended)")
        let path = place.cache + "/" + index
        let before = try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber]
        let next = try Child.run(["backup", file, "--volume", "d", "--json"], in: place)
        #expect(next.status == 0, "\(next)")
        let after = try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber]
        #expect(before as? UInt64 != after as? UInt64)
        let aside = try FileManager.default.attributesOfItem(atPath: path + ".damaged")
        #expect(aside[.systemFileNumber] as? UInt64 == before as? UInt64)
        #expect(try Child.run(["backup", file, "--volume", "d"], in: place).errors.isEmpty)
        let last = try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber]
        #expect(after as? UInt64 == last as? UInt64)
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSinceNow: -8 * 86_400)],
            ofItemAtPath: path + ".damaged")
        for generation in 1...3 {
            try Self.expectRestored(place, generation: generation, image, "\(signal)")
        }
        #expect(!FileManager.default.fileExists(atPath: path + ".damaged"))
    }

    private static func holdCount(_ place: Place, _ volume: String = "d") throws -> Int {
        let directory = place.repository + "/locks/volume.\(volume)"
        return (try? FileManager.default.contentsOfDirectory(atPath: directory))?.count ?? 0
    }

    @Test("A stream is captured and given back through standard output")
    func streams() throws {
        let place = try Self.makePlace()
        for (generation, count) in [1, 4096, 300_001, 17 << 20].enumerated() {
            let image = Self.image(count, seed: UInt64(count))
            let file = try place.write(image, to: "stream")
            let input = try Foundation.FileHandle(forReadingFrom: URL(fileURLWithPath: file))
            let backup = try Child(["backup", "-", "--volume", "s"], in: place, input: input).wait()
            #expect(backup.status == 0, "\(count) bytes: \(backup.errors)")
            let out = place.path + "/out"
            _ = FileManager.default.createFile(atPath: out, contents: nil)
            let target = try Foundation.FileHandle(forWritingTo: URL(fileURLWithPath: out))
            let process = Process()
            process.executableURL = URL(fileURLWithPath: Child.binary)
            process.arguments = ["restore", "s@\(generation + 1)", "-"]
            process.environment = [
                "VARVE_REPOSITORY": place.repository, "VARVE_CACHE_DIR": place.cache,
                "VARVE_STATE_DIR": place.cache + "/states",
            ]
            process.standardOutput = target
            try process.run()
            process.waitUntilExit()
            #expect(process.terminationStatus == 0)
            #expect(try place.read("out") == image, "\(count) bytes")
        }
    }

    private static let statuses: [(arguments: [String], status: Int32)] = [
        (["restore", "d@1", "/dev/null/x"], 1), (["restore", "d@9", "out"], 1),
        (["restore", "nonsense!", "out"], 2), (["backup"], 2), (["frobnicate"], 2),
        (["snapshots", "--repo", "/nonexistent/varve"], 10), (["init"], 1), (["--help"], 0),
        (["version"], 0), (["backup", "/nonexistent/disk"], 1), (["backup", "/proc"], 1),
        (["check", "--read-data-subset", "x"], 2), (["check", "--read-data-subset", "5%"], 0),
        (["diff", "d@1", "d@1"], 0), (["stats"], 0), (["unlock"], 0), (["index", "rebuild"], 0),
        (["completion", "bash"], 0), (["completion", "tcsh"], 2), (["backup", "-"], 1),
        (["restore", "d@0", "out"], 2), (["restore", "@1", "out"], 2),
        (["snapshots", "--tag", "none"], 0),
        (["track", "status"], 0), (["track", "watch"], 0), (["trial", "status", "--json"], 0),
        (["trial", "resume"], 0), (["track"], 2), (["track", "begin"], 2),
        (["track", "begin", "disk.img", "--store", "."], 1),
        (["track", "end", "missing"], 1), (["track", "stop", "missing"], 1),
        (["track", "trim", "disk.img"], 1),
        (["trial", "begin", "disk.img", "--store", ".", "--no-backup"], 1),
        (["trial", "keep", "disk.img", "--no-backup"], 1), (["trial", "discard", "missing"], 1),
    ]

    @Test("Exit statuses say what went wrong", arguments: statuses)
    func exitStatus(arguments: [String], status: Int32) throws {
        let place = try Self.makePlace()
        let file = try place.write(Self.image(50_000, seed: 3), to: "disk.img")
        #expect(try Child.run(["backup", file, "--volume", "d"], in: place).status == 0)
        let result = try Child.run(arguments, in: place)
        #expect(result.status == status, "\(result.output)\(result.errors)")
        if status > 0 {
            #expect(!result.errors.isEmpty)
        }
    }

    @Test("A target that exists is not written unless it was asked for")
    func refusedTarget() throws {
        let place = try Self.makePlace()
        let file = try place.write(Self.image(50_000, seed: 3), to: "disk.img")
        #expect(try Child.run(["backup", file, "--volume", "d"], in: place).status == 0)
        let precious = Data("precious".utf8)
        let target = try place.write(precious, to: "precious")
        let refused = try Child.run(["restore", "d@1", target], in: place)
        #expect(refused.status == 1)
        #expect(refused.errors.contains("--in-place"))
        #expect(try place.read("precious") == precious)
        #expect(try Child.run(["restore", "d@1", target, "--in-place"], in: place).status == 0)
        #expect(try place.read("precious") == place.read("disk.img"))
    }

    @Test("What rots is found, healed by the next backup, and no alarm afterwards")
    func rot() throws {
        let place = try Self.makePlace()
        let file = try place.write(Self.image(5_000_000, seed: 3), to: "disk.img")
        #expect(try Child.run(["backup", file, "--volume", "d"], in: place).status == 0)
        let packs = try FileManager.default.subpathsOfDirectory(atPath: place.repository + "/packs")
        let pack = try #require(packs.first { $0.count > 3 })
        let path = place.repository + "/packs/" + pack
        #expect(chmod(path, 0o600) == 0)
        let badFrames = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        try badFrames.seek(toOffset: 100_000)
        try badFrames.write(contentsOf: Data(repeating: 0x55, count: 64))
        try badFrames.close()

        let restored = try Child.run(["restore", "d@1", place.path + "/out"], in: place)
        #expect(restored.status == 13)
        #expect(restored.errors.contains("is incomplete"))
        let found = try Child.run(["check", "--read-data", "--json"], in: place)
        #expect(found.status == 13)
        #expect(try Self.field("snapshots_lacking_blocks", of: found.output) == 1)
        let backup = try Child.run(["backup", file, "--volume", "d", "--json"], in: place)
        #expect(try Self.field("blocks_changed", of: backup.output) == 0)
        #expect(try Self.field("bytes_stored", of: backup.output) > 2_000)
        for generation in [1, 2] {
            let target = place.path + "/out\(generation)"
            #expect(try Child.run(["restore", "d@\(generation)", target], in: place).status == 0)
            #expect(try place.read("out\(generation)") == place.read("disk.img"))
        }
        let healed = try Child.run(["check", "--read-data", "--json"], in: place)
        #expect(healed.status == 0, "\(healed.output)")
        #expect(try Self.field("harmless_findings", of: healed.output) == 1)
        // The mark lasts, but what it is about is stored already.
        let again = try Child.run(["backup", file, "--volume", "d", "--json"], in: place)
        #expect(try Self.field("bytes_stored", of: again.output) < 2_000)
    }

    @Test("The summary of a restore to standard output goes to standard error")
    func streamSummary() throws {
        let place = try Self.makePlace()
        let file = try place.write(Self.image(50_000, seed: 3), to: "disk.img")
        #expect(try Child.run(["backup", file, "--volume", "d"], in: place).status == 0)
        let result = try Child.run(["restore", "d@latest", "-", "--json"], in: place)
        #expect(result.status == 0)
        #expect(try Self.field("bytes_written", of: result.errors) == 50_000)
    }

    @Test("A dry run says what would be stored, and stores nothing")
    func dryRun() throws {
        let place = try Self.makePlace()
        let file = try place.write(Self.image(500_000, seed: 4), to: "disk.img")
        let dry = try Child.run(
            ["backup", file, "--volume", "d", "--dry-run", "--json"], in: place)
        #expect(dry.status == 0)
        let would = try Self.field("bytes_stored", of: dry.output)
        #expect(try Self.snapshotCount(place) == 0)
        let wet = try Child.run(["backup", file, "--volume", "d", "--json"], in: place)
        let did = try Self.field("bytes_stored", of: wet.output)
        #expect(would > did / 2 && would <= did)
    }

    private static func field(_ name: String, of output: String) throws -> Int {
        let line = try #require(output.split(separator: "\n").last)
        let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        return try #require(object?[name] as? Int)
    }
}
