import Glibc
import LinuxIO
import TestKit
import Testing

@testable import ObjectStore

struct DirectoryStoreTests {
    @Test("Files that begin with a dot are no objects")
    func hiddenFiles() throws {
        let directory = try TemporaryDirectory()
        let store = DirectoryStore(path: directory.path)
        try store.create("packs/aa/x", [1])
        for path in ["/.tmp-1", "/packs/.tmp-2", "/packs/aa/.tmp-3"] {
            try FileHandle(directory.path + path, .create).close(path)
        }
        #expect(try store.list("").map(\.name) == ["packs/aa/x"])
    }

    @Test("A name cannot lead out of the store", arguments: [false, true])
    func namesStayInside(walks: Bool) throws {
        let directory = try TemporaryDirectory()
        try DirectoryStore(path: directory.path).create("outside", [1])
        try Directory.make(directory.path + "/inner")
        let inner = DirectoryStore(path: directory.path + "/inner", walksByComponent: walks)
        #expect(throws: ObjectStoreError(.badName, during: .read, of: "../outside")) {
            try inner.read("../outside", limit: 10)
        }
        #expect(throws: ObjectStoreError(.badName, during: .delete, of: "../outside")) {
            try inner.delete("../outside")
        }
        #expect(try directory.files() == ["outside"])
    }

    @Test("When a file was written last is when its object was stored")
    func storedSeconds() throws {
        let directory = try TemporaryDirectory()
        let store = DirectoryStore(path: directory.path)
        try store.create("packs/x", [1])
        let times = [timespec(tv_sec: 5, tv_nsec: 0), timespec(tv_sec: 1_234_567, tv_nsec: 0)]
        try #require(utimensat(AT_FDCWD, directory.path + "/packs/x", times, 0) == 0)
        #expect(try store.list("").map(\.storedSeconds) == [1_234_567])
    }

    @Test("A durable deletion waits for its directory, although the object is not there any more")
    func durableDeletionOfNothing() throws {
        // A directory that cannot be made durable.
        let store = DirectoryStore(path: "/proc/self")
        try store.delete("none", .eventual)
        #expect(throws: ObjectStoreError.self) { try store.delete("none", .durable) }
    }

    @Test(
        "What a way of creating objects leaves on the way is no object",
        arguments: FileCreation.allCases)
    func temporaryFiles(creation: FileCreation) throws {
        let directory = try TemporaryDirectory()
        let store = DirectoryStore(path: directory.path, creation: creation)
        let writer = try store.begin("packs/x")
        let during = try directory.files()
        // Only a file that has a name is seen.
        #expect(during.map { $0.hasPrefix("packs/.tmp-") } == (creation == .unnamed ? [] : [true]))
        #expect(try store.list("") == [])
        try writer.finish()
        #expect(try store.list("").map(\.name) == ["packs/x"])
    }

    @Test("A store without a directory has no objects, and says so")
    func missingDirectory() throws {
        let directory = try TemporaryDirectory()
        let store = DirectoryStore(path: directory.path + "/none")
        #expect(try store.list("") == [])
        #expect(throws: ObjectStoreError(.notFound, during: .read, of: "config")) {
            try store.byteCount(of: "config")
        }
    }

    @Test(
        "What the kernel says becomes the store's own word",
        arguments: [
            (2, .notFound), (20, .notFound), (17, .alreadyExists), (13, .denied), (1, .denied),
            (30, .denied), (28, .noSpace), (122, .noSpace), (110, .timedOut),
            (5, .failed("Input/output error")),
        ] as [(Int32, ObjectStoreError.Reason)])
    func reasons(code: Int32, reason: ObjectStoreError.Reason) {
        let error = SystemError(.read, "/r/config", errno: code)
        let translated = ObjectStoreError(error, during: .read, of: "config")
        #expect(translated == ObjectStoreError(reason, during: .read, of: "config"))
        #expect(translated.isTransient == (reason == .timedOut))
    }
}
