import BlockModel
import DiskContents
import FileModel
import Foundation
import Synchronization
import TestKit
import Testing

/// An image in memory.
final class MemoryImage: ImageBytes {
    let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var byteCount: UInt64 { UInt64(bytes.count) }

    func read(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        guard offset <= byteCount, UInt64(target.count) <= byteCount - offset else {
            throw ContentsError(.damaged, "past the end")
        }
        bytes.withUnsafeBytes {
            target.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: $0[Int(offset)...].prefix(target.count)))
        }
    }
}

/// Files are read from file systems that mke2fs made, and from what is none.
@Suite struct DiskContentsTests {
    @discardableResult
    static func run(_ words: String..., directory: String = "/") throws -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        process.currentDirectoryURL = URL(fileURLWithPath: directory)
        process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }

    /// A directory with a bit of everything, and a file system of it.
    static func image(_ options: [String], mebibytes: Int = 16) throws -> [UInt8] {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "varve-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let tree = folder.appendingPathComponent("tree")
        try FileManager.default.createDirectory(
            at: tree.appendingPathComponent("a/b/c"), withIntermediateDirectories: true)
        func write(_ bytes: [UInt8], _ path: String) throws {
            try Data(bytes).write(to: tree.appendingPathComponent(path))
        }
        try write([], "empty")
        try write(Array("short".utf8), "a/short")
        try write((0..<300_000).map { UInt8(truncatingIfNeeded: $0 / 7) }, "a/b/long")
        for number in 0..<300 { try write([UInt8(number % 256)], "a/b/c/file \(number)") }
        for (name, target) in [
            ("up", "../a/short"), ("a/absolute", "/a/b/long"), ("a/b/round", "round"),
            ("out", "../../../a/short"), ("far", String(repeating: "./a/../", count: 40) + "a"),
        ] {
            try FileManager.default.createSymbolicLink(
                atPath: tree.appendingPathComponent(name).path, withDestinationPath: target)
        }
        let image = folder.appendingPathComponent("image")
        #expect(FileManager.default.createFile(atPath: image.path, contents: nil))
        try FileHandle(forWritingTo: image).truncate(atOffset: UInt64(mebibytes) << 20)
        let status = try run(
            "sh", "-c", "mke2fs -q -F \(options.joined(separator: " ")) -d tree image",
            directory: folder.path)
        try #require(status == 0)
        return [UInt8](try Data(contentsOf: image))
    }

    private static func tree(_ bytes: [UInt8]) throws -> FileTree {
        let image = MemoryImage(bytes)
        return FileTree(try ExtFileSystem(on: image, 0..<image.byteCount))
    }

    static func content(_ tree: FileTree, _ path: String) throws -> [UInt8] {
        let file = try tree.find(path, followsLast: true)
        var content = [UInt8](repeating: 0, count: Int(file.byteCount))
        try tree.system.forEachPiece(of: file) { offset, bytes in
            for index in 0..<bytes.byteCount {
                content[Int(offset) + index] = bytes.unsafeLoad(
                    fromByteOffset: index, as: UInt8.self)
            }
        }
        return content
    }

    @Test(
        "Paths, links and content are read from every kind of ext file system",
        arguments: [
            ["-t", "ext2", "-b", "1024"], ["-t", "ext3"], ["-t", "ext4"],
            ["-t", "ext4", "-O", "inline_data,metadata_csum_seed"],
            ["-t", "ext4", "-O", "^extents,^64bit,^metadata_csum"],
            ["-t", "ext4", "-b", "4096", "-I", "128", "-O", "^64bit"],
        ])
    func kinds(_ options: [String]) throws {
        let tree = try Self.tree(Self.image(options))
        let long = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
        #expect(try Self.content(tree, "/a/b/long") == long)
        #expect(try Self.content(tree, "a//b/../b/./long") == long)
        #expect(try Self.content(tree, "/a/absolute") == long)
        for path in ["/a/short", "/up", "/out", "/far/short"] {
            #expect(try Self.content(tree, path) == Array("short".utf8), "\(path)")
        }
        #expect(try Self.content(tree, "/empty").isEmpty)
        #expect(try tree.find("/up").kind == .symbolicLink)
        let files = try tree.system.entries(of: tree.find("/a/b/c").number)
        #expect(files.count == 300)
        #expect(try Self.content(tree, "/a/b/c/file 259") == [3])
        for path in ["/nothing", "/a/short/x", "/a/b/c/file", "/a/b/round/"] {
            #expect(throws: ContentsError.self, "\(path)") {
                try tree.find(path, followsLast: true)
            }
        }
        var paths: Set<String> = []
        try tree.walk(tree.find("/")) { path, _ in
            paths.insert(String(decoding: path, as: UTF8.self))
        }
        #expect(paths.count == 3 + 1 + 2 + 300 + 5 + 1)
        #expect(paths.contains("a/b/c/file 0"))
    }

    @Test("Names are told apart by their bytes, whatever they look like")
    func names() throws {
        let folder = try TemporaryDirectory()
        let script = #"""
            mkdir tree; cd tree
            printf bytes >$'a\xff'; printf text >$'a\xef\xbf\xbd'
            printf one >$'\xc3\xa9'; printf two >$'e\xcc\x81'; mkdir x; printf mark >x/$'\xcc\x81y'
            setfattr -n $'user.n\xff' -v v x 2>/dev/null || touch ../none
            cd ..; truncate -s 4M image; mke2fs -q -F -d tree image
            """#
        try #require(Self.run("bash", "-euc", script, directory: folder.path) == 0)
        let tree = try Self.tree(
            [UInt8](Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/image"))))
        func content(_ name: [UInt8]) throws -> String {
            let inode = try tree.find(ByteString(bytes: name))
            var text = ""
            try tree.system.forEachPiece(of: inode) { _, bytes in
                text += String(
                    decoding: [UInt8](copying: bytes).prefix(Int(inode.byteCount)), as: UTF8.self)
            }
            return text
        }
        #expect(try content([0x61, 0xFF]) == "bytes")
        #expect(try content(Array("a\u{FFFD}".utf8)) == "text")
        #expect(try content(Array("é".utf8)) == "one")
        #expect(try content(Array("e\u{301}".utf8)) == "two")
        #expect(try content(Array("/x/\u{301}y".utf8)) == "mark")
        #expect(throws: ContentsError.self) { try content([0x61, 0xFE]) }
        if !FileManager.default.fileExists(atPath: "\(folder.path)/none") {
            let attributes = try tree.system.attributes(of: tree.find("/x"))
            #expect(attributes.map(\.name).contains(ByteString(bytes: "user.n".utf8 + [0xFF])))
        }
    }

    @Test("What is no file system is refused")
    func noFileSystem() throws {
        for bytes in [
            [], [UInt8](repeating: 0, count: 1 << 20), [UInt8](repeating: 0xff, count: 4096),
        ] {
            #expect(throws: ContentsError.self) { try Self.tree(bytes) }
        }
    }

    @Test(
        "A damaged file system gives errors, never a crash, a hang or a way out",
        .timeLimit(.minutes(60)))
    func damaged() throws {
        let whole = try Self.image(["-t", "ext4", "-O", "inline_data"], mebibytes: 4)
        let used = try Self.image(["-t", "ext2", "-b", "1024"], mebibytes: 4)
        var generator = SeededGenerator(seed: 3)
        var failures = 0
        for round in 0..<400 {
            var bytes = round % 2 == 0 ? whole : used
            // Superblock, group descriptors, tables of inodes, directories: all lie at the beginning.
            for _ in 0..<1 + Int(generator.next() % 30) {
                let limit: UInt64 = round % 4 < 2 ? 400_000 : 1_500_000
                let position = 1024 + Int(generator.next() % limit)
                bytes[position] = UInt8(truncatingIfNeeded: generator.next())
            }
            do {
                let tree = try Self.tree(bytes)
                var count = 0
                try tree.walk(tree.find("/")) { path, inode in
                    count += 1
                    #expect(!path.contains(0) && !path.starts(with: [0x2f]))
                    guard inode.kind == .file || inode.kind == .symbolicLink else { return }
                    do {
                        try tree.system.forEachPiece(of: inode) { _, _ in }
                        _ = try tree.system.attributes(of: inode)
                    } catch {
                        failures += 1
                    }
                }
                #expect(count < 100_000)
            } catch {
                failures += 1
            }
        }
        #expect(failures > 20)
    }

    @Test("Partitions of a GPT, and of an MBR with logical ones, are found with what they hold")
    func partitions() throws {
        let ext = try Self.image(["-t", "ext4"])
        for (label, lines, number) in [
            ("gpt", "size=1M\nsize=16M\nsize=2M\n", 2),
            ("dos", "size=1M\nsize=1M\nsize=1M\ntype=5,size=30M\nsize=2M\nsize=17M\n", 6),
        ] {
            let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
                "varve-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: folder) }
            let status = try Self.run(
                "sh", "-c",
                "truncate -s 48M d && printf 'label: \(label)\\n\(lines)' | sfdisk -q d",
                directory: folder.path)
            try #require(status == 0)
            var bytes = [UInt8](try Data(contentsOf: folder.appendingPathComponent("d")))
            let before = try PartitionTable(of: MemoryImage(bytes)).partitions
            let place = try #require(before.first { $0.number == number })
            bytes.replaceSubrange(
                Int(place.bytes.lowerBound)..<Int(place.bytes.lowerBound) + ext.count, with: ext)
            let found = try PartitionTable(of: MemoryImage(bytes)).partitions
            #expect(found.map(\.number) == before.map(\.number))
            let partition = try #require(found.first { $0.number == number })
            #expect(partition.type == "ext4")
            let tree = FileTree(try ExtFileSystem(on: MemoryImage(bytes), partition.bytes))
            #expect(try Self.content(tree, "/a/short") == Array("short".utf8))
            // Any damage gives a table, or none.
            var generator = SeededGenerator(seed: 9)
            for _ in 0..<60 {
                var damaged = bytes
                for _ in 0..<1 + Int(generator.next() % 8) {
                    damaged[Int(generator.next() % 20_000)] = UInt8(
                        truncatingIfNeeded: generator.next())
                }
                for partition in try PartitionTable(of: MemoryImage(damaged)).partitions {
                    #expect(partition.bytes.upperBound <= UInt64(damaged.count))
                }
            }
        }
        let bare = try PartitionTable(of: MemoryImage(ext)).partitions
        #expect(bare.map(\.type) == ["ext4"] && bare[0].number == nil)
    }
}
