import DiskContents
import FileModel
import Foundation
import TestKit
import Testing

/// FAT and NTFS, read by the program that does it.
@Suite struct ConfinedFileSystemTests {
    /// What the package builds beside the tests.
    static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("varve-file-reader").path

    private static let long = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 / 7) }

    enum Kind: String, CaseIterable {
        case fat12 = "mkfs.vfat -F 12 -C image 3000"
        case fat16 = "mkfs.vfat -F 16 -C image 12000"
        case fat32 = "mkfs.vfat -F 32 -s 1 -C image 36000"
        case ntfs = "truncate -s 6M image && mkntfs -F -Q -q image"

        var partitionType: String { self == .ntfs ? "ntfs" : "vfat" }
    }

    /// A file system with some files, made without root.
    private static func image(_ kind: Kind) throws -> [UInt8] {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "varve-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(long).write(to: folder.appendingPathComponent("long"))
        let fill =
            kind == .ntfs
            ? "ntfscp -q image long 'Ein längerer Name.bin' && ntfscp -q image short short.txt"
            : """
            mmd -i image ::/A ::/A/b ::/A/b/many
            mcopy -i image long ::/A/b/'Ein längerer Name.bin'
            mcopy -i image short ::/short.txt
            mcopy -i image short ::/gone.txt
            for i in $(seq 300); do cp short "file $i"; done
            mcopy -i image file* ::/A/b/many
            mdel -i image ::/gone.txt ::/A/b/many/'file 7'
            fatlabel image LABEL
            """
        let script = "export LC_ALL=C.UTF-8; printf short >short; \(kind.rawValue); \(fill)"
        try #require(
            DiskContentsTests.run("sh", "-euc", script, directory: folder.path) == 0,
            "\(kind) cannot be made")
        return [UInt8](try Data(contentsOf: folder.appendingPathComponent("image")))
    }

    private static func tree(_ bytes: [UInt8], _ kind: Kind) throws -> FileTree {
        let image = MemoryImage(bytes)
        let partition = try #require(try PartitionTable(of: image).partitions.first)
        #expect(partition.type == kind.partitionType)
        return FileTree(
            try ConfinedFileSystem(
                on: image, partition.bytes, type: partition.type, program: program))
    }

    @Test("Names, paths and content are read; what was deleted is not", arguments: Kind.allCases)
    func kinds(_ kind: Kind) throws {
        let tree = try Self.tree(Self.image(kind), kind)
        let folder = kind == .ntfs ? "" : "/A/b"
        #expect(try DiskContentsTests.content(tree, "\(folder)/Ein längerer Name.bin") == Self.long)
        #expect(try DiskContentsTests.content(tree, "\(folder)/EIN LÄNGERER name.BIN") == Self.long)
        #expect(try DiskContentsTests.content(tree, "/short.txt") == Array("short".utf8))
        #expect(abs(try tree.find("/short.txt").modified.seconds - Int64(time(nil))) < 600)
        #expect(throws: ContentsError.self) { try tree.find("/gone.txt") }
        var paths: Set<String> = []
        try tree.walk(tree.find("/")) { path, _ in
            paths.insert(String(decoding: path, as: UTF8.self))
        }
        var names: Set<String> = [
            "short.txt", String("\(folder)/Ein längerer Name.bin".dropFirst()),
        ]
        if kind != .ntfs {
            names.formUnion(["A", "A/b", "A/b/many"])
            names.formUnion((1...300).filter { $0 != 7 }.map { "A/b/many/file \($0)" })
        }
        #expect(paths == names)
        // What was read is read again, from a reader that forgot all.
        tree.system.forget()
        #expect(try DiskContentsTests.content(tree, "\(folder)/Ein längerer Name.bin") == Self.long)
    }

    @Test(
        "Damage gives errors that say so, whatever it does to the reader", arguments: Kind.allCases)
    func damaged(_ kind: Kind) throws {
        let whole = try Self.image(kind)
        // Where there is anything: structures, and some content.
        let places = stride(from: 0, to: whole.count, by: 512).filter { start in
            whole[start..<start + 512].contains { $0 != 0 }
        }
        var generator = SeededGenerator(seed: 41)
        var failures = 0
        var readCount = 0
        for round in 0..<40 {
            var bytes = whole
            for _ in 0..<(1 << (round % 10)) {
                let place = places[Int(generator.next() % UInt64(places.count))]
                bytes[place + Int(generator.next() % 512)] = UInt8(
                    truncatingIfNeeded: generator.next())
            }
            let image = MemoryImage(bytes)
            do {
                let tree = FileTree(
                    try ConfinedFileSystem(
                        on: image, 0..<image.byteCount, type: kind.partitionType,
                        program: Self.program))
                var count = 0
                try tree.walk(tree.find("/")) { _, inode in
                    count += 1
                    guard count < 2000 else { throw ContentsError(.damaged, "enough") }
                    var byteCount = 0
                    do {
                        try tree.system.forEachPiece(of: inode) { _, bytes in
                            byteCount += bytes.byteCount
                            if byteCount > 8 << 20 { throw ContentsError(.damaged, "enough") }
                        }
                        _ = try tree.system.attributes(of: inode)
                        readCount += 1
                    } catch is ContentsError {
                        failures += 1
                    }
                }
            } catch is ContentsError {
                failures += 1
            }
        }
        #expect(failures > 0)
        #expect(readCount > 0)
    }

    @Test(
        "A reader that ends, hangs, or says what makes no sense, is an error",
        arguments: [
            "exit 0", "exit 3", "kill -SEGV $$", "sleep 100", "exec yes >&0", "exec cat <&0 >&0",
        ])
    func otherPrograms(_ script: String) throws {
        let folder = try TemporaryDirectory()
        let program = "\(folder.path)/reader"
        try Self.install("#!/bin/sh\n\(script)\n", as: program)
        let image = MemoryImage([UInt8](repeating: 0, count: 1 << 20))
        #expect(throws: ContentsError.self) {
            try ConfinedFileSystem(
                on: image, 0..<image.byteCount, type: "ntfs", program: program, patience: 500)
        }
        #expect(throws: (any Error).self) {
            try ConfinedFileSystem(
                on: image, 0..<image.byteCount, type: "ntfs", program: "/nowhere/at/all")
        }
    }

    /// A reader in Python, which opens what it is given as it should, and has `message` to answer with.
    private static func reader(_ script: String, in folder: TemporaryDirectory) throws -> String {
        let program = "\(folder.path)/reader"
        let text = """
            #!/usr/bin/python3
            socket, struct = (__import__(name) for name in ("socket", "struct"))
            s = socket.socket(fileno=0)
            def ask():
                kind, count = struct.unpack("<II24x", s.recv(32, socket.MSG_WAITALL))
                if count: s.recv(count, socket.MSG_WAITALL)
                return kind
            def message(kind, payload=b"", number=0, offset=0, count=0):
                head = struct.pack("<IIQQII", kind, len(payload), number, offset, 0, count)
                return head + payload
            def entry(number, name, kind=1):
                return struct.pack("<QIHH", number, 0, kind, len(name)) + name
            def inode(kind):
                return struct.pack("<Q24x3IIIIII", 0, 0, 0, 0, 1, kind, 0, 0, 0)
            ask()
            s.sendall(message(20, number=5))
            \(script)
            """
        try install(text, as: program)
        return program
    }

    /// Makes a program; another process writes it, because a child that is started meanwhile would keep it
    /// open, and a file that is open to be written cannot be run.
    private static func install(_ text: String, as program: String) throws {
        let source = program + ".text"
        try Data(text.utf8).write(to: URL(fileURLWithPath: source))
        try #require(
            DiskContentsTests.run("install", "-m", "755", source, program, directory: "/") == 0)
    }

    @Test(
        "A reader that never finishes is ended, whatever it sends",
        .timeLimit(.minutes(60)),
        arguments: [
            // Requests of nothing, and of next to nothing.
            "while True: s.sendall(message(16) * 1000)",
            "while True: s.sendall(message(16, count=1)); s.recv(33, socket.MSG_WAITALL)",
            // Lists: of nothing, of one name for ever, and of what is no name and then for ever.
            "ask()\nwhile True: s.sendall(message(18) * 1000)",
            "ask()\nwhile True: s.sendall(message(18, entry(7, b'a') * 40) * 100)",
            "ask()\ns.sendall(message(18, entry(7, b'/')))\nwhile True: s.sendall(message(18) * 1000)",
            // A byte now and then.
            "time = __import__('time')\nask()\nfor b in message(20) * 99: s.sendall(bytes([b])); time.sleep(0.1)",
        ])
    func endless(_ script: String) throws {
        let folder = try TemporaryDirectory()
        let program = try Self.reader(script, in: folder)
        let image = MemoryImage([UInt8](repeating: 0, count: 1 << 20))
        let system = try ConfinedFileSystem(
            on: image, 0..<image.byteCount, type: "ntfs", program: program, patience: 2_000)
        #expect(throws: ContentsError.self) { try system.entries(of: 5) }
        // It is not asked again.
        #expect(throws: ContentsError.self) { try system.inode(5) }
    }

    @Test("A reader that makes up directories without end is ended", .timeLimit(.minutes(60)))
    func endlessTree() throws {
        let folder = try TemporaryDirectory()
        let program = try Self.reader(
            """
            n = 5
            while True:
                kind = ask()
                if kind == 3: s.sendall(message(17, inode(2)))
                if kind == 4:
                    n += 1
                    s.sendall(message(18, entry(n, b"d", 2)) + message(20))
            """, in: folder)
        let image = MemoryImage([UInt8](repeating: 0, count: 1 << 10))
        let tree = FileTree(
            try ConfinedFileSystem(
                on: image, 0..<image.byteCount, type: "ntfs", program: program))
        #expect(throws: ContentsError.self) {
            try tree.walk(tree.find("/")) { _, _ in }
        }
    }

    @Test("Confined, it has its socket and memory of its own, and nothing else")
    func confinement() throws {
        let folder = try TemporaryDirectory()
        let path = "\(folder.path)/file"
        try Data(count: 8192).write(to: URL(fileURLWithPath: path))
        let file = FileHandle(forUpdatingAtPath: path)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.program).deletingLastPathComponent()
            .appendingPathComponent("reader-probe")
        process.standardInput = file
        try process.run()
        process.waitUntilExit()
        // The number of what is not as it must be: see the program.
        #expect(process.terminationStatus == 0)
    }
}
