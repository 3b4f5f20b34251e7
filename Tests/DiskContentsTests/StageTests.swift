import DiskContents
import FileModel
import Glibc
import LinuxIO
import TestKit
import Testing

/// Where files are laid out that are extracted, before they get their names.
@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct StageTests {
    /// Calls setfsuid(2), which the system's module leaves out: it is of this thread alone.
    private static func becomeOwner(_ user: uid_t) throws {
        let symbol = try #require(dlsym(nil, "setfsuid"))
        typealias Function = @convention(c) (uid_t) -> CInt
        _ = unsafeBitCast(symbol, to: Function.self)(user)
    }

    @Test(
        "Where the directory they are made in is another user's, links keep their own facts",
        arguments: [false, true])
    func others(isOthers: Bool) throws {
        let bytes = try DiskContentsTests.image(["-t", "ext4"])
        let image = MemoryImage(bytes)
        let tree = FileTree(try ExtFileSystem(on: image, 0..<image.byteCount))
        let link = try tree.find("/a/absolute")
        let place = try TemporaryDirectory()
        let directory = try DirectoryHandle(path: place.path)
        let user: uid_t = 12345
        try #require(chown(place.path, user, user) == 0)
        // What this thread makes is that user's then, as on a file system that gives all to one user.
        if isOthers { try Self.becomeOwner(user) }
        defer { try? Self.becomeOwner(geteuid()) }
        let extraction = Extraction(tree, isInterrupted: { false }, progress: { _ in })
        _ = try extraction.run(tree.find("/a"), as: Array("a".utf8), in: directory)
        try Self.becomeOwner(geteuid())
        var status = stat()
        try #require(lstat(place.path + "/a/absolute", &status) == 0)
        #expect(status.st_uid == (isOthers ? user : link.user))
        // By its name another link, or what is none, might be reached by then.
        let isSet =
            Int64(status.st_mtim.tv_sec) == link.modified.seconds
            && Int64(status.st_mtim.tv_nsec) == Int64(link.modified.nanoseconds)
        #expect(isSet != isOthers)
    }
}
