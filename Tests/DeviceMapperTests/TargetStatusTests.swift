import DeviceMapper
import TestKit
import Testing

struct TargetStatusTests {
    @Test("A table line is what dmsetup prints")
    func tables() {
        let lines: [(TableLine, String)] = [
            (.linear("/dev/sdb", sectorCount: 8, firstSector: 3), "0 8 linear /dev/sdb 3"),
            (.snapshotOrigin("7:1", sectorCount: 16), "0 16 snapshot-origin 7:1"),
            (
                .snapshot(of: "7:1", store: "7:2", chunkSectorCount: 16, sectorCount: 9),
                "0 9 snapshot 7:1 7:2 P 16"
            ),
            (
                .snapshotMerge(into: "7:1", store: "7:2", chunkSectorCount: 8, sectorCount: 9),
                "0 9 snapshot-merge 7:1 7:2 P 8"
            ),
        ]
        for (line, text) in lines { #expect(line.description == text) }
    }

    @Test("The states of a snapshot are told apart")
    func snapshots() {
        let cases: [(String, SnapshotStatus)] = [
            (
                "2144/32768 32",
                .active(usedSectorCount: 2144, sectorCount: 32_768, metadataSectorCount: 32)
            ),
            ("Invalid", .invalid), ("Overflow", .overflow), ("Merge failed", .mergeFailed),
            ("", .other("")), ("Unknown", .other("Unknown")), ("1/2", .other("1/2")),
            ("3/2 1", .other("3/2 1")), ("1/2 2", .other("1/2 2")), ("-1/2 0", .other("-1/2 0")),
            ("1/2 0 ", .other("1/2 0 ")), ("1//2 0", .other("1//2 0")),
        ]
        for (text, status) in cases { #expect(SnapshotStatus(text) == status, "\(text)") }
        #expect(SnapshotStatus("32/81920 32").isMergeDone)
        #expect(!SnapshotStatus("33/81920 32").isMergeDone)
        #expect(!SnapshotStatus.invalid.isMergeDone)
    }

    @Test("The states of an era device and of a thin pool are read")
    func others() throws {
        let era = try #require(EraStatus("8 11/2048 5 -"))
        #expect(era.currentEra == 5 && era.usedMetadataBlockCount == 11)
        #expect(era.heldSnapshot == nil)
        #expect(EraStatus("8 11/2048 5 47")?.heldSnapshot == 47)
        for text in ["", "8 11/2048 5", "8 11/2048 5 x", "8 11 5 -", "Error"] {
            #expect(EraStatus(text) == nil)
        }
        let pool = try #require(
            ThinPoolStatus("1 36/1024 5/2048 - out_of_data_space no_discard_passdown"))
        #expect(pool.usedDataBlockCount == 5 && pool.dataBlockCount == 2048)
        #expect(pool.features.first == "out_of_data_space")
        #expect(ThinPoolStatus("1 36/1024 5/2048 12 rw")?.heldSnapshot == 12)
        for text in ["Fail", "", "1 36/1024", "x 1/2 3/4 - rw"] {
            #expect(ThinPoolStatus(text) == nil)
        }
    }

    @Test("No text makes a parser fail")
    func anyText() {
        var generator = SeededGenerator(seed: 3)
        let alphabet = Array("0123456789/- xInvalid\u{0}ü")
        for _ in 0..<3000 {
            let text = String(
                (0..<generator.next() % 24).map { _ in
                    alphabet[Int(generator.next() % UInt64(alphabet.count))]
                })
            _ = SnapshotStatus(text)
            _ = EraStatus(text)
            _ = ThinPoolStatus(text)
        }
    }
}
