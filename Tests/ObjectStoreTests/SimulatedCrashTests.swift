import ObjectStore
import SimulationSupport
import Testing

/// What a crash of the simulation may do to deletions and locked objects, by what the contract promises.
struct SimulatedCrashTests {
    /// What was done after an object was deleted, and whether a crash may bring it back then.
    enum Next: CaseIterable {
        case nothing, createdBeside, createdElsewhere, lockedBeside, begunBeside
        case deletedDurablyBeside, deletedDurablyElsewhere, deletedEventuallyBeside
        case deletedDurablyAgain, deletedEventuallyAgain, createdAgain

        var makesDurable: Bool {
            switch self {
            case .createdBeside, .deletedDurablyBeside, .deletedDurablyAgain, .createdAgain: true
            default: false
            }
        }

        func run(_ store: MemoryStore) throws {
            switch self {
            case .nothing: break
            case .createdBeside: try store.create("a/new", [2])
            case .createdElsewhere: try store.create("a/b/new", [2])
            case .lockedBeside: _ = try store.createLocked("a/new", [2])
            case .begunBeside:
                try store.begin("a/new").append([UInt8](repeating: 2, count: 9).span.bytes)
            case .deletedDurablyBeside: try store.delete("a/y", .durable)
            case .deletedDurablyElsewhere: try store.delete("b/z", .durable)
            case .deletedEventuallyBeside: try store.delete("a/y", .eventual)
            case .deletedDurablyAgain: try store.delete("a/x", .durable)
            case .deletedEventuallyAgain: try store.delete("a/x", .eventual)
            case .createdAgain: try store.create("a/x", [3])
            }
        }
    }

    private static func makeStore() throws -> MemoryStore {
        let store = MemoryStore()
        for name in ["a/x", "a/y", "b/z"] { try store.create(name, [1]) }
        return store
    }

    private static func crash(_ store: MemoryStore, _ effect: CrashEffect) {
        // A writer begins, appends and finishes.
        store.crash(afterSteps: 2, effect)
        #expect(throws: ObjectStoreError.self) { try store.create("elsewhere/z", [9]) }
        store.restart()
    }

    @Test(
        "A crash undoes a deletion that is not durable yet, and no other",
        arguments: Next.allCases, DeletionDurability.allCases)
    func deletion(next: Next, durability: DeletionDurability) throws {
        for effect in CrashEffect.allCases {
            let store = try Self.makeStore()
            try store.delete("a/x", durability)
            #expect(try store.list("a/").map(\.name) == ["a/y"])
            try next.run(store)
            Self.crash(store, effect)
            let isUndone =
                effect == .eventualUndone && durability == .eventual && !next.makesDurable
            let expected: [UInt8]? = next == .createdAgain ? [3] : isUndone ? [1] : nil
            #expect(store.objects["a/x"] == expected, "\(effect)")
            #expect(store.objects["elsewhere/z"] == (effect == .applied ? [9] : nil))
        }
    }

    @Test(
        "A locked object need not outlive a crash, unless its directory was made durable",
        arguments: CrashEffect.allCases, [false, true])
    func locked(effect: CrashEffect, isDurable: Bool) throws {
        let store = try Self.makeStore()
        let lock = try store.createLocked("a/lock", [5])
        if isDurable { try store.create("a/new", [2]) }
        Self.crash(store, effect)
        let isThere = effect != .eventualUndone || isDurable
        #expect(store.objects["a/lock"] == (isThere ? [5] : nil))
        #expect(store.isLocked("a/lock") == (isThere ? false : nil))
        withExtendedLifetime(lock) {}
    }

    @Test("A crash brings back the object whose name a locked one has taken")
    func lockedOverDeleted() throws {
        let store = try Self.makeStore()
        try store.delete("a/x", .eventual)
        _ = try store.createLocked("a/x", [5])
        Self.crash(store, .eventualUndone)
        #expect(store.objects["a/x"] == [1])
    }

    @Test(
        "What was made durable before a second crash stays as it was",
        arguments: CrashEffect.allCases)
    func secondCrash(effect: CrashEffect) throws {
        let store = try Self.makeStore()
        try store.delete("a/x", .eventual)
        Self.crash(store, .lost)
        // The machine came back without it.
        Self.crash(store, effect)
        #expect(store.objects["a/x"] == nil)
    }
}
