import BlockModel
import Repository
import RepositoryFormat
import RepositoryModel
import SnapshotService
import Testing

struct SnapshotSelectorTests {
    private static let web = name("web-1")

    private static func name(_ text: String) -> VolumeName {
        guard let name = VolumeName(text) else { preconditionFailure() }
        return name
    }

    // MARK: Parsing

    @Test(
        "A snapshot is named as the help says",
        arguments: [
            ("web-1@latest", .latest(web)), ("web-1@7", .generation(web, 7)),
            ("web-1@18446744073709551615", .generation(web, .max)),
            ("web-1@-1", .before(web, 1)), ("web-1@-25", .before(web, 25)),
            ("web-1@2026-11-22T14:00Z", .time(web, Timestamp(seconds: 1_795_356_000))),
            ("0123", .prefix("0123")), ("abcdef", .prefix("abcdef")),
            (String(repeating: "a", count: 64), .prefix(String(repeating: "a", count: 64))),
        ] as [(String, SnapshotSelector)])
    func names(text: String, selector: SnapshotSelector) throws {
        #expect(try SnapshotSelector(text) == selector)
        if case .prefix = selector {
            #expect(selector.volume == nil)
        } else {
            #expect(selector.volume == Self.web)
        }
    }

    @Test(
        "What names no snapshot is a fault of use",
        arguments: [
            "", "@", "web-1", "web-1@", "@latest", "web-1@Latest", "web-1@0", "web-1@-0",
            "web-1@--1", "web-1@1.5", "web-1@latest ", "we b@1", "a@b@1", "web-1@newest", "abc",
            "ABCD", "abcg", "0123 ", String(repeating: "a", count: 65), ".x@latest",
            "web-1@2026-13-01T00:00",
        ])
    func noName(text: String) {
        let error = #expect(throws: ServiceError.self) { try SnapshotSelector(text) }
        #expect(error?.kind == .usage)
    }

    // MARK: Resolution

    /// Snapshots 1, 2, 3 an hour apart; a fork at 4; 5.
    private static let forked = Story.timeline(
        "web-1",
        [
            Story.delta(nil, ("a", 1)), Story.delta(("a", 1), ("b", 2)),
            Story.delta(("b", 2), ("c", 3)), Story.delta(("c", 3), ("x", 4)),
            Story.delta(("c", 3), ("y", 4)), Story.delta(("x", 4), ("e", 5)),
        ],
        newest: ("e", 5))

    private static let other = Story.timeline(
        "other", [Story.delta(nil, ("o", 1))], newest: ("o", 1))

    private func resolve(_ text: String, _ timelines: [Timeline]) throws -> String {
        let (timeline, snapshot) = try SnapshotSelector(text).resolve(in: timelines)
        #expect(timeline.snapshots.contains(snapshot))
        return "\(timeline.volume) \(snapshot.facts.source.path) \(snapshot.generation)"
    }

    private func refusal(_ text: String, _ timelines: [Timeline]) -> ServiceError? {
        #expect(throws: ServiceError.self) { try resolve(text, timelines) }
    }

    @Test(
        "A name is resolved to the one snapshot that it means",
        arguments: [
            ("web-1@latest", "web-1 e 5"), ("web-1@5", "web-1 e 5"), ("web-1@1", "web-1 a 1"),
            ("other@latest", "other o 1"), ("web-1@-5", "web-1 a 1"), ("web-1@-3", "web-1 c 3"),
            // Snapshot n was taken n hours after 1970.
            ("web-1@1970-01-01T03:00:00Z", "web-1 c 3"),
            ("web-1@1970-01-01T03:59:59Z", "web-1 c 3"),
            ("web-1@1970-01-01T02:59:59Z", "web-1 b 2"),
            ("web-1@1970-01-01T01:00:00Z", "web-1 a 1"), ("web-1@2026-01-01T00:00Z", "web-1 e 5"),
        ])
    func resolution(text: String, expected: String) throws {
        #expect(try resolve(text, [Self.other, Self.forked]) == expected)
    }

