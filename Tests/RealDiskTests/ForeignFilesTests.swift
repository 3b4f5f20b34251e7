import Testing

extension MachinesInTurn {
    /// File systems of other systems, compared with what their drivers and tools show.
    @Suite("Files of FAT, exFAT and NTFS", .needsRoot)
    struct ForeignFilesTests {
        enum Kind: String, CaseIterable {
            case ntfs, exfat, fat
        }

        @Test(
            "What is extracted is what a mount shows; find and history see what changed",
            .timeLimit(.minutes(60)), arguments: Kind.allCases)
        func files(kind: Kind) async throws {
            let scratch = try Scratch()
            try await scratch.varve("init")
            let result = try await scratch.run(
                "bash", Machine.script("foreign-files"), kind.rawValue)
            #expect(result.status == 0, "\(result)")
        }
    }
}
