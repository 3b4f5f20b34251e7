import BlockModel
import LinuxIO
import SnapshotService
import TestKit
import Testing
import Workflows

struct ChangedExtentsFileTests {
    private static let volumeByteCount: UInt64 = 1 << 20

    private static func ranges(_ text: String) throws -> [Range<UInt64>] {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/list"
        let file = try FileHandle(path, .create)
        try PositionedIO.write(file.descriptor, Array(text.utf8).span.bytes, at: 0, subject: path)
        let size = try #require(BlockSize(byteCount: 4096))
        return try ChangedExtentsFile.read(
            path, volumeByteCount: volumeByteCount, blockSize: size
        ).ranges
    }

    @Test(
        "All forms are read",
        arguments: [
            ("0 4096\n8192 1\n", [0..<1, 2..<3]), ("# nothing\n", []), ("[]", []),
            ("0x1000\t0x1000\n", [1..<2]), ("8192 4096\n0 4096 # first\n\n", [0..<1, 2..<3]),
            ("4096 0\n", []), ("1048575 1\n", [255..<256]), ("4000 200\r\n", [0..<2]),
            ("0 4096 data\n4096 1040384 same\n1044480 4096 zero\n", [0..<1, 255..<256]),
            ("0 1048576 same\n", []), (" \n [ ] \n", []),
            (#"[{"offset":0,"length":4194,"exists":"true"}]"#, [0..<2]),
            (
                #"[ {"offset": 4096, "length": 1, "exists": false}, {"length":1,"offset":0} ]"#,
                [0..<2]
            ),
        ] as [(String, [Range<UInt64>])])
    func forms(text: String, ranges: [Range<UInt64>]) throws {
        #expect(try Self.ranges(text) == ranges)
    }

    @Test("A long list of either form is read piece by piece")
    func long() throws {
        var generator = SeededGenerator(seed: 4)
        let offsets = (0..<100_000).map { _ in generator.next() % Self.volumeByteCount }
        let wanted = BlockExtents(joining: offsets.map { $0 / 4096..<$0 / 4096 + 1 }).ranges
        #expect(try Self.ranges(offsets.map { "\($0) 1\n" }.joined()) == wanted)
        let objects = offsets.map { #"{"offset":\#($0),"length":1,"exists":"true"}"# }
        #expect(try Self.ranges("[" + objects.joined(separator: ",") + "]") == wanted)
    }

    @Test(
        "Anything else is refused, and so is a list of another volume",
        arguments: [
            "", " \n", "0\n", "0 1 2 3\n", "a b\n", "0 1 maybe\n", "-1 5\n", "+1 5\n", "0x+1 5\n",
            "0x 5\n", "0 1 data\n",
            "0 1048577\n", "1048576 1\n", "18446744073709551615 5\n", "0 1", "0 4096\n8192 10",
            "0 1\n0 1048576 same\n", "0 1048576 same\n0 1\n",
            "0 4096 data\n8192 1040384 same\n", "[{]", "[{}]", #"[{"offset":0}]"#, "[", "[]]",
            #"[{"offset":0,"length":1}"#, #"[{"offset":0,"length":1},]"#, "[]x", "[,]",
            #"[{"offset":0,"length":1}{"offset":0,"length":1}]"#,
            #"[{"offset":0,"length":1}"# + "x", #"[{"offset":0,"length":1},{"offset""#,
            #"[{"offset":-1,"length":1}]"#, #"[{"offset":1048576,"length":1}]"#,
            #"{"offset":0,"length":1}"#,
        ])
    func refused(text: String) {
        let error = #expect(throws: ServiceError.self) { try Self.ranges(text) }
        #expect(error?.kind == .usage)
    }

    @Test("A list without an end is refused")
    func endless() {
        for (start, rest, count) in [("[", " ", 2 << 20), ("", "1", 2 << 20), ("[{", "1", 100_000)]
        {
            let error = #expect(throws: ServiceError.self) {
                try Self.ranges(start + String(repeating: rest, count: count))
            }
            #expect(error?.kind == .usage, "\(start)\(rest)…")
        }
    }
}
