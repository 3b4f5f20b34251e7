import BlockModel
import Testing

struct VolumeNameTests {
    @Test(
        "Letters, digits, dots, underscores and hyphens make a volume name",
        arguments: [
            "a", "Z", "0", "debian-vda", "disk.img", "A_b-c.9", "9.", "x--", "newest.1",
            String(repeating: "v", count: 64),
        ]
    )
    func allowed(name: String) {
        #expect(VolumeName(name)?.rawValue == name)
        #expect(VolumeName(name)?.description == name)
    }

    @Test(
        "Anything else is refused as a volume name",
        arguments: [
            "", ".", "..", ".hidden", "-rf", "_x", "a/b", "a b", "a@b", "a:b", "a\n", "a\0", "é",
            "ａ", "a\u{301}", String(repeating: "v", count: 65),
        ]
    )
    func refused(name: String) {
        #expect(VolumeName(name) == nil)
    }

    @Test("Volume names are ordered as their bytes are")
    func order() throws {
        let names = try ["b", "a-", "a", "Z", "0", "a.b"].map { try #require(VolumeName($0)) }
        #expect(names.sorted().map(\.rawValue) == ["0", "Z", "a", "a-", "a.b", "b"])
    }
}
