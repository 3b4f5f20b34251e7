import BlockModel
import Glibc
import LinuxIO
import TestKit
import Testing

/// What others can change is refused; each test makes it changeable in one way.
@Suite struct TrustTests {
    private static func reason(_ path: String) -> String? {
        do {
            try Trust.require(path, as: "the configuration")
            return nil
        } catch {
            return "\(error)"
        }
    }

    private static func make(_ path: String, mode: mode_t = 0o600) throws {
        _ = try FileHandle(path, .create)
        try #require(chmod(path, mode) == 0)
    }

    @Test(
        "A file that only its owner can write is trusted if the same holds for its directories"
    )
    func trusted() throws {
        let home = try TemporaryDirectory()
        try Self.make(home.path + "/file", mode: 0o644)
        #expect(Self.reason(home.path + "/file") == nil)
        #expect(Self.reason(home.path) == nil)
        // What is not there yet is judged by where it will be.
        #expect(Self.reason(home.path + "/later/file") == nil)
        #expect(Self.reason("/etc/passwd") == nil)
    }

    @Test(
        "A file that others can write is refused, with its mode",
        arguments: [mode_t(0o602), 0o606, 0o666, 0o777])
    func openFile(_ mode: mode_t) throws {
        let home = try TemporaryDirectory()
        let path = home.path + "/file"
        try Self.make(path, mode: mode)
        let said = try #require(Self.reason(path))
        #expect(said.contains("\(path) has mode \(String(mode, radix: 8))"), "\(said)")
        #expect(said.contains("chmod o-w \(path)"), "\(said)")
    }

    /// As Linux keeps it: its version, then of each entry the kind, the rights and whose they are.
    private static func accessList(forUser user: UInt32) -> [UInt8] {
        let nobody = UInt32.max
        let entries: [(kind: UInt16, rights: UInt16, user: UInt32)] = [
            (1, 6, nobody), (2, 6, user), (4, 4, nobody), (0x10, 6, nobody), (0x20, 0, nobody),
        ]
        var list: [UInt8] = [2, 0, 0, 0]
        for entry in entries {
            withUnsafeBytes(of: entry.kind.littleEndian) { list += $0 }
            withUnsafeBytes(of: entry.rights.littleEndian) { list += $0 }
            withUnsafeBytes(of: entry.user.littleEndian) { list += $0 }
        }
        return list
    }

    @Test(
        "A list of rights by which one more user can write is seen behind a group that is trusted",
        .enabled(if: geteuid() == 0, "needs root, whose group has no other members"))
    func accessList() throws {
        let home = try TemporaryDirectory()
        let path = home.path + "/file"
        let file = try DirectoryHandle(path: home.path).createFile(Array("file".utf8))
        try file.setMode(0o660)
        #expect(Self.reason(path) == nil)
        let refusal = try file.setAttribute(
            ByteString(bytes: "system.posix_acl_access".utf8),
            Self.accessList(forUser: 12_345))
        try #require(refusal == nil)
        #expect(Self.reason(path)?.contains("has mode 660") == true)
    }

    @Test("A directory above that others can write is refused, also for what is not there yet")
    func openDirectory() throws {
        let home = try TemporaryDirectory()
        try Directory.makeAll(home.path + "/a/b")
        try Self.make(home.path + "/a/b/file")
        try #require(chmod(home.path + "/a", 0o777) == 0)
        for path in ["/a/b/file", "/a/b", "/a", "/a/later", "/a/b/../b/file", "/a/./b/file"] {
            let said = Self.reason(home.path + path)
            #expect(said?.contains("\(home.path)/a has mode 777") == true, "\(path): \(said ?? "")")
        }
        // By the sticky bit nobody takes away what is another's.
        try #require(chmod(home.path + "/a", 0o1777) == 0)
        #expect(Self.reason(home.path + "/a/b/file") == nil)
        #expect(Self.reason(home.path + "/a/later") == nil)
        #expect(Self.reason(home.path + "/a") != nil)
    }

    @Test("A link is followed, and the directory that holds it has to be as safe as where it leads")
    func links() throws {
        let home = try TemporaryDirectory()
        for name in ["open", "closed"] { try Directory.make("\(home.path)/\(name)") }
        try Self.make(home.path + "/closed/file")
        try Self.make(home.path + "/open/file")
        try #require(symlink("../open/file", home.path + "/closed/out") == 0)
        try #require(symlink("\(home.path)/closed/file", home.path + "/open/in") == 0)
        try #require(symlink("loop", home.path + "/loop") == 0)
        #expect(Self.reason(home.path + "/closed/out") == nil)
        #expect(Self.reason(home.path + "/open/in") == nil)
        try #require(chmod(home.path + "/open", 0o757) == 0)
        #expect(Self.reason(home.path + "/closed/out")?.contains("/open has mode 757") == true)
        #expect(Self.reason(home.path + "/open/in")?.contains("/open has mode 757") == true)
        #expect(Self.reason(home.path + "/loop") != nil)
    }

    @Test("A group that has other members may not write; one of this user alone may")
    func groups() throws {
        let home = try TemporaryDirectory()
        let path = home.path + "/file"
        try Self.make(path, mode: 0o660)
        guard geteuid() == 0 else { return }
        #expect(Self.reason(path) == nil)
        // A group that nobody knows may have any members.
        try #require(chown(path, 0, 54_321) == 0)
        #expect(Self.reason(path)?.contains("mode 660, so group 54321 can change it") == true)
    }

    @Test("What belongs to another user is refused", .enabled(if: geteuid() == 0, "needs root"))
    func foreign() throws {
        let home = try TemporaryDirectory()
        let path = home.path + "/folder/file"
        try Directory.make(home.path + "/folder")
        try Self.make(path)
        try #require(chown(path, 54_321, 0) == 0)
        #expect(Self.reason(path)?.contains("(mode 600) belongs to user 54321") == true)
        try #require(chown(path, 0, 0) == 0)
        #expect(Self.reason(path) == nil)
        try #require(chown(home.path + "/folder", 54_321, 0) == 0)
        #expect(Self.reason(path)?.contains("/folder (mode 700) belongs to user 54321") == true)
        // Also with the sticky bit, which does not bind the owner.
        try #require(chmod(home.path + "/folder", 0o1777) == 0)
        #expect(Self.reason(path)?.contains("belongs to user 54321") == true)
    }

    @Test("A program is refused as a file is, and the script of an interpreter with it")
    func programs() throws {
        let home = try TemporaryDirectory()
        let script = home.path + "/script"
        try Self.make(script, mode: 0o777)
        func isRefused(_ arguments: String...) -> Bool {
            do {
                try Trust.require(program: arguments, as: "the program")
                return false
            } catch {
                return true
            }
        }
        #expect(isRefused(script))
        #expect(isRefused("/bin/sh", script))
        #expect(!isRefused("/bin/sh", "-c", "true"))
        #expect(!isRefused("true"))
        try #require(chmod(script, 0o755) == 0)
        #expect(!isRefused(script) && !isRefused("/bin/sh", script))
    }
}