    @Test("A generation that is forked is ambiguous, and its snapshots are named by id")
    func fork() throws {
        let ids = [Story.id("x"), Story.id("y")].sorted()
        for text in ["web-1@4", "web-1@-1", "web-1@1970-01-01T04:30Z"] {
            let error = refusal(text, [Self.forked])
            #expect(error?.kind == .failed)
            #expect(
                error?.description == "generation 4 of 'web-1' is ambiguous: "
                    + "\(ids[0].short) or \(ids[1].short); use its id")
        }
        #expect(try resolve(Story.id("x").hexadecimal, [Self.forked]) == "web-1 x 4")
        #expect(try resolve(Story.id("y").short, [Self.other, Self.forked]) == "web-1 y 4")
    }

    @Test("The latest of a volume that ends in a fork is ambiguous")
    func forkAtTheEnd() {
        let timeline = Story.timeline(
            "web-1",
            [
                Story.delta(nil, ("a", 1)), Story.delta(("a", 1), ("x", 2)),
                Story.delta(("a", 1), ("y", 2)),
            ],
            newest: ("x", 2))
        let error = refusal("web-1@latest", [timeline])
        #expect(error?.description.contains("ambiguous") == true)
    }

    @Test("What is not there is said to be missing")
    func missing() {
        for text in [
            "web-1@9", "web-1@-6", "web-1@1970-01-01T00:59:59Z", "none@latest", "none@1",
            "ffffffff",
        ] {
            let error = refusal(text, [Self.forked])
            #expect(error?.kind == .failed, "\(text)")
        }
        #expect(
            refusal("none@latest", [Self.forked])?.description
                == "the repository has no volume 'none'; 'varve snapshots' lists them")
    }

    @Test("The first digits of several ids are ambiguous")
    func ambiguousPrefix() throws {
        // Of 2,000 ids some begin with the same four digits.
        var deltas: [KnownDelta] = [Story.delta(nil, ("0", 1))]
        for number in 1..<2000 {
            deltas.append(
                Story.delta(
                    ("\(number - 1)", Generation(number)), ("\(number)", Generation(number + 1))))
        }
        let timeline = Story.timeline("web-1", deltas, newest: ("1999", 2000))
        let starts = Dictionary(grouping: timeline.snapshots) { $0.id.hexadecimal.prefix(4) }
        let shared = try #require(starts.filter { $0.value.count > 1 }.keys.min())
        let error = refusal(String(shared), [timeline])
        #expect(error?.kind == .usage)
        for snapshot in starts[shared] ?? [] {
            let found = try SnapshotSelector(snapshot.id.short).resolve(in: [timeline])
            #expect(found.snapshot == snapshot)
        }
    }

    // MARK: Damage

    /// 1 and 2 are whole, 3 is lost, 4 hangs in the air.
    private static let damaged = Story.timeline(
        "web-1",
        [
            Story.delta(nil, ("a", 1)), Story.delta(("a", 1), ("b", 2)),
            Story.delta(("c", 3), ("d", 4)),
        ],
        newest: ("d", 4))

    @Test("The latest is not passed over in silence when it is damaged")
    func damagedLatest() {
        let error = refusal("web-1@latest", [Self.damaged])
        #expect(error?.kind == .damaged)
        #expect(error?.description.contains("web-1@2") == true)
    }

    @Test("A damaged snapshot is refused as damaged, by number and by id")
    func damagedByName() {
        for text in ["web-1@3", "web-1@4", Story.id("c").short, Story.id("d").hexadecimal] {
            #expect(refusal(text, [Self.damaged])?.kind == .damaged, "\(text)")
        }
    }

    @Test("What is older than the damage is found by number and by id")
    func beforeTheDamage() throws {
        #expect(try resolve("web-1@2", [Self.damaged]) == "web-1 b 2")
        #expect(try resolve(Story.id("a").short, [Self.damaged]) == "web-1 a 1")
    }

    @Test("A volume with nothing but damage is refused as damaged")
    func allDamaged() {
        let timeline = Story.timeline("web-1", [], newest: ("a", 1))
        #expect(refusal("web-1@latest", [timeline])?.kind == .damaged)
        #expect(refusal("web-1@1", [timeline])?.kind == .damaged)
    }

    @Test("Counting back, or a moment, does not pass over a damaged snapshot in silence")
    func damagedBefore() {
        // The time of a snapshot whose delta is lost is not known: it may be the one that is meant.
        for text in ["web-1@-1", "web-1@1970-01-01T04:30Z", "web-1@1970-01-01T02:30Z"] {
            let error = refusal(text, [Self.damaged])
            #expect(error?.kind == .damaged, "\(text)")
        }
    }
}

/// Deltas between snapshots that are told apart by their source's path.
private enum Story {
    static func id(_ path: String) -> SnapshotID { facts(path).snapshotID }

    /// Ids are over the facts, so that the time of one is the same wherever it is named: it is
    /// The time follows from the path, because the id is over it.
    private static func facts(_ path: String) -> SnapshotFacts {
        let hours: [String: Int64] = ["a": 1, "b": 2, "c": 3, "x": 4, "y": 4, "d": 4, "e": 5]
        return SnapshotFacts(
            time: Timestamp(seconds: (hours[path] ?? 9) * 3600), byteCount: 1 << 20,
            source: SourceIdentity(
                kind: .file, machine: "m", path: path, serial: "", sectorByteCount: 512),
            method: .base, consistency: .atRest, parent: .nothing, parentGeneration: 0, tags: [])
    }

    static func delta(_ from: (String, Generation)?, _ to: (String, Generation)) -> KnownDelta {
        let head = DeltaHead(
            from: from.map { id($0.0) } ?? .nothing, fromGeneration: from?.1 ?? 0,
            fromByteCount: from == nil ? 0 : 1 << 20, toGeneration: to.1,
            facts: facts(to.0))
        // The volume in the name is not looked at by a timeline.
        guard let volume = VolumeName("v") else { preconditionFailure() }
        return KnownDelta(
            name: DeltaName(
                volume: volume, from: from?.1 ?? 0, to: to.1,
                id: ObjectID(high: 1, low: UInt64(to.0.utf8.reduce(0) { $0 &* 31 &+ Int($1) }))),
            head: head)
    }

    static func timeline(
        _ name: String,
        _ deltas: [KnownDelta],
        newest: (String, Generation)
    ) -> Timeline {
        guard let volume = VolumeName(name) else { preconditionFailure() }
        return Timeline(
            volume: volume, deltas: deltas, unreadable: [],
            markers: [
                NewestMarker(
                    volume: volume, generation: newest.1, snapshot: id(newest.0), delta: .zero)
            ],
            unreadableMarkers: [])
    }
}
