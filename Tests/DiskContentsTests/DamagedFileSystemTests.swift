import DiskContents
import FileModel
import Foundation
import TestKit
import Testing

/// The damaged file systems of e2fsprogs' own tests, each with a fault of its own.
@Suite struct DamagedFileSystemTests {
    private struct Enough: Error {}

    private static let byteLimit = 16 << 20

    /// Reads all that there is; what cannot be read is an error, and no more.
    private func readAll(_ tree: FileTree, _ failures: inout Int) throws {
        var found = 0
        try tree.walk(tree.find("/")) { _, inode in
            found += 1
            guard found < 50_000 else { throw Enough() }
            do {
                var byteCount = 0
                if inode.kind == .file || inode.kind == .symbolicLink {
                    try tree.system.forEachPiece(of: inode) { _, bytes in
                        byteCount += bytes.byteCount
                        if byteCount > Self.byteLimit { throw Enough() }
                    }
                }
                _ = try tree.system.attributes(of: inode)
            } catch is ContentsError {
                failures += 1
            } catch is Enough {}
        }
    }

    @Test(
        "No damaged file system of e2fsprogs harms what reads or compares it",
        .timeLimit(.minutes(60)))
    func images() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "varve-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../tools/rig/fetch-e2fsprogs-images").standardized.path
        try #require(
            DiskContentsTests.run(script, folder.path) == 0,
            "the images cannot be fetched; run tools/rig/fetch-e2fsprogs-images by hand")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        try #require(names.count > 150)
        var openedCount = 0
        var comparedCount = 0
        var failures = 0
        for name in names {
            let path = folder.appendingPathComponent(name)
            let damaged = MemoryImage([UInt8](try Data(contentsOf: path)))
            _ = try DiskContentsTests.run("e2fsck", "-fy", path.path)
            let mended = MemoryImage([UInt8](try Data(contentsOf: path)))
            _ = try PartitionTable(of: damaged)
            do {
                let before = try ExtFileSystem(on: damaged, 0..<damaged.byteCount)
                openedCount += 1
                try readAll(FileTree(before), &failures)
                let after = try ExtFileSystem(on: mended, 0..<mended.byteCount)
                try readAll(FileTree(after), &failures)
                for (a, b) in [(before, after), (after, before)] {
                    var difference = try FileDifference(
                        from: a, to: b, changed: [0..<max(damaged.byteCount, mended.byteCount)])
                    _ = try difference.find()
                    comparedCount += 1
                }
            } catch is ContentsError {
                failures += 1
            } catch is Enough {}
        }
        #expect(openedCount > 100, "\(openedCount) of \(names.count) opened")
        #expect(comparedCount > 100, "\(comparedCount) compared")
        #expect(failures > 20)
    }
}
