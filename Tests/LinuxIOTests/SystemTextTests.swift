import BlockModel
import Glibc
import LinuxIO
import TestKit
import Testing

/// Names that are no text reach the system, and come back, as they are.
struct SystemTextTests {
    private static let names: [[UInt8]] =
        [
            "plain", "é", "e\u{301}", "\u{301}x", "\u{FFFD}", "\u{10FF41}", "a\\xff", "new\nline",
        ].map { Array($0.utf8) } + [[0x61, 0xFF], [0xFE], [0xC3], [0xED, 0xA0, 0x80]]

    @Test("Files are made, found, listed, renamed and removed under each name")
    func files() throws {
        let folder = try TemporaryDirectory()
        for name in Self.names {
            let carrier = ByteString(bytes: name).carrier
            let path = "\(folder.path)/\(carrier)"
            try FileOperation.replace(path, with: name.rawSpan)
            // What the system has is told by a call that knows nothing of carriers.
            let raw = Array(folder.path.utf8) + [0x2F] + name + [0]
            #expect(access(raw.map(CChar.init(bitPattern:)), R_OK) == 0)
            #expect(try FileStatus(path: path)?.byteCount == UInt64(name.count))
            #expect(Directory.baseName(of: path).utf8.elementsEqual(carrier.utf8))
            #expect(Directory.parent(of: path).utf8.elementsEqual(folder.path.utf8))
            #expect(Directory.resolve(path)?.utf8.elementsEqual(path.utf8) == true)
            #expect(Directory.text(of: path).map { ByteString(carrying: $0).bytes } == name)
            try Directory.makeAll("\(path).d/\(carrier)")
            #expect(
                try Directory.names(in: "\(path).d")?.map { ByteString(carrying: $0).bytes } == [
                    name
                ])
        }
        let found = try Directory.names(in: folder.path)?.map { ByteString(carrying: $0) } ?? []
        #expect(
            Set(found)
                == Set(
                    Self.names.flatMap {
                        [ByteString(bytes: $0), ByteString(bytes: $0 + [0x2E, 0x64])]
                    }))
        for name in Self.names {
            try FileOperation.remove("\(folder.path)/\(ByteString(bytes: name).carrier)")
        }
        #expect(try Directory.names(in: folder.path)?.count == Self.names.count)
    }

    @Test("Fields of the kernel's tables are the names that they stand for")
    func tables() {
        for name in Self.names {
            let field = name.flatMap { byte in
                byte <= 0x20 || byte == 0x5C
                    ? Array("\\\(String(Int(byte) + 512, radix: 8).suffix(3))".utf8) : [byte]
            }
            let carrier = ByteString(bytes: field).carrier
            #expect(ByteString(carrying: carrier[...].tableField).bytes == name)
        }
        #expect(("a\\1\\400b\\" as Substring).tableField == "a\\1\\400b\\")
    }

    @Test("Programs get arguments and variables as they are")
    func programs() throws {
        for name in Self.names {
            let (reader, writer) = try Pipe.open()
            let carrier = ByteString(bytes: name).carrier
            let child = try ChildProcess(
                ["/bin/sh", "-c", #"printf '%s|%s' "$1" "$VARVE_NAME""#, "sh", carrier],
                environment: ["VARVE_NAME": carrier], output: writer.descriptor)
            #expect(child.wait() == 0)
            withExtendedLifetime(writer) {}
            #expect(try reader.read(4096, milliseconds: 10_000) == name + [0x7C] + name)
        }
    }

    @Test("What has a zero in it is the name of nothing")
    func zero() throws {
        #expect(try FileStatus(path: "/\0/") == nil)
        #expect(try FileStatus(path: "/tmp\0x") == nil)
    }
}
