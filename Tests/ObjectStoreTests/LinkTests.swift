import Glibc
import LinuxIO
import TestKit
import Testing

@testable import ObjectStore

/// Symbolic links and other things where a store has its objects: none is followed, all are listed.
struct LinkTests {
    private static let bytes: [UInt8] = [1, 2, 3]

    private func expectRefused(_ body: () throws -> Void) {
        let error = #expect(throws: ObjectStoreError.self) { try body() }
        #expect(error?.description.contains("symbolic link") == true, "\(error as Any)")
        #expect(error?.reason != .notFound)
    }

    @Test(
        "A link in an object's place is listed as none, and left alone",
        arguments: StoreKind.inDirectories)
    func linkedObject(kind: StoreKind) throws {
        let home = try kind.make()
        let outside = try TemporaryDirectory()
        try DirectoryStore(path: outside.path).create("object", Self.bytes)
        try home.store.create("packs/aa/x", [9])
        try #require(
            symlink(outside.path + "/object", home.directory().path + "/packs/aa/y") == 0)
        let entries = try home.store.list("packs/")
        #expect(entries.map(\.name) == ["packs/aa/x", "packs/aa/y"])
        #expect(entries.map(\.isObject) == [true, false])
        expectRefused { _ = try home.store.byteCount(of: "packs/aa/y") }
        expectRefused { _ = try home.store.read("packs/aa/y", at: 0, byteCount: 3) }
        expectRefused { try home.store.delete("packs/aa/y") }
        #expect(home.store.isLocked("packs/aa/y") == nil)
        #expect(throws: ObjectStoreError(.alreadyExists, during: .create, of: "packs/aa/y")) {
            try home.store.create("packs/aa/y", [4])
        }
        #expect(try outside.files() == ["object"])
        #expect(try DirectoryStore(path: outside.path).read("object", limit: 9) == Self.bytes)
    }

    @Test("A linked directory is neither entered nor filled", arguments: StoreKind.inDirectories)
    func linkedDirectory(kind: StoreKind) throws {
        let home = try kind.make()
        let outside = try TemporaryDirectory()
        try DirectoryStore(path: outside.path).create("ab/x", Self.bytes)
        try home.store.create("packs/aa/x", [9])
        try #require(symlink(outside.path + "/ab", home.directory().path + "/packs/ab") == 0)
        let entries = try home.store.list("")
        #expect(entries.map(\.name) == ["packs/aa/x", "packs/ab"])
        #expect(entries.map(\.isObject) == [true, false])
        expectRefused { _ = try home.store.list("packs/ab/") }
        expectRefused { _ = try home.store.byteCount(of: "packs/ab/x") }
        expectRefused { _ = try home.store.read("packs/ab/x", at: 0, byteCount: 3) }
        expectRefused { try home.store.delete("packs/ab/x") }
        expectRefused { try home.store.create("packs/ab/new", [1]) }
        expectRefused { try home.store.create("packs/ab/below/new", [1]) }
        expectRefused { _ = try home.store.createLocked("packs/ab/new", [1]) }
        #expect(home.store.isLocked("packs/ab/x") == nil)
        #expect(try outside.files() == ["ab/x"])
    }

    @Test("The directory of the store itself may be a link", arguments: [false, true])
    func linkedRoot(walks: Bool) throws {
        let outside = try TemporaryDirectory()
        try Directory.make(outside.path + "/real")
        try #require(symlink("real", outside.path + "/link") == 0)
        let store = DirectoryStore(path: outside.path + "/link", walksByComponent: walks)
        try store.create("packs/aa/x", Self.bytes)
        #expect(try store.read("packs/aa/x", limit: 9) == Self.bytes)
        #expect(try outside.files() == ["link", "real/packs/aa/x"])
        try store.delete("packs/aa/x")
        #expect(try store.list("") == [])
    }

    @Test("A pipe or socket is not waited for, nor deleted", arguments: StoreKind.inDirectories)
    func pipe(kind: StoreKind) throws {
        let home = try kind.make()
        try home.store.create("config", [1])
        try #require(mkfifo(home.directory().path + "/pipe", 0o600) == 0)
        #expect(try home.store.list("").map(\.isObject) == [true, false])
        for body in [
            { _ = try home.store.read("pipe", at: 0, byteCount: 1) },
            { _ = try home.store.byteCount(of: "pipe") }, { try home.store.delete("pipe") },
        ] {
            let error = #expect(throws: ObjectStoreError.self) { try body() }
            #expect(error?.description.contains("not a regular file") == true)
        }
    }

    @Test("What has the reserve's name and is none is not given up")
    func foreignReserve() throws {
        let directory = try TemporaryDirectory()
        let outside = try TemporaryDirectory()
        let store = DirectoryStore(path: directory.path)
        try DirectoryStore(path: outside.path).create("precious", Self.bytes)
        try #require(symlink(outside.path + "/precious", directory.path + "/reserve") == 0)
        store.fillReserve()
        #expect(store.releaseReserve() == false)
        #expect(try directory.files() == ["reserve"])
        #expect(try outside.files() == ["precious"])
    }

    @Test(
        "Without openat2 a path is held to its components just as with it",
        arguments: [false, true])
    func components(walks: Bool) throws {
        let directory = try TemporaryDirectory()
        try DirectoryStore(path: directory.path).create("a/b/c", Self.bytes)
        try #require(symlink("c", directory.path + "/a/b/link") == 0)
        try #require(symlink("a", directory.path + "/linked") == 0)
        let root = try RootDirectory(directory.path, walksByComponent: walks)
        #expect(try root.openFile("a/b/c").status("c").byteCount == 3)
        for (name, code) in [
            ("a/b/link", ELOOP), ("linked/b/c", ELOOP), ("linked", ELOOP), ("a/b/none", ENOENT),
            ("none/c", ENOENT), ("a/b/c/d", ENOTDIR), ("../x", EXDEV), ("a/../../x", EXDEV),
        ] {
            let error = #expect(throws: SystemError.self, "\(name)") {
                _ = try root.openFile(name)
            }
            #expect(error?.errno == code, "\(name)")
        }
        #expect(try root.directory("a/b")?.status("c")?.byteCount == 3)
        #expect(try root.directory("a/none") == nil)
        #expect(throws: SystemError.self) { _ = try root.directory("linked/b") }
    }
}
