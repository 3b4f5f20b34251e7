import Testing

extension MachinesInTurn {
    /// A file system on which nothing can be deleted.
    @Suite("Append-only directories", .needsRoot)
    struct AppendOnlyTests {
        @Test(
            "Backups, restores and forgetting end well where nothing can be deleted; the owner clears up",
            .timeLimit(.minutes(60)))
        func appendOnly() async throws {
            let scratch = try Scratch()
            let result = try await scratch.run(
                "bash", Machine.script("append-only"))
            #expect(result.status == 0, "\(result)")
        }
    }
}
